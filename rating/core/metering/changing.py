"""Meters of readings that hold until the next one, or that only count by how much they rose.

    time_weighted   a reading is a level, and holds until the next one:        level x time
    weighted_sum    a reading is a change of the level, which starts at zero:  level x time
    rate_of_change  a reading is what a counter shows: how much it rose since the reading before. One that is lower than
                    the one before means that the counter began again at zero, and has risen to where it is.

Each gauge or counter is a series of its own: the meter's dimensions and `series_by` tell them apart, and what they come
to is added up. The first reading of a counter that was never read before only says where it stands.

A level x time is in units x microseconds, cut at the edges of price versions, times of the day and days; a rise belongs
to the instant of its reading. So both add up, and each piece pays the price in force there.

Worked: 10 GB from the 1st 00:00, 4 GB from the 2nd 00:00 to the 2nd 12:00: 10 x 24 h + 4 x 12 h = 288 GB-hours.
A counter shows 100, 130, 20, 50: it rose by 30, 20 and 30, together 80.
"""

from collections.abc import Sequence

import polars as pl

from rating.core.book import Meter
from rating.core.metering.reading import NONE, sequenced
from rating.core.schema import QUANTITY

_LEVELS = ("time_weighted", "weighted_sum")


def is_change(meter: Meter) -> bool:
    """Whether this module meters it."""
    return meter.aggregation in (*_LEVELS, "rate_of_change")


def changes(rows: pl.LazyFrame, meter: Meter, series: Sequence[str], edges: pl.LazyFrame) -> pl.LazyFrame:
    """One row a piece of time or reading: the columns `series`, its `time`, its `quantity` and `events`.

    `rows` are readings, with the part of the period [`from`, `to`) that they are metered for; those before it have no
    `events`. `edges` has one column `time`: the instants that pieces end at.
    """
    if meter.aggregation == "rate_of_change":
        return _risen(sequenced(rows, series), series)
    return _held(rows, meter, series, edges)


def _risen(ordered: pl.LazyFrame, series: Sequence[str]) -> pl.LazyFrame:
    before = pl.col("value").shift(1).over(series)
    rise = pl.when(before.is_null()).then(NONE).when(pl.col("value") < before).then("value").otherwise(
        pl.col("value") - before
    )  # fmt: skip
    risen = ordered.with_columns(quantity=rise).filter(pl.col("events") > 0)
    return risen.select(*series, "time", "quantity", "events")


def _held(rows: pl.LazyFrame, meter: Meter, series: Sequence[str], edges: pl.LazyFrame) -> pl.LazyFrame:
    level = pl.col("value").cum_sum().over(series) if meter.aggregation == "weighted_sum" else pl.col("value")
    ordered = sequenced(rows, series).with_columns(level=level, time=pl.max_horizontal("time", "from"))
    numbered = ordered.with_row_index("place").select(*series, "from", "to", "time", "place", "level", "events")
    pieces = pl.concat([numbered, _cuts(numbered, series, edges)], how="diagonal_relaxed")
    filled = pieces.sort(*series, "time", "place", nulls_last=False).with_columns(
        pl.col("level").forward_fill().over(series),
        until=pl.col("time").shift(-1).over(series).fill_null(pl.col("to")),
    )
    microseconds = (pl.col("until") - pl.col("time")).dt.total_microseconds().cast(QUANTITY)
    held = filled.filter(pl.col("level").is_not_null()).with_columns(quantity=pl.col("level") * microseconds)
    return held.select(*series, "time", "quantity", pl.col("events").fill_null(0))


def _cuts(rows: pl.LazyFrame, series: Sequence[str], edges: pl.LazyFrame) -> pl.LazyFrame:
    """One row for each series and edge within its part of the period."""
    spans = rows.select(*series, "from", "to").unique()
    within = (pl.col("time") > pl.col("from")) & (pl.col("time") < pl.col("to"))
    return spans.join(edges, how="cross").filter(within)
