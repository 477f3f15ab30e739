"""Clamp: the least and the most that an amount may be, and the multiples of what.

    min(max(amount, minimum), maximum), rounded to a multiple of `multiple` by `rounding`

The level that it acts on is the level of the rows: an event, a tier, a line. A null bound is none. A minimum is due for
usage of zero too, where there is a row for it. Worked example: 1.5 % of 20 is 0.30, with a minimum of 0.50 it is 0.50;
0.641666 rounded up to multiples of 0.0001 is 0.6417.
"""

import polars as pl

from rating.core.money import round_to_multiple
from rating.core.schema import AMOUNT


def clamp(rows: pl.LazyFrame, parameters: pl.LazyFrame) -> pl.LazyFrame:
    """`amount` of each row becomes the clamped one. `parameters` is CLAMP of one step."""
    joined = rows.join(parameters, on="rate", validate="m:1")
    clamped = pl.min_horizontal(pl.max_horizontal("amount", "minimum"), "maximum").cast(AMOUNT)
    rounded = round_to_multiple(pl.col("amount"), pl.col("multiple"), pl.col("rounding"))
    return joined.with_columns(amount=clamped).with_columns(amount=rounded).select(rows.collect_schema().names())
