"""Charge lines in the forms that others read: what a run's lines do not know is looked up here, the rest is pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from api.frames import rows
from rating.catalog import compile_catalog, parse_catalog
from rating.catalog.literals import currency_digits
from rating.exports.focus import FocusTerms, focus
from rating.exports.invoice_lines import INVOICE_LINE, invoice_lines, invoice_totals
from rating.exports.summary import BY_CUSTOMER, BY_PRICE, summary
from store import Store

LINES_TOGETHER = 50_000
CUSTOMERS_TOGETHER = 10_000

Invoices = list[dict[str, Any]]


class Exports:
    """Lines are STORED_LINE of one run, as `RatingService.lines` has them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def focus(self, run: str, lines: pl.DataFrame, issuer: str) -> Iterator[pl.DataFrame]:
        """FOCUS in parts, in the order of the lines."""
        names = self._customers(lines["customer"]).drop("time_zone")
        terms = FocusTerms(issuer, _digits(lines), self._paid_once(run), names)
        return (focus(part, terms) for part in lines.iter_slices(LINES_TOGETHER))

    def invoice_lines(self, lines: pl.DataFrame, units: Mapping[str, str]) -> pl.DataFrame:
        """INVOICE_LINE of all of them."""
        return invoice_lines(lines, self._customers(lines["customer"]), _digits(lines), units)

    def invoices(self, lines: pl.DataFrame, units: Mapping[str, str]) -> Invoices:
        """One mapping an invoice, with its lines: JSON values."""
        invoiced = self.invoice_lines(lines, units)
        own = [name for name in INVOICE_LINE if name not in ("customer", "customer_name", "currency")]
        parts = invoiced.partition_by("customer", "currency", as_dict=True)
        totals = rows(invoice_totals(invoiced, _digits(lines)))
        return [{**total, "lines": rows(parts[total["customer"], total["currency"]].select(own))} for total in totals]

    def _customers(self, keys: pl.Series) -> pl.DataFrame:
        """`customer`, `name` and `time_zone` of those that are known."""
        wanted, after, found = keys.unique().sort(), None, []
        schema = {"customer": pl.String(), "name": pl.String(), "time_zone": pl.String()}
        while page := self._store.customers.page(after=after, limit=CUSTOMERS_TOGETHER):
            after = page[-1].key
            told = [(customer.key, customer.name, customer.time_zone) for customer in page]
            found.append(pl.DataFrame(told, schema=schema, orient="row"))
        known = pl.concat([pl.DataFrame(schema=schema), *found])
        return known.filter(pl.col("customer").is_in(wanted.implode()))

    def _paid_once(self, run: str) -> Sequence[str]:
        """The fees that are due once, by the catalog that the run was made with."""
        document = self._store.catalogs.document(self._store.runs.get(run).catalog_version)
        fees = compile_catalog(parse_catalog(document, format="json")).fees
        return fees.filter(pl.col("due").is_in(["at_start", "with_plan"]))["price"].unique().sort().to_list()


def summary_json(run: str, lines: pl.LazyFrame, limit: int) -> dict[str, Any]:
    """Sums for people: by currency, by price, and of the `limit` customers that pay most."""
    customers = summary(lines, BY_CUSTOMER)
    return {
        "run": run,
        "totals": rows(summary(lines, ("currency",))),
        "prices": rows(summary(lines, BY_PRICE)),
        "customers": rows(customers.head(limit)),
        "customers_more": max(customers.height - limit, 0),
    }


def _digits(lines: pl.DataFrame) -> dict[str, int]:
    """The minor units of the currencies of the lines: a price book has none without."""
    found = {currency: currency_digits(currency) for currency in lines["currency"].unique().sort()}
    return {currency: digits for currency, digits in found.items() if digits is not None}
