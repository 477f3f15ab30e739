"""Exact arithmetic on amounts and quantities: the only module that multiplies, divides, sums or rounds money.

Polars rounds a product of decimals to the larger scale, rounds half to even by default, and an in-memory grouped sum
of decimals wraps silently when it overflows (all measured on Polars 2.1, see RELIABILITY fact 5). So every amount is
a Decimal(38, 21), products are taken at that scale (where the product of a 9-decimal quantity and a 12-decimal unit
amount is exact and a larger result than 10^17 raises), and grouped sums carry a check. What this gives up: a price
with more than 12 decimals on a quantity with 9 is rounded at the 21st decimal, half to even.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal, localcontext
from functools import cache

import polars as pl

from rating.core.schema import AMOUNT, QUANTITY

ROUNDED = pl.Decimal(38, 4)
"""Amounts in a currency's minor unit; ISO 4217 knows 0, 2, 3 and 4 digits."""

ZERO = pl.lit(Decimal(0), dtype=AMOUNT)


class AmountOverflow(ArithmeticError):
    """An amount does not fit 17 digits before the point; nothing was rounded or wrapped, the run has no result."""


_SAID_OF_OVERFLOW = (
    "overflow",
    "conversion from",
    "can't fit values with 39 digits",  # of a sum in memory that has one row; a panic
    "division by zero Decimal",  # of a sum in memory that has several
)


@contextmanager
def overflow_checked() -> Iterator[None]:
    """Raises AmountOverflow where a query of the block says that a number does not fit."""
    try:
        yield
    except (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError, pl.exceptions.PanicException) as error:
        if any(said in str(error) for said in _SAID_OF_OVERFLOW):
            raise AmountOverflow(f"an amount or quantity does not fit 17 digits before the point: {error}") from error
        raise


