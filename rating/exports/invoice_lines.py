"""Charge lines as lines of invoices: the fields that EN 16931 asks of a line (business terms BT-126 to BT-155).

An invoice line is an item (items.py): net amount = invoiced quantity x net price / base quantity, to less than one
minor unit, and the lines of a charge line sum to its rounded amount. A customer has one invoice for each currency. What
a price book does not know is not here: taxes, addresses, terms of payment.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta

import polars as pl

from rating.core.money import ROUNDED, grouped_sum
from rating.exports.items import items
from rating.exports.wording import item_description, item_name

INVOICE_LINE = pl.Schema(
    {
        "customer": pl.String(),  # BT-46: who pays
        "customer_name": pl.String(),  # BT-44
        "currency": pl.String(),  # BT-5
        "line_number": pl.Int32(),  # BT-126, from 1 for each customer and currency
        "charge_line": pl.String(),  # BT-128
        "quantity": pl.String(),  # BT-129
        "unit_code": pl.String(),  # BT-130, UN/ECE Recommendation 20
        "net_amount": pl.String(),  # BT-131, with the digits of the currency
        "period_start": pl.Date(),  # BT-134, in the customer's time zone
        "period_end": pl.Date(),  # BT-135, the last day
        "net_price": pl.String(),  # BT-146
        "base_quantity": pl.String(),  # BT-149
        "base_unit_code": pl.String(),  # BT-150
        "item_name": pl.String(),  # BT-153
        "item_description": pl.String(),  # BT-154
        "item_id": pl.String(),  # BT-155
    }
)
"""One row is one invoice line; decimals are text."""

ONE = "C62"
"""The unit code of what is counted in ones."""

_INVOICE = ["customer", "currency"]
_SHOWN_FIRST = {"fee": 0, "usage": 1}  # then what changes them


def invoice_lines(
    lines: pl.DataFrame, customers: pl.DataFrame, digits: Mapping[str, int], units: Mapping[str, str]
) -> pl.DataFrame:
    """INVOICE_LINE of charge lines (STORED_LINE), sorted by customer, currency and line number.

    `customers` has `customer`, `name` and `time_zone`; `units` are the unit codes of meters that do not count ones.
    """
    named = (
        items(lines, digits)
        .rename({"quantity": "item_quantity"})
        .join(lines.drop("quantity", "amount"), on="line", validate="m:1")
        .with_columns(customer="billed_to")
        .join(customers, on="customer", how="left", validate="m:1")
    )
    place = pl.col("kind").replace_strict(_SHOWN_FIRST, default=2)
    ordered = named.sort(*_INVOICE, place, "price", "group", "line", "item", nulls_last=True)
    counts_units = pl.col("part").is_in(["units", "percent"])
    code = pl.when(counts_units).then(pl.col("meter").replace_strict(dict(units), default=ONE)).otherwise(pl.lit(ONE))
    columns = {
        "customer_name": pl.coalesce("name", "customer"),
        "line_number": pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over(_INVOICE),
        "charge_line": pl.col("line"),
        "quantity": _plain("item_quantity"),
        "unit_code": code,
        "net_amount": _with_digits("net_amount", digits),
        **_days(named["time_zone"].fill_null("UTC").unique().sort()),
        "net_price": _plain("unit_price"),
        "base_quantity": pl.col("base_quantity").cast(pl.String),
        "base_unit_code": code,
        "item_name": item_name(),
        "item_description": item_description(),
        "item_id": pl.col("price"),
    }
    return ordered.with_columns(**columns).select(INVOICE_LINE.names()).cast(INVOICE_LINE)


def invoice_totals(invoiced: pl.DataFrame, digits: Mapping[str, int]) -> pl.DataFrame:
    """One row an invoice: `customer`, `customer_name`, `currency`, its number of `lines` and their sum, `net_total`
    (BT-106)."""
    amounts = invoiced.with_columns(pl.col("net_amount").cast(ROUNDED))
    sums = grouped_sum(amounts.lazy(), [*_INVOICE, "customer_name"], ["net_amount"], pl.len().alias("lines")).collect()
    return sums.select(*_INVOICE, "customer_name", "lines", net_total=_with_digits("net_amount", digits)).sort(_INVOICE)


def _plain(column: str) -> pl.Expr:
    """A decimal as text, without zeros at its end."""
    return pl.col(column).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")


def _with_digits(column: str, digits: Mapping[str, int]) -> pl.Expr:
    """An amount as text with the digits of its currency; with more where a price rounds to more."""
    text = pl.col(column).cast(ROUNDED).cast(pl.String)
    branches = []
    for places in sorted(set(digits.values())):
        own = pl.col("currency").is_in([currency for currency, its in digits.items() if its == places])
        rest = 4 - places
        cut = text.str.head(-rest if places else -rest - 1) if rest else text
        fits = text.str.ends_with("0" * rest) if rest else pl.lit(True)
        branches.append(pl.when(own & fits).then(cut))
    return pl.coalesce(*branches, text.str.strip_chars_end("0"))


def _days(time_zones: Iterable[str]) -> dict[str, pl.Expr]:
    """The first and the last day that a line is for, by the customer's calendar."""
    last = pl.col("service_end") - timedelta(microseconds=1)
    return {"period_start": _day(pl.col("service_start"), time_zones), "period_end": _day(last, time_zones)}


def _day(instant: pl.Expr, time_zones: Iterable[str]) -> pl.Expr:
    zone = pl.col("time_zone").fill_null("UTC")
    days = [pl.when(zone == name).then(instant.dt.convert_time_zone(name).dt.date()) for name in time_zones]
    return pl.coalesce(days) if days else pl.lit(None, dtype=pl.Date)
