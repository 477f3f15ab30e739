"""Unique count: how many different values of a property the events have.

Where a meter says which events take a value away (`removed_when`), a value counts while its last event does not: by
time, then by acceptance. Users ann, bob, ann: 2; then bob leaves: 1.
"""

from collections.abc import Sequence

import polars as pl

from rating.core.book import Meter


def reduced(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    """Each value once, as its last event left it."""
    names = ("value", "time", "sequence")
    if not meter.removed_when:
        last = [pl.col(name).first() for name in names]
    else:
        last = [pl.col(name).sort_by("time", "sequence").last() for name in names]
    return rows.group_by(*by, "item").agg(*last, pl.col("events").sum())


def quantity(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    counted = reduced(rows, meter, by).group_by(by).agg(pl.col("value").sum(), pl.col("events").sum())
    return counted.rename({"value": "quantity"})
