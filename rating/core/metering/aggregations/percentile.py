"""Percentile: the smallest value that at least so many percent of all values do not exceed (nearest rank).

It is always a value that occurred. Of n values in order it is number ceil(percentile x n / 100): of 1, 2 ... 20 the
95th percentile is number 19, which is 19, so that the top 5 % (here: 20) does not count, as burstable bandwidth is
billed.
"""

from collections.abc import Sequence
from fractions import Fraction

import polars as pl

from rating.core.book import Meter


def reduced(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    """Each value once, with how many events have it."""
    return rows.group_by(*by, "value").agg(pl.col("events").sum())


def quantity(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    assert meter.percentile is not None, "a percentile meter says which"
    share = Fraction(meter.percentile) / 100
    up_to_here = pl.col("events").cum_sum().over(by, order_by="value")
    counted = reduced(rows, meter, by).with_columns(up_to_here=up_to_here, all_events=pl.col("events").sum().over(by))
    reached = pl.col("up_to_here") * share.denominator >= pl.col("all_events") * share.numerator
    found = counted.filter(reached).group_by(by).agg(pl.col("value").min(), pl.col("all_events").first())
    return found.rename({"value": "quantity", "all_events": "events"})
