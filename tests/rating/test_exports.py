"""Charge lines as items, cost data and lines of invoices: products that hold, and sums that equal the lines."""

from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.exports.focus import FOCUS, FocusTerms, focus
from rating.exports.invoice_lines import INVOICE_LINE, invoice_lines, invoice_totals
from rating.exports.items import items
from rating.exports.summary import BY_CUSTOMER, BY_PRICE, summary
from tests.conformance.rated import VALUE, catalog_of, lines_of, values
from tests.strategies import ADJUSTMENTS, NUMBERS

DIGITS = {"USD": 2, "EUR": 2, "JPY": 0}
CUSTOMERS = pl.DataFrame(
    [("acme", "Acme Ltd", "Europe/Madrid")], schema=["customer", "name", "time_zone"], orient="row"
)
TERMS = FocusTerms("Seller Ltd", DIGITS, ["setup"], CUSTOMERS.drop("time_zone"))
TIERS = {"tiers": [{"up_to": 1000, "unit_amount": "0.01"}, {"unit_amount": "0.005", "flat_amount": "3"}], "per": 10}


def lines(model: str, version: dict[str, Any], *quantities: Any, **price: Any) -> pl.DataFrame:
    """STORED_LINE of a customer on one price."""
    document = catalog_of({"m": VALUE}, {"p": {"meter": "m", "model": model, "versions": [version], **price}})
    rated = lines_of(document, {"acme": values(*quantities)})
    return rated.with_columns(run=pl.lit("run_1"))


def told(found: pl.DataFrame) -> list[tuple[Any, ...]]:
    columns = ("part", "tier", "quantity", "unit_price", "base_quantity", "amount", "net_amount")
    return found.select(columns).rows()


def test_a_line_has_an_item_for_each_price_of_each_tier() -> None:
    """1,000 at 0.01 for 10 are 1.00; 504 at 0.005 for 10 are 0.252, and the tier's flat 3: 4.252, which is 4.25."""
    found = items(lines("graduated", TIERS, 1504), DIGITS)
    assert told(found) == [
        ("units", 0, 1000, Decimal("0.01"), 10, 1, 1),
        ("units", 1, 504, Decimal("0.005"), 10, Decimal("0.252"), Decimal("0.25")),
        ("flat", 1, 1, 3, 1, 3, 3),
    ]
    assert found["item"].to_list() == [0, 1, 2]
    assert found["is_tiered"].all()


def test_shares_of_the_rounded_amount_sum_to_it() -> None:
    """Three tiers of 0.004 come to 0.012: shares 0.00, 0.01, 0.00 and not three times nothing."""
    tiers = [{"up_to": 1, "unit_amount": "0.004"}, {"up_to": 2, "unit_amount": "0.004"}, {"unit_amount": "0.004"}]
    found = items(lines("graduated", {"tiers": tiers}, 3), DIGITS)
    assert found["net_amount"].to_list() == [Decimal("0"), Decimal("0.01"), Decimal("0")]


def test_what_its_prices_do_not_explain_is_one_item() -> None:
    """Rounded at each of ten events, 0.004 comes to nothing: 0.04 is more than a minor unit away."""
    made = lines("per_unit", {"unit_amount": "0.004"}, *[1] * 10, rounding_place="event")
    assert told(items(made, DIGITS)) == [("whole", None, 1, 0, 1, 0, 0)]


def test_a_minimum_is_a_line_and_an_item_of_its_own() -> None:
    version = {"unit_amount": "0.01", "adjust": [{"kind": "minimum", "amount": "7"}]}
    made = lines("per_unit", version, 100)
    found = items(made, DIGITS).join(made.select("line", "kind"), on="line").sort("kind")
    assert told(found) == [("whole", None, 1, 6, 1, 6, 6), ("units", 0, 100, Decimal("0.01"), 1, 1, 1)]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), quantities=st.lists(st.integers(-5, 300), min_size=1, max_size=4))
def test_products_hold_and_sums_equal_the_lines(data: st.DataObject, quantities: list[int]) -> None:
    model = data.draw(st.sampled_from(sorted(NUMBERS.keys() - {"flat", "one_time", "per_request", "dynamic"})))
    made = lines(model, {**data.draw(NUMBERS[model]), "adjust": data.draw(ADJUSTMENTS)}, *quantities)
    found = items(made, DIGITS)
    sums = found.group_by("line").agg(pl.col("net_amount").sum(), pl.col("unit_price").min())
    both = made.join(sums, on="line", validate="1:1")
    assert both["net_amount"].to_list() == both["rounded_amount"].to_list()
    assert both.height == made.height
    for row in found.iter_rows(named=True):
        product = row["quantity"] * row["unit_price"] / row["base_quantity"]
        assert abs(product - row["amount"]) <= Decimal("1e-15")
        assert abs(product - row["net_amount"]) <= Decimal("0.02"), "within what validators of invoices allow"
        assert row["unit_price"] >= 0
    _focus_holds(made)
    _invoice_holds(made)


