"""A carried sum: all values since ever, such as seats taken less seats given back.

It is what the level has come to by the end of the period. +3 last month, +2 and -1 in this one: 4.
"""

from collections.abc import Sequence

import polars as pl

from rating.core.book import Meter
from rating.core.money import grouped_sum


def reduced(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    return grouped_sum(rows, by, ["value"], pl.col("events").sum())


def quantity(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    return reduced(rows, meter, by).rename({"value": "quantity"})
