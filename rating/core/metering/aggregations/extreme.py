"""Min and max: the lowest and the highest value of any event.

What is carried over is the last value of each series before the period: it still held when the period began.
Values 3, -1, 7: min -1, max 7.
"""

from collections.abc import Sequence

import polars as pl

from rating.core.book import Meter


def reduced(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    return _by(rows, meter, by)


def quantity(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    return _by(rows, meter, by).rename({"value": "quantity"})


def _by(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    value = pl.col("value").min() if meter.aggregation == "min" else pl.col("value").max()
    return rows.group_by(by).agg(value, pl.col("events").sum())