def _focus_holds(made: pl.DataFrame) -> None:
    cost = focus(made, TERMS)
    assert cost.schema == FOCUS
    assert cost["BilledCost"].sum() == made["rounded_amount"].sum()
    consumed = cost.filter(pl.col("ChargeCategory") == "Usage")["ConsumedQuantity"].sum()
    assert consumed == made.filter(pl.col("kind") == "usage")["quantity"].sum()
    for row in cost.iter_rows(named=True):
        assert abs(row["PricingQuantity"] * row["ContractedUnitPrice"] - row["ContractedCost"]) <= Decimal("1e-15")


def _invoice_holds(made: pl.DataFrame) -> None:
    invoiced = invoice_lines(made, CUSTOMERS, DIGITS, {})
    assert invoiced.schema == INVOICE_LINE
    assert sum(map(Decimal, invoiced["net_amount"])) == made["rounded_amount"].sum()
    for total in invoice_totals(invoiced, DIGITS).iter_rows(named=True):
        own = invoiced.filter(pl.col("customer") == total["customer"], pl.col("currency") == total["currency"])
        assert Decimal(total["net_total"]) == sum(map(Decimal, own["net_amount"]))
        assert own["line_number"].to_list() == list(range(1, own.height + 1))


def test_an_invoice_line_by_hand() -> None:
    made = lines("graduated", TIERS, 1504)
    first, second, flat = invoice_lines(made, CUSTOMERS, DIGITS, {"m": "E34"}).iter_rows(named=True)
    assert (first["quantity"], first["net_price"], first["base_quantity"]) == ("1000", "0.01", "10")
    assert (first["unit_code"], first["base_unit_code"], first["net_amount"]) == ("E34", "E34", "1.00")
    assert (first["item_name"], first["item_description"], first["item_id"]) == ("p", "tier 1", "p")
    assert (second["quantity"], second["net_amount"], second["line_number"]) == ("504", "0.25", 2)
    assert (flat["quantity"], flat["unit_code"], flat["net_price"], flat["net_amount"]) == ("1", "C62", "3", "3.00")
    assert first["customer_name"] == "Acme Ltd"
    assert flat["charge_line"] == first["charge_line"]


def test_days_are_those_of_the_customer() -> None:
    """The month of a customer in Madrid begins at 22:00 UTC of the day before, or 23:00 in winter."""
    made = lines("per_unit", {"unit_amount": "1"}, 1).with_columns(
        pl.lit("2026-09-30T22:00:00Z").str.to_datetime(time_zone="UTC").dt.cast_time_unit("us").alias("service_start"),
        pl.lit("2026-10-31T23:00:00Z").str.to_datetime(time_zone="UTC").dt.cast_time_unit("us").alias("service_end"),
    )
    (line,) = invoice_lines(made, CUSTOMERS, DIGITS, {}).iter_rows(named=True)
    assert (str(line["period_start"]), str(line["period_end"])) == ("2026-10-01", "2026-10-31")


@pytest.mark.parametrize(
    ("currency", "amount", "text"),
    [("USD", "5", "5.00"), ("JPY", "5", "5"), ("JPY", "50", "50"), ("USD", "0.0625", "0.0625"), ("USD", "-7", "-7.00")],
)
def test_amounts_have_the_digits_of_their_currency(currency: str, amount: str, text: str) -> None:
    """More only where a price rounds to more, for the sum has to be the line."""
    made = lines("per_unit", {"unit_amount": "1"}, 1).with_columns(
        pl.lit(Decimal(amount)).cast(pl.Decimal(38, 4)).alias("rounded_amount"), currency=pl.lit(currency)
    )
    (line,) = invoice_lines(made, CUSTOMERS, DIGITS, {}).iter_rows(named=True)
    assert line["net_amount"] == text


def test_cost_data_by_hand() -> None:
    rows = focus(lines("graduated", TIERS, 1504), TERMS).rows(named=True)
    first, _, flat = rows
    assert (first["PricingUnit"], first["PricingQuantity"]) == ("10 m", 100)
    assert first["ContractedUnitPrice"] == Decimal("0.01")
    assert [row["ConsumedQuantity"] for row in rows] == [1504, 0, 0]
    assert (flat["PricingUnit"], flat["BilledCost"], flat["ChargeFrequency"]) == ("Units", 3, "Usage-Based")
    assert first["SkuPriceId"] == "p, version 1, tier 1, units"
    assert {row["BillingAccountName"] for row in rows} == {"Acme Ltd"}
    assert {row["InvoiceIssuerName"] for row in rows} == {"Seller Ltd"}


def test_a_summary_by_price_and_customer() -> None:
    made = pl.concat([lines("per_unit", {"unit_amount": "2"}, 3), lines("per_unit", {"unit_amount": "5"}, 1)]).lazy()
    assert summary(made, BY_CUSTOMER).rows() == [("acme", "EUR", 2, 2, Decimal("11"))]
    assert summary(made, BY_PRICE).select("currency", "kind", "price", "plan", "customers").rows() == [
        ("EUR", "usage", "p", None, 1)
    ]


def test_no_lines_are_no_rows() -> None:
    none = lines("per_unit", {"unit_amount": "2"}, 3).clear()
    assert focus(none, TERMS).is_empty()
    assert invoice_lines(none, CUSTOMERS, DIGITS, {}).is_empty()
    assert items(none, {}).is_empty()
