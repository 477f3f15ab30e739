"""What customers would have paid under another catalog, and why."""

from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog import compile_catalog, load_catalog
from rating.core.rating import rate
from rating.core.schema import PropertyType
from rating.core.simulation import Simulation, compared, reason_totals, simulation
from rating.core.subjects import interned
from tests.conformance.rated import MONTH, VALUE, Document, catalog_of, lines_of, total, values
from tests.frames import subject_frame, subscription_frame, usage_frame
from tests.strategies import ADJUSTMENTS, NUMBERS, documents, events, subscriptions

TIERS = {"tiers": [{"up_to": 15, "unit_amount": "10"}, {"unit_amount": "5"}]}
MODELS = sorted(NUMBERS.keys() - {"flat", "one_time", "per_request", "dynamic"})


def bill(model: str, version: Document, *quantities: Any, **price: Any) -> pl.DataFrame:
    priced = {"meter": "m", "model": model, "versions": [version], **price}
    return lines_of(catalog_of({"m": VALUE}, {"p": priced}), {"acme": values(*quantities)})


def changed(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, Decimal]:
    """The reasons of the one customer."""
    return dict(simulation([compared(before, after)]).reasons.select("reason", "amount").iter_rows())


@pytest.mark.parametrize(
    ("model", "before", "after", "quantity", "expected"),
    [
        pytest.param("per_unit", {"unit_amount": "2"}, {"unit_amount": "3"}, 7, {"rate": 7}, id="7 units at 1 more"),
        pytest.param(
            "graduated",
            TIERS,
            {"tiers": [{"up_to": 10, "unit_amount": "11"}, {"unit_amount": "5"}]},
            16,
            {"rate": 10, "tier": -25},
            id="10 at 1 more; 5 units at 5 instead of 10",
        ),
        pytest.param(
            "volume",
            TIERS,
            {"tiers": [{"up_to": 20, "unit_amount": "10"}, {"unit_amount": "5"}]},
            16,
            {"tier": 80},
            id="16 units in the tier of 10 instead of that of 5",
        ),
        pytest.param(
            "allowance",
            {"included": 10, "unit_amount": "2"},
            {"included": 4, "unit_amount": "3"},
            12,
            {"rate": 2, "included": 18},
            id="2 units at 1 more, 6 more of them at 3",
        ),
        pytest.param(
            "per_unit",
            {"unit_amount": "1", "free_units": 10},
            {"unit_amount": "1"},
            4,
            {"included": 4},
            id="nothing is free any more",
        ),
        pytest.param(
            "package",
            {"package_size": 10, "amount": "3"},
            {"package_size": 5, "amount": "3"},
            20,
            {"rate": 6},
            id="four packages instead of two",
        ),
        pytest.param(
            "per_unit",
            {"unit_amount": "1"},
            {"unit_amount": "1", "adjust": [{"kind": "minimum", "amount": "10"}]},
            4,
            {"minimum": 6},
            id="4 made 10",
        ),
        pytest.param(
            "per_unit",
            {"unit_amount": "1", "adjust": [{"kind": "minimum", "amount": "10"}]},
            {"unit_amount": "2", "adjust": [{"kind": "minimum", "amount": "10"}]},
            4,
            {"rate": 4, "minimum": -4},
            id="4 more, and as much less to the minimum",
        ),
        pytest.param(
            "per_unit",
            {"unit_amount": "0.004"},
            {"unit_amount": "0.005"},
            1,
            {"rate": Decimal("0.001"), "rounding": Decimal("0.009")},
            id="0.004 is shown as nothing and 0.005 as 0.01",
        ),
    ],
)
def test_reasons(model: str, before: Document, after: Document, quantity: int, expected: dict[str, Any]) -> None:
    assert changed(bill(model, before, quantity), bill(model, after, quantity)) == expected


def prices_of(*keys: str, **plan: Any) -> pl.DataFrame:
    made: dict[str, Document] = {
        "p": {"meter": "m", "model": "per_unit", "versions": [{"unit_amount": "2"}]},
        "q": {"meter": "m", "model": "per_unit", "versions": [{"unit_amount": "3"}]},
        "fee": {"model": "flat", "versions": [{"amount": "20"}]},
    }
    return lines_of(catalog_of({"m": VALUE}, {key: made[key] for key in keys}, **plan), {"acme": values(5)})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(["p"], ["p", "fee"], {"fee": 20}, id="a fee"),
        pytest.param(["p"], ["q"], {"removed_price": -10, "new_price": 15}, id="another price"),
        pytest.param(["p", "fee"], ["fee"], {"unpriced": -10}, id="usage without a price"),
        pytest.param(["fee"], ["p", "fee"], {"new_price": 10}, id="usage that gets a price"),
    ],
)
def test_prices_that_come_and_go(before: list[str], after: list[str], expected: dict[str, int]) -> None:
    assert changed(prices_of(*before), prices_of(*after)) == expected


def test_an_adjustment_of_the_plan_is_a_reason_of_its_own() -> None:
    assert changed(prices_of("p"), prices_of("p", adjust=[{"kind": "discount", "percent": "10"}])) == {"discount": -1}


