"""Compose: an amount from an amount: percentages and amounts on top of it or off it.

    amount + amount x percent / 100 + fixed
    amount + max(amount - above, 0) x percent / 100 + fixed, where there is an `above`

A discount has negative numbers; `fixed` off an amount never makes it less than zero, nor does a percentage above 100.
Worked example: 80.00 with 25 % off and then 10.00 off is 60.00 and 50.00; in the other order it is 70.00 and 52.50.
25 % more on what is above 60.00 makes 85.00 of 80.00: the overage of a commitment.
"""

from decimal import Decimal

import polars as pl

from rating.core.money import ZERO, product, quotient
from rating.core.schema import AMOUNT

_HUNDRED = pl.lit(Decimal(100), dtype=AMOUNT)


def compose(rows: pl.LazyFrame, parameters: pl.LazyFrame) -> pl.LazyFrame:
    """`amount` of each row becomes the composed one. `parameters` is COMPOSE of one step."""
    joined = rows.join(parameters.rename({"percent": "added"}), on="rate", validate="m:1")  # tiers have a `percent` too
    amount = pl.col("amount")
    above = pl.col("above")
    counted = pl.when(above.is_null()).then(amount).otherwise(pl.max_horizontal(amount - above, ZERO))
    by_percent = quotient(product(counted, pl.col("added").fill_null(ZERO)), _HUNDRED)
    composed = amount + by_percent + pl.col("fixed").fill_null(ZERO)
    floor = pl.min_horizontal(amount, ZERO)  # a credit stays what it is
    return joined.with_columns(amount=pl.max_horizontal(composed, floor)).select(rows.collect_schema().names())
