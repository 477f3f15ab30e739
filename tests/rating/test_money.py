"""Exact arithmetic: products, quotients, packages, rounding and sums that must not wrap."""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Context, Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.core.money import (
    AmountOverflow,
    grouped_sum,
    overflow_checked,
    part,
    plain,
    product,
    quotient,
    round_by_currency,
    round_to,
    started,
)
from rating.core.schema import AMOUNT, QUANTITY

EXACT = Context(prec=120)
QUANTITIES = st.decimals(-(10**15), 10**15, places=9)
UNIT_AMOUNTS = st.decimals(0, 90, places=12)
AMOUNTS = st.decimals(-(10**12), 10**12, places=21)


def one(expression: pl.Expr, **values: tuple[str | Decimal, pl.DataType]) -> Decimal:
    columns = {name: pl.Series([Decimal(value)], dtype=dtype) for name, (value, dtype) in values.items()}
    return pl.DataFrame(columns).select(expression).item()


@given(quantity=QUANTITIES, unit_amount=UNIT_AMOUNTS)
def test_a_quantity_times_a_unit_amount_is_exact(quantity: Decimal, unit_amount: Decimal) -> None:
    got = one(product(pl.col("q"), pl.col("p")), q=(quantity, QUANTITY), p=(unit_amount, AMOUNT))
    assert got == EXACT.multiply(quantity, unit_amount)


@given(amount=AMOUNTS, divisor=st.integers(1, 10**9))
def test_a_quotient_is_rounded_half_to_even_at_the_21st_decimal(amount: Decimal, divisor: int) -> None:
    got = one(quotient(pl.col("a"), pl.lit(divisor)), a=(amount, AMOUNT))
    expected = EXACT.divide(amount, Decimal(divisor)).quantize(Decimal("1e-21"), ROUND_HALF_EVEN, EXACT)
    assert got == expected


def test_a_product_that_does_not_fit_raises() -> None:
    with pytest.raises(pl.exceptions.ComputeError, match="overflow"):
        one(product(pl.col("q"), pl.col("p")), q=("1e15", QUANTITY), p=("100", AMOUNT))


@pytest.mark.parametrize(
    ("quantity", "size", "packages"),
    [
        pytest.param("0", "10", "0", id="nothing starts no package"),
        pytest.param("0.000000001", "10", "1", id="the smallest quantity starts one"),
        pytest.param("10", "10", "1", id="exactly one package"),
        pytest.param("10.000000001", "10", "2", id="a hair more starts the second"),
        pytest.param("-3", "10", "0", id="a negative quantity starts none"),
        pytest.param("-0.5", "10", "0", id="nor does half a unit below zero"),
        pytest.param("999999999999999.999999999", "0.7", "1428571428571429", id="large: 1e15 / 0.7, rounded up"),
    ],
)
def test_started_packages(quantity: str, size: str, packages: str) -> None:
    assert one(started(pl.col("q"), pl.col("s")), q=(quantity, QUANTITY), s=(size, QUANTITY)) == Decimal(packages)


MODES = {"half_away_from_zero": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "up": ROUND_UP, "down": ROUND_DOWN}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("digits", [0, 2, 3, 4])
@given(amount=AMOUNTS | st.decimals(-10, 10, places=5))
def test_rounding_is_what_decimal_does(mode: str, digits: int, amount: Decimal) -> None:
    got = one(round_to(pl.col("a"), digits, mode), a=(amount, AMOUNT))
    assert got == amount.quantize(Decimal(1).scaleb(-digits), MODES[mode], EXACT)


def test_each_row_is_rounded_by_its_own_currency_and_mode() -> None:
    frame = pl.DataFrame(
        {
            "amount": pl.Series([Decimal("2.5"), Decimal("2.345"), Decimal("2.3451")], dtype=AMOUNT),
            "digits": [0, 2, 3],
            "mode": ["half_even", "half_away_from_zero", "up"],
        }
    )
    kinds = [(0, "half_even"), (2, "half_away_from_zero"), (3, "up")]
    rounded = frame.select(round_by_currency("amount", "digits", "mode", kinds)).to_series()
    assert rounded.to_list() == [Decimal("2"), Decimal("2.35"), Decimal("2.346")]


@pytest.mark.parametrize("rows", [2, 30, 3000])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_a_grouped_sum_that_overflows_raises_instead_of_wrapping(rows: int, groups: int, engine: str) -> None:
    keys = [key for key in range(groups) for _ in range(rows)]
    frame = pl.LazyFrame({"k": keys, "v": pl.Series([Decimal("9e16")] * len(keys), dtype=AMOUNT)})
    with pytest.raises(AmountOverflow), overflow_checked():
        grouped_sum(frame, ["k"], ["v"]).collect(engine=engine)  # type: ignore[call-overload]


@given(values=st.lists(st.tuples(st.integers(0, 3), st.decimals(-(10**14), 10**14, places=21)), min_size=1))
def test_a_grouped_sum_is_the_sum(values: list[tuple[int, Decimal]]) -> None:
    frame = pl.LazyFrame({"k": [k for k, _ in values], "v": pl.Series([v for _, v in values], dtype=AMOUNT)})
    sums = dict(grouped_sum(frame, ["k"], ["v"]).collect().iter_rows())
    expected: dict[int, Decimal] = {}
    for k, v in values:
        expected[k] = EXACT.add(expected.get(k, Decimal(0)), v)
    assert sums == expected


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1.500", "1.5"), ("100", "100"), ("0E-21", "0"), ("-0.0", "0"), ("1E+3", "1000"), ("-2.50", "-2.5")],
)
def test_a_decimal_is_written_as_people_write_it(amount: str, text: str) -> None:
    assert plain(Decimal(amount)) == text


@given(amount=st.decimals(-(10**16), 10**16, places=21), share=st.fractions(0, 1))
def test_a_part_by_microseconds_is_exact_whatever_the_amount(amount: Decimal, share: Fraction) -> None:
    """A month has 2.7 x 10^12 microseconds: beside them few digits are left for a product."""
    whole = 31 * 86_400 * 10**6
    served = int(whole * share)
    columns = {"served": pl.lit(served, dtype=pl.Int64), "whole": pl.lit(whole, dtype=pl.Int64)}
    frame = pl.DataFrame({"amount": [amount]}, schema={"amount": AMOUNT}).with_columns(**columns)
    got = frame.select(part(*map(pl.col, ("amount", "served", "whole")))).item()
    assert got == EXACT.divide(EXACT.multiply(amount, served), whole).quantize(
        Decimal(1).scaleb(-21), ROUND_HALF_EVEN, EXACT
    )