def test_another_dated_version_is_a_rate() -> None:
    version, later = {"unit_amount": "1"}, {"unit_amount": "2", "effective_from": "2026-10-01T02:30:00Z"}
    meter, price = {"m": VALUE}, {"meter": "m", "model": "per_unit", "currency": "EUR"}
    sides = [
        lines_of(catalog_of(meter, {"p": {**price, "versions": made}}), {"acme": values(1, 1, 1, 1)})
        for made in ([version], [version, later])
    ]
    assert changed(*sides) == {"rate": 1}


def test_other_units_are_metering() -> None:
    one, half = VALUE, {**VALUE, "divide_by": "2"}
    price = {"p": {"meter": "m", "model": "per_unit", "versions": [{"unit_amount": "3"}]}}
    sides = [lines_of(catalog_of({"m": meter}, price), {"acme": values(4)}) for meter in (one, half)]
    assert changed(*sides) == {"metering": -6}


def several(amount: str) -> pl.DataFrame:
    document = catalog_of({"m": VALUE}, {"p": {"meter": "m", "model": "graduated", "versions": [
        {"tiers": [{"up_to": 10, "unit_amount": "1"}, {"unit_amount": amount}]}
    ]}})  # fmt: skip
    return lines_of(document, {f"c{n}": values(n) for n in range(1, 21)})


def test_customers_are_ranked_and_totals_sum() -> None:
    """Customers 1 to 20 with so many units; those above 10 pay 1 more for each unit above it: 1 + ... + 10 = 55."""
    found: Simulation = simulation([compared(several("1"), several("2"))])
    (totals,) = found.totals.to_dicts()
    assert (totals["before"], totals["after"], totals["difference"]) == (210, 265, 55)
    assert totals["percent"] == Decimal("26.1905")
    assert found.customers["customer"].to_list()[:3] == ["c20", "c19", "c18"]
    assert found.customers.row(0, named=True)["percent"] == 50
    ranks = {row["percentile"]: row["difference"] for row in found.percentiles.to_dicts()}
    assert (ranks[0], ranks[50], ranks[75], ranks[95], ranks[100]) == (0, 0, 5, 9, 10)
    assert found.prices.select("price", "difference").rows() == [("p", 55)]
    assert reason_totals(found.reasons).rows() == [("EUR", "rate", 55, 10)]


def test_a_customer_who_paid_nothing_has_no_percentage() -> None:
    found = simulation([compared(prices_of("p").clear(), prices_of("p"))])
    assert found.customers.select("before", "after", "percent").rows() == [(0, 10, None)]


def test_nothing_against_nothing() -> None:
    nothing = prices_of("p").clear()
    assert simulation([compared(nothing, nothing)]).totals.is_empty()
    assert simulation([]).percentiles.is_empty()


def test_equal_catalogs_change_nothing() -> None:
    found = simulation([compared(several("2"), several("2"))])
    assert found.reasons.is_empty()
    assert set(found.customers["difference"]) == {Decimal(0)}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), quantities=st.lists(st.integers(-5, 300), min_size=1, max_size=4))
def test_reasons_sum_to_the_difference_whatever_the_models(data: st.DataObject, quantities: list[int]) -> None:
    sides = []
    model = data.draw(st.sampled_from(MODELS))
    for _ in range(2):
        version = {**data.draw(NUMBERS[model]), "adjust": data.draw(ADJUSTMENTS)}
        sides.append(bill(model, version, *quantities))
        model = data.draw(st.sampled_from([model, data.draw(st.sampled_from(MODELS))]))
    found = simulation([compared(*sides)])
    before, after = (total(side, "rounded_amount") for side in sides)
    assert sum(found.reasons["amount"], Decimal(0)) == after - before
    assert sum(found.customers["difference"], Decimal(0)) == after - before


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_passes_that_are_shared_make_the_same_lines(data: st.DataObject) -> None:
    """Two catalogs of any meters, prices and bands, customers in any zones, some of them mapped to another plan."""
    books = [compile_catalog(load_catalog(data.draw(documents()))) for _ in range(2)]
    properties: dict[str, PropertyType] = {"n": "number", "m": "number", "k": "number", "d": "string", "f": "string"}
    usage = interned(usage_frame(data.draw(st.lists(events(), max_size=8)), properties))
    terms = data.draw(subscriptions())
    subjects, own = subject_frame(terms), subscription_frame(terms)
    moved = own.with_columns(plan=pl.lit("all"))
    shared = usage.remembering()
    for book, paying in [(books[0], own), (books[1], own), (books[1], moved), (books[0], own[:2])]:
        known = subjects.filter(pl.col("customer").is_in(paying["customer"].implode()))
        alone = rate(usage, known, paying, book, MONTH)
        again = rate(shared, known, paying, book, MONTH)
        assert again.digest == alone.digest
        assert again.unpriced.equals(alone.unpriced)
        assert again.unsubscribed.equals(alone.unsubscribed)
        assert again.unmetered.equals(alone.unmetered)
    sides = [rate(shared, subjects, own, book, MONTH).lines for book in books]
    found = simulation([compared(*sides)])  # which asserts that the reasons of every customer sum to the difference
    before, after = (total(side, "rounded_amount") for side in sides)
    assert sum(found.reasons["amount"], Decimal(0)) == after - before
