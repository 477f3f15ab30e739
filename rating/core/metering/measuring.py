"""Meters that make one quantity of all usage together: readings, first reduced where that loses nothing, then measured.

Each aggregation is a file with two functions. `reduced` makes fewer readings that mean the same, so that millions of
events become few rows before prices are looked for; `quantity` makes one quantity of them.
"""

from collections.abc import Callable, Sequence

import polars as pl

from rating.core.book import Aggregation, Meter
from rating.core.metering.aggregations import average, extreme, high_water_mark, latest, percentile, total, unique_count

_Rule = Callable[[pl.LazyFrame, Meter, Sequence[str]], pl.LazyFrame]

_RULES: dict[Aggregation, tuple[_Rule, _Rule]] = {
    "min": (extreme.reduced, extreme.quantity),
    "max": (extreme.reduced, extreme.quantity),
    "average": (average.reduced, average.quantity),
    "latest": (latest.reduced, latest.quantity),
    "percentile": (percentile.reduced, percentile.quantity),
    "unique_count": (unique_count.reduced, unique_count.quantity),
    "high_water_mark": (high_water_mark.reduced, high_water_mark.quantity),
    "sum": (total.reduced, total.quantity),
}


def reduced(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    """Readings of the same quantity for each value of `by`, and of whatever these are gathered to; as few as can be."""
    return _RULES[meter.aggregation][0](rows, meter, by)


def measured(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    """One row for each value of `by`: its `quantity`, before any conversion, and the `events` behind it.

    Only what is carried over can be behind a row without events; a quantity of zero of no event has no row.
    """
    made = _RULES[meter.aggregation][1](rows, meter, by)
    return made.filter((pl.col("events") > 0) | (pl.col("quantity") != 0)).select(*by, "quantity", "events")
