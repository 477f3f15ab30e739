"""What counts on from before the period: the last level of a gauge, the last reading of a counter, what sums have come
to, the values that are there. As few readings as say that, so that a run need not read all usage since ever: a caller
may keep them from one period to the next, because carried readings and the usage behind them carry on to the same.
"""

from collections.abc import Iterable, Sequence

import polars as pl

from rating.core.book import Aggregation, Meter
from rating.core.metering.aggregations import latest, unique_count
from rating.core.metering.reading import readings, series_columns
from rating.core.schema import QUANTITY, SUBJECT_NUMBER, SUBJECT_NUMBERS, USAGE_EVENT

CARRIED = pl.Schema(
    {
        "meter": pl.String(),
        SUBJECT_NUMBER: SUBJECT_NUMBERS[SUBJECT_NUMBER],
        "time": USAGE_EVENT["time"],
        "sequence": USAGE_EVENT["sequence"],
        "value": QUANTITY,
        "item": pl.String(),
    }
)
"""One row is what a meter carries over of one subject and series, as the reading that it last was. The property columns
that tell series apart follow."""

_NO_ITEM = pl.lit(None, dtype=pl.String)
_SUMS: tuple[Aggregation, ...] = ("sum", "weighted_sum", "high_water_mark")


def carries(meters: Iterable[Meter]) -> bool:
    """Whether any of them needs usage from before the period."""
    return any(meter.carried for meter in meters)


def carried_readings(events: pl.LazyFrame, meters: Iterable[Meter]) -> pl.LazyFrame:
    """CARRIED of the meters that carry usage over, out of all `events` before a period (`numbered_usage_schema`)."""
    made = [_carried(events, meter) for meter in meters if meter.carried]
    return pl.concat([pl.LazyFrame(schema=CARRIED), *made], how="diagonal")


def carried_of(carried: pl.LazyFrame, meter: Meter, columns: Sequence[str]) -> pl.LazyFrame:
    """The readings that `meter` carries over, with SUBJECT_NUMBER and `columns`; they count no events."""
    known = carried.collect_schema()
    mine = carried.filter(pl.col("meter") == meter.key)
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name in columns if name not in known]
    readings_of = mine.with_columns(absent, events=pl.lit(0, dtype=pl.Int64))
    return readings_of.select(SUBJECT_NUMBER, *columns, "time", "sequence", "value", "item", "events")


def settled(rows: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    """Readings from before a period as the fewest that carry on to the same, for each value of `by`."""
    if meter.aggregation in _SUMS:
        last = [pl.col(name).max() for name in ("time", "sequence")]
        return rows.group_by(by).agg(pl.col("value").sum(), *last, pl.col("events").sum()).with_columns(item=_NO_ITEM)
    if meter.item is not None:
        return unique_count.reduced(rows, meter, by)
    return latest.reduced(rows, meter, by).with_columns(item=_NO_ITEM)


def _carried(events: pl.LazyFrame, meter: Meter) -> pl.LazyFrame:
    series = [name for name in series_columns(meter) if name != SUBJECT_NUMBER]
    by = [SUBJECT_NUMBER, *series]
    fewer = settled(readings(events, meter, by), meter, by)
    return fewer.select(pl.lit(meter.key).alias("meter"), *list(CARRIED)[1:], *series)
