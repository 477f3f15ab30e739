"""Where amounts are rounded: parts that are shown beside their total always sum to it.

| place        | what is rounded                                          | the lines then                           |
|--------------|----------------------------------------------------------|------------------------------------------|
| event        | the amount of each event, by a step of the price's chain | are sums of rounded events               |
| line         | each line                                                | each by itself                           |
| price        | the sum of a subscription's lines of one price           | share it by the largest remainder        |
| subscription | the sum of all lines of a subscription that say so       | share it by the largest remainder        |

Largest remainder: each part is rounded down, and what is missing to the rounded sum goes, one unit of the last digit
each, to the parts that lost most; among equals by the key. Worked example: three parts of 1/3 of 1.00 are 0.34, 0.33
and 0.33. Fees and usage are rounded together; adjustments and credits are lines of their own, rounded by themselves.
"""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from rating.core.book import PriceBook, of_book
from rating.core.lines import ordered
from rating.core.money import ROUNDED, ZERO, round_by_currency
from rating.core.schema import AMOUNT

_PERIOD = ["subscription", "period_start"]
_TOGETHER = {"price": [*_PERIOD, "item", "price"], "subscription": [*_PERIOD, "currency"]}
_KINDS = ["rounding_digits", "rounding"]


def largest_remainder(parts: pl.DataFrame, by: Sequence[str], key: Sequence[str]) -> pl.DataFrame:
    """`parts` with `rounded`, which sums to the rounded sum of `amount` for each value of `by`.

    The parts of one sum agree on `rounding_digits` and `rounding` (the mode); `key` tells them apart and breaks ties.
    """
    kinds = [(int(digits), str(mode)) for digits, mode in parts.select(_KINDS).unique().iter_rows()]
    all_digits = sorted({digits for digits, _ in kinds})
    summed = parts.with_columns(
        unit=pl.coalesce(pl.when(pl.col("rounding_digits") == d).then(_unit(d)) for d in all_digits),
        down=pl.coalesce(pl.when(pl.col("rounding_digits") == d).then(_floor(d)) for d in all_digits),
        whole=pl.col("amount").sum().over(by),
    )
    shown = round_by_currency("whole", "rounding_digits", "rounding", kinds).cast(AMOUNT)
    ordered = summed.with_columns(
        lost=pl.col("amount") - pl.col("down"), missing=(shown - pl.col("down").sum().over(by)) / pl.col("unit")
    ).sort(*by, "lost", *key, descending=[*(False for _ in by), True, *(False for _ in key)])
    gains = pl.int_range(pl.len()).over(by).cast(AMOUNT) < pl.col("missing")
    rounded = pl.col("down") + pl.when(gains).then("unit").otherwise(ZERO)
    return ordered.with_columns(rounded=rounded.cast(ROUNDED)).drop("unit", "down", "whole", "lost", "missing")


def _unit(digits: int) -> pl.Expr:
    return pl.lit(Decimal(1).scaleb(-digits), dtype=AMOUNT)


def _floor(digits: int) -> pl.Expr:
    """The next lower amount with so many digits."""
    truncated = pl.col("amount").truncate(digits)
    below = pl.when(pl.col("amount") < truncated).then(_unit(digits)).otherwise(ZERO)
    return truncated - below


def rounded_together(lines: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """`lines` (CHARGE_LINE of usage and fees) with those rounded together whose prices say so, in LINE_ORDER; each has
    a last operation `round` that tells so."""
    for place, prices in _rounded_by_place(book).items():
        together, by = lines.join(prices, on="price", validate="m:1"), _TOGETHER[place]
        if together.is_empty():
            continue
        shown = largest_remainder(together, [*by, *_KINDS], ["line"])
        operations = pl.concat_list("operations", pl.concat_list(_operation(place)))
        made = shown.with_columns(rounded_amount="rounded", operations=operations).select(lines.columns)
        lines = pl.concat([lines.join(made, on="line", how="anti"), made])
    return ordered(lines)


@of_book
def _rounded_by_place(book: PriceBook) -> dict[str, pl.DataFrame]:
    """The prices of each place at which lines are rounded together, where there are any, with their digits."""
    found = {place: book.prices.filter(pl.col("rounding_place") == place) for place in _TOGETHER}
    return {place: prices.select("price", "rounding_digits") for place, prices in found.items() if prices.height}


def _operation(place: str) -> pl.Expr:
    """OPERATION of a rounding with others: `on` what is shown, for the exact amount stays."""
    numbers = pl.struct(digits=pl.col("rounding_digits").cast(pl.String)).struct.json_encode()
    return pl.struct(
        pl.lit("round").alias("operator"),
        pl.lit(place).alias("level"),
        pl.lit("shown").alias("on"),
        pl.col("amount").alias("before"),
        pl.col("rounded").cast(AMOUNT).alias("after"),
        numbers.alias("numbers"),
    )
