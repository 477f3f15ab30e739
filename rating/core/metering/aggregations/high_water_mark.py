"""High-water mark: values are changes of a level that starts at zero; how high did it ever stand?

Where usage is carried over, the level starts where it was. It is never below zero. Changes +5, -3, +4, -6: the level is
5, 2, 6, 0, and its mark 6. (The highest value of a level that is itself sent is `max`.)
"""

from collections.abc import Sequence

import polars as pl

from rating.core.book import Meter
from rating.core.metering.reading import NONE, sequenced


def reduced(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    """Every change counts."""
    return rows


def quantity(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    levels = sequenced(rows, by).with_columns(level=pl.col("value").cum_sum().over(by))
    is_before = pl.col("events") == 0
    start = pl.col("value").filter(is_before).sum()
    highest = pl.max_horizontal(NONE, start, pl.col("level").filter(~is_before).max())
    return levels.group_by(by).agg(quantity=highest, events=pl.col("events").sum())
