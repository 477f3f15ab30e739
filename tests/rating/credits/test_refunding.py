"""Refunds go back to the grants that paid, the last one first, and never more than they paid."""

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.core.credits.refunding import given_back
from rating.core.schema import AMOUNT

PAYMENT = {
    "row": pl.Int64,
    "place": pl.Int64,
    "covered": AMOUNT,
    "paid": pl.Int64,
    "increment": AMOUNT,
    "factor": AMOUNT,
}
REFUND = {"refund": pl.Int64, "row": pl.Int64, "amount": AMOUNT}


def back(
    payments: list[tuple[int, str]], amount: str, increment: str | None = None
) -> dict[int, tuple[Decimal, Decimal]]:
    """What each grant gets, and for how much, of one burn that grants 1, 2, ... paid in this order."""
    size = None if increment is None else Decimal(increment)
    rows = [(0, place, Decimal(covered), n, size, None) for n, (place, covered) in enumerate(payments)]
    asked = pl.DataFrame([(0, 0, Decimal(amount))], schema=REFUND, orient="row")
    found = given_back(pl.DataFrame(rows, schema=PAYMENT, orient="row"), asked)
    return {place: (a, -c) for place, a, c in found.select("place", "amount", "covered").iter_rows()}


@pytest.mark.parametrize(
    ("payments", "amount", "expected"),
    [
        pytest.param([(1, "30"), (2, "20")], "25", {2: "20", 1: "5"}, id="the last one first: 20 and 5"),
        pytest.param([(1, "30"), (2, "20")], "20", {2: "20"}, id="all of the last, none of the first"),
        pytest.param([(1, "30"), (2, "20")], "60", {2: "20", 1: "30"}, id="no more than was paid"),
        pytest.param([(1, "30"), (2, "20"), (2, "-15")], "10", {2: "5", 1: "5"}, id="less what went back before"),
        pytest.param([(1, "30"), (1, "-30")], "1", {}, id="nothing is left"),
    ],
)
def test_who_gets_what(payments: list[tuple[int, str]], amount: str, expected: dict[int, str]) -> None:
    assert back(payments, amount) == {place: (Decimal(a), Decimal(a)) for place, a in expected.items()}


@pytest.mark.parametrize(
    ("amount", "gets"),
    [
        pytest.param("14", "0", id="61 of 75 still take two steps"),
        pytest.param("15", "60", id="60 take one"),
        pytest.param("75", "120", id="all"),
    ],
)
def test_a_started_step_stays_taken(amount: str, gets: str) -> None:
    assert back([(1, "75")], amount, increment="60") == {1: (Decimal(gets), Decimal(amount))}


@given(paid=st.lists(st.decimals("0.001", 100, places=3), min_size=1, max_size=5), part=st.decimals(0, 1, places=3))
def test_a_refund_is_conserved(paid: list[Decimal], part: Decimal) -> None:
    whole = sum(paid, Decimal(0))
    amount = (whole * part).quantize(Decimal("0.001"))
    if amount > 0:
        found = back([(place, str(covered)) for place, covered in enumerate(paid)], str(amount))
        assert sum((gets for gets, _ in found.values()), Decimal(0)) == amount
        assert all(gets <= paid[place] for place, (gets, _) in found.items())
