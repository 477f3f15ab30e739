"""Latest: the value of the last event by its time; of two at one instant the one accepted last.

Values 5 at 10:00 and 3 at 11:00, the latter sent first: 3.
"""

from collections.abc import Sequence

import polars as pl

from rating.core.book import Meter


def reduced(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    last = [pl.col(name).sort_by("time", "sequence").last() for name in ("value", "time", "sequence")]
    return rows.group_by(by).agg(*last, pl.col("events").sum())


def quantity(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    return reduced(rows, meter, by).rename({"value": "quantity"})
