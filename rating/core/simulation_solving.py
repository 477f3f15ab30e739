"""Price search: which amount of a price makes the revenue what it should be.

A price may have many amounts: versions, tiers, cells, bands. They are moved together, in proportion; `amount_of` is the
one that is named: the first of the newest version. Revenue is what customers are charged, line by line rounded, so it
rises in small steps; the search ends when it is within `tolerance` of the target, or when no amount with so many
decimals is nearer. Where the charges are a straight line in the amount, its slope finds the amount at once. Where they
are not (a maximum, a minimum, a commitment), the interval in which the answer lies is cut until it is found: by its
slope and by its half in turn, in exact decimals, at most `EVALUATIONS_MAX` times. Of the amounts within the tolerance
one with few decimals is preferred.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import polars as pl

from rating.core.book import PriceBook
from rating.core.money import plain, product, quotient
from rating.core.schema import AMOUNT

DECIMALS = 12
"""Of the amounts that are tried: so many are exact on every quantity (money.py)."""
EVALUATIONS_MAX = 80
AMOUNT_MAX = Decimal(10) ** 12

_STEP = Decimal(1).scaleb(-DECIMALS)
_SHOWN_DECIMALS = (2, 4, 6, 8, 10)
_AMOUNTS = ("unit_amount", "percent", "flat_amount")


class NoAmount(ValueError):
    """The price has no amount that could be moved, or none makes the revenue the target."""


@dataclass(frozen=True)
class Solved:
    """The amount that was found and what it earns. `gap` is revenue less target; `evaluations` counts the ratings."""

    amount: Decimal
    revenue: Decimal
    target: Decimal
    evaluations: int

    @property
    def gap(self) -> Decimal:
        return self.revenue - self.target


@dataclass(frozen=True)
class PricedAmount:
    """The amount of a price that is moved: in which column of TIER, and how much it is now."""

    column: str
    amount: Decimal


def amount_of(book: PriceBook, price: str) -> PricedAmount:
    """The amount by which `price` is known. Raises NoAmount."""
    rates = book.rates.filter(pl.col("price") == price).sort("version", descending=True, maintain_order=True)
    tiers = rates.select("rate", "version").join(book.tiers, on="rate", maintain_order="left_right")
    for column in _AMOUNTS:
        found = tiers.filter(pl.col(column) != 0)
        if found.height:
            return PricedAmount(column, found[column][0])
    raise NoAmount(f"price {price!r} has no amount above zero that could be moved")


def with_amount(book: PriceBook, price: str, known: PricedAmount, amount: Decimal) -> PriceBook:
    """The book with that amount, and the others of the price and column in proportion."""
    own = pl.col("rate").is_in(book.rates.filter(pl.col("price") == price)["rate"].implode())
    old, new = pl.lit(known.amount, dtype=AMOUNT), pl.lit(amount, dtype=AMOUNT)
    column = pl.col(known.column)
    moved = pl.when(column == old).then(new).otherwise(product(quotient(column, old), new).round(DECIMALS))
    tiers = book.tiers.with_columns(pl.when(own).then(moved).otherwise(column).cast(AMOUNT).alias(known.column))
    return replace(book, tiers=tiers)


def solve(revenue: Callable[[Decimal], Decimal], start: Decimal, target: Decimal, tolerance: Decimal) -> Solved:
    """The amount at which `revenue`, which never falls as it rises, is `target`, from `start` on. Raises NoAmount."""
    tried: dict[Decimal, Decimal] = {}

    def gap(amount: Decimal) -> Decimal:
        if amount not in tried:
            tried[amount] = revenue(amount)
        return tried[amount] - target

    with localcontext() as context:
        context.prec = 60
        low, high = _interval(gap, abs(start), tolerance)
        while min(abs(gap(low)), abs(gap(high))) > tolerance and high - low > _STEP and len(tried) < EVALUATIONS_MAX:
            middle = _between(low, high, gap(low), gap(high), by_slope=len(tried) % 2 == 0)
            low, high = (middle, high) if gap(middle) <= 0 else (low, middle)
        nearest = min((low, high), key=lambda amount: (abs(gap(amount)), amount))
        best = _shortest(gap, nearest, tolerance)
    return Solved(best, tried[best], target, len(tried))


def _interval(gap: Callable[[Decimal], Decimal], start: Decimal, tolerance: Decimal) -> tuple[Decimal, Decimal]:
    """Amounts with the target between their revenues."""
    nothing = Decimal(0)
    if gap(nothing) > tolerance:
        raise NoAmount(f"even for nothing the revenue is {plain(gap(nothing))} above the target")
    low, high = nothing, start
    while gap(high) < -tolerance:
        low, high = high, high * 2
        if high > AMOUNT_MAX:
            raise NoAmount(f"up to {plain(low)} the revenue stays {plain(-gap(low))} below the target")
    return low, high


def _shortest(gap: Callable[[Decimal], Decimal], found: Decimal, tolerance: Decimal) -> Decimal:
    """The same amount with as few decimals as are still within the tolerance."""
    for decimals in _SHOWN_DECIMALS:
        short = found.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
        if short == found or abs(gap(short)) <= tolerance:
            return short
    return found


def _between(low: Decimal, high: Decimal, below: Decimal, above: Decimal, *, by_slope: bool) -> Decimal:
    """An amount inside the interval."""
    share = -below / (above - below) if by_slope and above != below else Decimal("0.5")
    found = (low + (high - low) * share).quantize(_STEP, ROUND_HALF_EVEN)
    return min(max(found, low + _STEP), high - _STEP)
