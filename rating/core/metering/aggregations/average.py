"""Average: the values of all events divided by their number, in one division (converting.py).

Values 1, 2, 4: 7 / 3 = 2.333333333.
"""

from collections.abc import Sequence

import polars as pl

from rating.core.book import Meter
from rating.core.money import grouped_sum


def reduced(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    return grouped_sum(rows, by, ["value"], pl.col("events").sum())


def quantity(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    """The sum; `converted` divides it by the events."""
    return reduced(rows, meter, by).rename({"value": "quantity"})