def product(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """left x right as an amount; exact while their decimals add up to 21 or fewer; raises where it reaches 10^17."""
    return left.cast(AMOUNT) * right.cast(AMOUNT)


def at_rate(quantity: pl.Expr, rate: pl.Expr) -> pl.Expr:
    """`product` of a quantity and an amount; to make the quantity an amount first takes half as long again."""
    return quantity * rate.cast(AMOUNT)


def quotient(amount: pl.Expr, divisor: pl.Expr) -> pl.Expr:
    """amount / divisor, rounded half to even at the 21st decimal; exact where the quotient has no more."""
    return amount.cast(AMOUNT) / divisor.cast(AMOUNT)


def part(number: pl.Expr, served: pl.Expr, whole: pl.Expr, dtype: pl.Decimal = AMOUNT) -> pl.Expr:
    """number x served / whole as `dtype`, rounded half to even at its last decimal; 0 <= served <= whole, both whole
    numbers, whole above zero. By integers and two divisions, so that no product is too large where the result fits."""
    units = number.cast(dtype).to_physical()
    size, taken, length = units.abs(), served.cast(pl.Int128), whole.cast(pl.Int128)
    rest = (size % length) * taken
    below, left = (size // length) * taken + rest // length, rest % length
    half = left - (length - left)
    made = below + ((half > 0) | ((half == 0) & (below % 2 == 1))).cast(pl.Int128)
    one = pl.lit(10**dtype.scale, dtype=pl.Int128)
    last_decimal = pl.lit(Decimal(1).scaleb(-dtype.scale), dtype=dtype)
    decimal = (made // one).cast(dtype) + (made % one).cast(pl.Decimal(38, 0)) * last_decimal
    return pl.when(units < 0).then(-decimal).otherwise(decimal)


def whole(quantity: pl.Expr, size: pl.Expr) -> pl.Expr:
    """How many whole packages of `size` are in a quantity: 0.9 -> 0, size -> 1; nothing for a negative quantity."""
    units, unit = quantity.cast(AMOUNT), size.cast(AMOUNT)
    return pl.when(quantity > 0).then(quotient(units - units % unit, unit)).otherwise(ZERO)


def started(quantity: pl.Expr, size: pl.Expr) -> pl.Expr:
    """How many packages of `size` a quantity starts: 0 -> 0, 0.1 -> 1, size -> 1; nothing for a negative quantity."""
    rest = quantity.cast(AMOUNT) % size.cast(AMOUNT)
    one_more = pl.when((quantity > 0) & (rest > 0)).then(pl.lit(Decimal(1), dtype=AMOUNT)).otherwise(ZERO)
    return whole(quantity, size) + one_more


def round_to(amount: pl.Expr, digits: int, mode: str) -> pl.Expr:
    """The amount with `digits` decimals: half_away_from_zero, half_even, up (away from zero) or down (toward zero)."""
    if mode == "half_away_from_zero":
        rounded = amount.round(digits, mode="half_away_from_zero")
    elif mode == "half_even":
        rounded = amount.round(digits, mode="half_to_even")
    else:
        rounded = amount.truncate(digits)
        if mode == "up":
            step = pl.lit(Decimal(1).scaleb(-digits), dtype=AMOUNT)
            rest = amount - rounded
            rounded = rounded + pl.when(rest > 0).then(step).when(rest < 0).then(-step).otherwise(ZERO)
    return rounded.cast(ROUNDED)


def round_to_multiple(amount: pl.Expr, multiple: pl.Expr, mode: pl.Expr) -> pl.Expr:
    """The amount as a multiple of `multiple`, above zero, by `mode` (see `round_to`); as it is where that is null."""
    one = pl.lit(Decimal(1), dtype=AMOUNT)
    size = amount.abs()
    rest = size % multiple.fill_null(one)
    base, half = size - rest, rest - (multiple - rest)
    is_odd = base % (multiple + multiple) != 0  # and not of the quotient, which may not fit
    goes_up = (
        pl.when(mode == "up")
        .then(rest > 0)
        .when(mode == "down")
        .then(False)
        .when(mode == "half_even")
        .then((half > 0) | ((half == 0) & is_odd))
        .otherwise(half >= 0)
    )
    rounded = base + pl.when(goes_up).then(multiple).otherwise(ZERO)
    return pl.when(multiple.is_null()).then(amount).when(amount < 0).then(-rounded).otherwise(rounded)


def round_by_currency(amount: str, digits: str, mode: str, kinds: Iterable[tuple[int, str]]) -> pl.Expr:
    """Round column `amount` by the columns `digits` and `mode`; `kinds` are the (digits, mode) pairs that occur."""
    branches = [
        pl.when((pl.col(digits) == d) & (pl.col(mode) == m)).then(round_to(pl.col(amount), d, m))
        for d, m in sorted(set(kinds))
    ]
    return pl.coalesce(branches) if branches else pl.col(amount).cast(ROUNDED)


def grouped_sum(frame: pl.LazyFrame, by: Sequence[str], columns: Sequence[str], *also: pl.Expr) -> pl.LazyFrame:
    """Sum decimal `columns` for each group and raise where a sum overflows.

    A wrapped sum is off by 2^128 units of the last decimal. The sum of the values without their fraction cannot wrap
    below 10^20 rows and differs from a right sum by at most one a row: a larger difference is an overflow, which is
    turned into a failing cast (Polars raises InvalidOperationError, a service translates it to AmountOverflow).
    """
    coarse = [_whole(c).sum().alias(f"{c}__coarse") for c in columns]
    summed = frame.group_by(by).agg(*[pl.col(c).sum() for c in columns], *coarse, *also, pl.len().alias("__rows"))
    checked = [_checked(c).alias(c) for c in columns]
    return summed.with_columns(checked).drop([f"{c}__coarse" for c in columns], "__rows")


@cache
def _whole(column: str) -> pl.Expr:
    return pl.col(column).truncate(0).cast(pl.Decimal(38, 0))


@cache
def _checked(column: str) -> pl.Expr:
    gap = (_whole(column) - pl.col(f"{column}__coarse")).abs()
    wrapped = gap > (pl.col("__rows") + 1).cast(pl.Decimal(38, 0))
    fails_to_cast = pl.when(wrapped).then(pl.lit(10**20, dtype=pl.Int128)).otherwise(0).cast(AMOUNT)
    return pl.col(column) + fails_to_cast.cast(pl.Decimal(38, 0))


def plain_text(amount: pl.Expr) -> pl.Expr:
    """`plain` of a column."""
    text = amount.cast(AMOUNT).cast(pl.String)
    return text.str.strip_chars_end("0").str.strip_chars_end(".")


def plain(amount: Decimal) -> str:
    """A decimal as people write it: no exponent, no trailing zeros, no minus zero."""
    text = format(amount, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def exact_sum(numbers: Iterable[Decimal]) -> Decimal:
    """The sum of a few decimals, all digits kept; Python's own would round to 28 of them."""
    with localcontext(prec=76):
        return sum(numbers, Decimal(0))


def ratio(number: pl.Expr, divisor: pl.Expr, mode: str, decimals: int) -> pl.Expr:
    """number / divisor as a quantity, rounded once to `decimals` (9 or fewer; negative: to tens, hundreds ...).

    `number` is a quantity and `divisor` a whole number above zero, Decimal(38, 9) both; a step of the result must fit
    their 29 digits before the point. Modes: half_away_from_zero, half_even, up (away from zero), down (toward zero),
    ceiling, floor. Counts whole steps and looks at the remainder, so no rounding hides another.
    """
    step = divisor * pl.lit(Decimal(1).scaleb(-decimals), dtype=QUANTITY)
    rest = number % step  # has the sign of the step: above zero
    steps = (number - rest) / step
    one, zero = pl.lit(Decimal(1), dtype=QUANTITY), pl.lit(Decimal(0), dtype=QUANTITY)
    half = rest - (step - rest)
    is_odd = steps % pl.lit(Decimal(2), dtype=QUANTITY) != 0
    goes_up = {
        "ceiling": rest > zero,
        "floor": pl.lit(False),
        "up": (rest > zero) & (number > zero),
        "down": (rest > zero) & (number < zero),
        "half_away_from_zero": (half > zero) | ((half == zero) & (number > zero)),
        "half_even": (half > zero) | ((half == zero) & is_odd),
    }[mode]
    whole_steps = steps + pl.when(goes_up).then(one).otherwise(zero)
    return whole_steps * pl.lit(Decimal(1).scaleb(-decimals), dtype=QUANTITY)
