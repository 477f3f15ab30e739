"""Division with a remainder: whole packages, multiples of an amount, and ratios that are rounded once."""

from decimal import (
    ROUND_CEILING,
    ROUND_DOWN,
    ROUND_FLOOR,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    ROUND_UP,
    Context,
    Decimal,
)

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.core.money import (
    AmountOverflow,
    grouped_sum,
    overflow_checked,
    product,
    ratio,
    round_by_currency,
    round_to_multiple,
    whole,
)
from rating.core.schema import AMOUNT, QUANTITY

EXACT = Context(prec=120)
MODES = {"half_away_from_zero": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "up": ROUND_UP, "down": ROUND_DOWN}
RATIO_MODES = {**MODES, "ceiling": ROUND_CEILING, "floor": ROUND_FLOOR}
halves = st.integers(-(10**6), 10**6).map(lambda number: Decimal(number).scaleb(-1) / 2)
"""Many of them are exactly between two steps."""


def column(values: list[Decimal], dtype: pl.DataType) -> pl.DataFrame:
    return pl.DataFrame({"x": pl.Series(values, dtype=dtype)})


@pytest.mark.parametrize(
    ("quantity", "size", "packages"),
    [
        ("0.9", "1", "0"),
        ("1", "1", "1"),
        ("-3", "2", "0"),
        ("-0.5", "1", "0"),
        ("0", "2", "0"),
        ("7.5", "2.5", "3"),
        ("7.49", "2.5", "2"),
    ],
)
def test_whole_packages(quantity: str, size: str, packages: str) -> None:
    frame = column([Decimal(quantity)], QUANTITY)
    assert frame.select(whole(pl.col("x"), pl.lit(Decimal(size)))).item() == Decimal(packages)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("multiple", ["0.05", "1", "3", "0.0001"])
@given(values=st.lists(halves | st.decimals(-1000, 1000, places=9), min_size=1))
def test_multiples_are_what_decimal_makes_of_the_quotient(mode: str, multiple: str, values: list[Decimal]) -> None:
    step = Decimal(multiple)
    got = column(values, AMOUNT).select(round_to_multiple(pl.col("x"), pl.lit(step, dtype=AMOUNT), pl.lit(mode)))
    expected = [EXACT.divide(value, step).to_integral_value(MODES[mode]) * step for value in values]
    if step == 3:  # a third has no end: by whole steps and what is left
        expected = [_by_steps(value, step, mode) for value in values]
    assert got.to_series().to_list() == expected


def _by_steps(value: Decimal, step: Decimal, mode: str) -> Decimal:
    steps, rest = divmod(abs(value), step)
    more = {
        "up": rest > 0,
        "down": False,
        "half_away_from_zero": rest * 2 >= step,
        "half_even": rest * 2 > step or (rest * 2 == step and steps % 2 == 1),
    }[mode]
    return ((steps + more) * step).copy_sign(value)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("half_away_from_zero", ["1", "2", "3", "-1", "-2"]),
        ("half_even", ["0", "2", "2", "0", "-2"]),
        ("up", ["1", "2", "3", "-1", "-2"]),
        ("down", ["0", "1", "2", "0", "-1"]),
    ],
)
def test_halves(mode: str, expected: list[str]) -> None:
    halved = [Decimal(value) for value in ("0.5", "1.5", "2.5", "-0.5", "-1.5")]
    got = column(halved, AMOUNT).select(round_to_multiple(pl.col("x"), pl.lit(Decimal(1), dtype=AMOUNT), pl.lit(mode)))
    assert got.to_series().to_list() == [Decimal(value) for value in expected]
    got = column(halved, QUANTITY).select(ratio(pl.col("x"), pl.lit(1, dtype=QUANTITY), mode, 0))
    assert got.to_series().to_list() == [Decimal(value) for value in expected]


@pytest.mark.parametrize("mode", MODES)
def test_an_amount_without_a_multiple_stays(mode: str) -> None:
    frame = column([Decimal("1.23456"), Decimal("-1.5")], AMOUNT)
    got = frame.select(round_to_multiple(pl.col("x"), pl.lit(None, dtype=AMOUNT), pl.lit(mode)))
    assert got.to_series().to_list() == [Decimal("1.23456"), Decimal("-1.5")]


