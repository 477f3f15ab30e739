"""Which amount of a price earns what it should."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.catalog import compile_catalog, load_catalog
from rating.core.simulation_solving import EVALUATIONS_MAX, NoAmount, amount_of, solve, with_amount
from tests.conformance.rated import VALUE, Document, catalog_of

CENT = Decimal("0.01")


def book_of(model: str, *versions: Document) -> Any:
    return compile_catalog(load_catalog(catalog_of({"m": VALUE, "n": VALUE}, {
        "p": {"meter": "m", "model": model, "versions": list(versions)},
        "q": {"meter": "n", "model": "per_unit", "versions": [{"unit_amount": "7"}]},
    })))  # fmt: skip


def test_a_straight_line_is_found_exactly_by_its_slope() -> None:
    exact = solve(lambda amount: 300 * amount + 17, Decimal(5), Decimal(767), Decimal(0))
    assert (exact.amount, exact.revenue, exact.gap) == (Decimal("2.5"), 767, 0)
    assert exact.evaluations <= 4


def test_the_amount_that_earns_it_already_stays() -> None:
    assert solve(lambda amount: 3 * amount, Decimal("1.2345"), Decimal("3.7035"), Decimal(0)).amount == Decimal(
        "1.2345"
    )


def test_an_endless_decimal_is_as_near_as_twelve_decimals_are() -> None:
    found = solve(lambda amount: 300 * amount, Decimal(5), Decimal(1000), Decimal(0))
    assert found.amount in (Decimal("3.333333333333"), Decimal("3.333333333334"))


def test_a_bend_is_found_in_its_interval() -> None:
    """Above 4 it earns no more on half of the units: 100 x amount, then 400 + 50 x (amount - 4)."""
    found = solve(lambda a: 100 * a if a <= 4 else 400 + 50 * (a - 4), Decimal(1), Decimal(450), CENT)
    assert found.amount == 5
    assert found.gap == 0


def test_few_decimals_are_preferred_within_the_tolerance() -> None:
    found = solve(lambda amount: 3 * amount, Decimal(1), Decimal(10), Decimal("0.02"))
    assert found.amount == Decimal("3.33")


@pytest.mark.parametrize(
    ("revenue", "target", "said"),
    [
        pytest.param(lambda amount: amount + 10, 5, "even for nothing", id="too much without it"),
        pytest.param(lambda amount: min(amount, Decimal(3)), 5, "stays", id="a maximum below the target"),
    ],
)
def test_there_may_be_none(revenue: Any, target: int, said: str) -> None:
    with pytest.raises(NoAmount, match=said):
        solve(revenue, Decimal(1), Decimal(target), Decimal(0))


@given(
    slopes=st.lists(st.integers(0, 1000), min_size=1, max_size=4),
    bend=st.integers(1, 50),
    wanted=st.decimals(0, 60, places=6),
)
def test_what_is_found_is_as_near_as_can_be(slopes: list[int], bend: int, wanted: Decimal) -> None:
    """Revenue that rises with several slopes, rounded to cents: the target is earned by `wanted`."""

    def revenue(amount: Decimal) -> Decimal:
        parts = [max(min(amount - bend * place, Decimal(bend)), Decimal(0)) * s for place, s in enumerate(slopes)]
        return (sum(parts, Decimal(0)) + amount).quantize(CENT)

    found = solve(revenue, Decimal(1), revenue(wanted), CENT)
    assert abs(found.gap) <= CENT
    assert found.evaluations <= EVALUATIONS_MAX + 5


@pytest.mark.parametrize(
    ("model", "version", "column", "amount"),
    [
        ("per_unit", {"unit_amount": "2.5", "per": 1000}, "unit_amount", "2.5"),
        ("graduated", {"tiers": [{"up_to": 5, "unit_amount": "0"}, {"unit_amount": "3"}]}, "unit_amount", "3"),
        ("percentage", {"percent": "2.9"}, "percent", "2.9"),
        ("stairstep", {"tiers": [{"up_to": 5, "amount": "4"}, {"amount": "6"}]}, "flat_amount", "4"),
    ],
)
def test_the_amount_of_a_price(model: str, version: Document, column: str, amount: str) -> None:
    known = amount_of(book_of(model, version), "p")
    assert (known.column, known.amount) == (column, Decimal(amount))


def test_all_amounts_of_a_price_move_in_proportion_and_no_other() -> None:
    tiers = [{"up_to": 5, "unit_amount": "1", "flat_amount": "9"}, {"unit_amount": "3"}]
    book = book_of("graduated", {"tiers": tiers}, {"effective_from": "2026-10-05T00:00:00Z", "tiers": tiers})
    known = amount_of(book, "p")
    moved = with_amount(book, "p", known, Decimal("1.5"))
    named = moved.tiers.join(moved.rates.select("rate", "price"), on="rate")
    assert named.filter(price="p")["unit_amount"].to_list() == [Decimal("1.5"), Decimal("4.5")] * 2
    assert named.filter(price="p")["flat_amount"].to_list() == [9, 0] * 2
    assert named.filter(price="q")["unit_amount"].to_list() == [7]


def test_a_price_without_an_amount() -> None:
    with pytest.raises(NoAmount, match="no amount"):
        amount_of(book_of("per_unit", {"unit_amount": "0"}), "p")