@pytest.mark.parametrize("mode", RATIO_MODES)
@pytest.mark.parametrize("decimals", [-1, 0, 2, 9])
@given(values=st.lists(halves, min_size=1), divisor=st.sampled_from([1, 2, 8, 125, 10_000]))
def test_a_ratio_is_rounded_once(mode: str, decimals: int, values: list[Decimal], divisor: int) -> None:
    """By divisors whose quotients end, so that `decimal` knows them exactly."""
    got = column(values, QUANTITY).select(ratio(pl.col("x"), pl.lit(divisor, dtype=QUANTITY), mode, decimals))
    step = Decimal(1).scaleb(-decimals)
    expected = [EXACT.divide(value, divisor).quantize(step, RATIO_MODES[mode], EXACT) for value in values]
    assert got.to_series().to_list() == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("half_away_from_zero", ["0.33", "0.67", "-0.33", "-0.67"]),
        ("half_even", ["0.33", "0.67", "-0.33", "-0.67"]),
        ("up", ["0.34", "0.67", "-0.34", "-0.67"]),
        ("down", ["0.33", "0.66", "-0.33", "-0.66"]),
        ("ceiling", ["0.34", "0.67", "-0.33", "-0.66"]),
        ("floor", ["0.33", "0.66", "-0.34", "-0.67"]),
    ],
)
def test_thirds(mode: str, expected: list[str]) -> None:
    frame = column([Decimal(value) for value in (1, 2, -1, -2)], QUANTITY)
    got = frame.select(ratio(pl.col("x"), pl.lit(3, dtype=QUANTITY), mode, 2)).to_series()
    assert got.to_list() == [Decimal(value) for value in expected]


def test_rounding_by_no_kind_leaves_four_decimals() -> None:
    """A frame without rows has no kinds, and still the column of rounded amounts."""
    frame = column([], AMOUNT).with_columns(digits=pl.lit(2), mode=pl.lit("up"))
    assert frame.select(round_by_currency("x", "digits", "mode", [])).schema == {"x": pl.Decimal(38, 4)}


@pytest.mark.parametrize(
    ("amount", "digits", "mode"),
    [("1.5", 2, "up"), ("1.5", 0, "down"), ("1.2", 0, "up")],
    ids=["other digits", "other mode", "the later mode"],
)
def test_each_kind_is_that_of_both_columns(amount: str, digits: int, mode: str) -> None:
    frame = column([Decimal(amount)], AMOUNT).with_columns(digits=pl.lit(digits), mode=pl.lit(mode))
    rounded = frame.select(round_by_currency("x", "digits", "mode", [(0, "up"), (2, "up"), (0, "down")])).item()
    assert rounded == Decimal(amount).quantize(Decimal(1).scaleb(-digits), MODES[mode])


def test_a_large_amount_is_rounded_to_the_smallest_digits() -> None:
    """The multiples in it are more than 10^17, which no amount may be."""
    frame = column([Decimal("99999999999999999.12345"), Decimal("-99999999999999999.12355")], AMOUNT)
    got = frame.select(round_to_multiple(pl.col("x"), pl.lit(Decimal("0.0001"), dtype=AMOUNT), pl.lit("half_even")))
    assert got.to_series().to_list() == [Decimal("99999999999999999.1234"), Decimal("-99999999999999999.1236")]


def test_a_sum_of_many_small_parts_is_no_overflow() -> None:
    """A thousand parts just below one: their whole parts sum to nothing, which is as far from the sum as rows allow."""
    part = Decimal("0.999999999999999999999")
    frame = pl.LazyFrame({"k": [1] * 1_000, "v": pl.Series([part] * 1_000, dtype=AMOUNT)})
    assert grouped_sum(frame, ["k"], ["v"]).collect().rows() == [(1, 1_000 * part)]


def test_what_does_not_fit_has_an_error_of_its_own_and_other_errors_stay() -> None:
    large = column([Decimal("9e16")], AMOUNT)
    with pytest.raises(AmountOverflow, match="17 digits"), overflow_checked():
        large.select(product(pl.col("x"), pl.col("x")))
    with pytest.raises(pl.exceptions.ComputeError, match="something else"), overflow_checked():
        raise pl.exceptions.ComputeError("something else")


def test_a_sum_has_its_groups_its_columns_and_what_else_is_asked_for() -> None:
    frame = pl.LazyFrame({"k": [1, 1], "v": pl.Series([Decimal(-5), Decimal(2)], dtype=AMOUNT), "n": [3, 4]})
    made = grouped_sum(frame, ["k"], ["v"], pl.col("n").sum()).collect()
    assert made.to_dicts() == [{"k": 1, "v": Decimal(-3), "n": 7}]


@pytest.mark.parametrize("sign", [1, -1])
def test_an_overflow_below_zero_is_one_too(sign: int) -> None:
    values = pl.Series([sign * Decimal("9.9e16")] * 5, dtype=AMOUNT)
    with pytest.raises((pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError)):
        grouped_sum(pl.LazyFrame({"k": [1] * 5, "v": values}), ["k"], ["v"]).collect()
