"""Usage of the meters that count more than they sum: their readings by who pays, matched with prices like sums are.

What adds up (metering/changing.py) is cut at every edge that some price of the meter has, and then goes the way of
sums. What does not add up stays readings until the prices are known, and is then one quantity of all usage of a line.
Its price version is the one in force at the end of the subscription's part of the period.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from rating.core.book import Meter, PriceBook
from rating.core.buckets import Boundaries, boundaries, instants, with_buckets
from rating.core.coverage import usage_before, with_day
from rating.core.matching import Matched, level_of, match_meter
from rating.core.metering import adds_up, carried_of, changes, is_sum, readings, reduced, series_columns, settled
from rating.core.money import grouped_sum
from rating.core.schema import INSTANT, PAYER, SUBJECT_NUMBER, property_column
from rating.core.service_periods import with_payers


@dataclass(frozen=True)
class Source:
    """Where readings come from: `paid` is `subscribed_usage`, `events` all there are up to the end of the periods, and
    `carried` CARRIED of those before them. `subjects` is SUBJECT with numbers, `served` SERVICE_PERIOD."""

    paid: pl.LazyFrame
    events: pl.LazyFrame
    carried: pl.LazyFrame
    subjects: pl.DataFrame
    served: pl.DataFrame


def match_readings(
    source: Source, meters: Iterable[Meter], book: PriceBook, bounds: tuple[datetime, datetime]
) -> list[Matched]:
    """What each of `meters` that is no sum has metered, matched with its prices. Those that no price names measure
    without charging."""
    named = {shape.meter for shape in book.shapes}
    charging = [meter for meter in meters if not is_sum(meter) and meter.key in named]
    return [_match(source, meter, book, bounds) for meter in charging]


def _match(source: Source, meter: Meter, book: PriceBook, bounds: tuple[datetime, datetime]) -> Matched:
    edges = boundaries(book, {meter.key}, *bounds)
    has_days = level_of(meter, book) == "day"
    rows = _readings(source, meter)
    metered = (_changed if adds_up(meter) else _reduced)(rows, source, meter, edges, bounds, has_days)
    # collected here: left lazy, the readings would be gathered again for every shape of the prices
    owned = metered.join(with_payers(source.served).lazy(), on=PAYER, validate="m:1").collect(engine="streaming").lazy()
    return match_meter(owned, meter, book, edges, source.served)


def _readings(source: Source, meter: Meter) -> pl.LazyFrame:
    """The readings of the period and, where the meter carries them over, those before it."""
    series = series_columns(meter)
    within = readings(source.paid, meter, [PAYER, *series])
    if not meter.carried:
        return within
    columns = [name for name in series if name != SUBJECT_NUMBER]
    numbered = readings(source.events, meter, [SUBJECT_NUMBER, *columns])
    known = carried_of(source.carried, meter, columns).select(numbered.collect_schema().names())
    earlier = pl.concat([known, numbered.with_columns(events=pl.lit(0, dtype=pl.Int64))])
    before = settled(usage_before(earlier, source.subjects, source.served), meter, [PAYER, *series])
    return pl.concat([within, before.select(within.collect_schema().names())])


def _changed(
    rows: pl.LazyFrame,
    source: Source,
    meter: Meter,
    edges: Boundaries,
    bounds: tuple[datetime, datetime],
    has_days: bool,
) -> pl.LazyFrame:
    """One row for each payer, dimensions and bucket: its `quantity` and `events`."""
    zones = source.served["time_zone"].unique().sort().to_list() if has_days else []
    cuts = pl.LazyFrame({"time": instants(edges, zones, *bounds)}, schema={"time": INSTANT})
    spans = with_payers(source.served).lazy().select(PAYER, "from", "to")
    spanned = rows.join(spans, on=PAYER, validate="m:1")
    pieces = with_buckets(changes(spanned, meter, [PAYER, *series_columns(meter)], cuts), edges)
    by = [PAYER, *_dimensions(meter), *edges.columns]
    if has_days:
        pieces, by = with_day(pieces, source.served), [*by, "day"]
    return grouped_sum(pieces, by, ["quantity"], pl.col("events").sum()).filter(
        (pl.col("events") > 0) | (pl.col("quantity") != 0)
    )


def _reduced(
    rows: pl.LazyFrame,
    source: Source,
    meter: Meter,
    edges: Boundaries,
    bounds: tuple[datetime, datetime],
    has_days: bool,
) -> pl.LazyFrame:
    """Readings, as few as can be, with the price version at the end of each payer's part of the period."""
    bucketed = with_buckets(rows, edges).drop("version_from")
    by = [PAYER, *_dimensions(meter), *(name for name in edges.columns if name != "version_from")]
    if has_days:
        bucketed, by = with_day(bucketed, source.served), [*by, "day"]
    return reduced(bucketed, meter, by).join(_last_version(source, edges), on=PAYER, validate="m:1")


def _last_version(source: Source, edges: Boundaries) -> pl.LazyFrame:
    last = with_payers(source.served).lazy().select(PAYER, time=pl.col("to") - timedelta(microseconds=1))
    return with_buckets(last, Boundaries(edges.versions, (), ())).select(PAYER, "version_from")


def _dimensions(meter: Meter) -> Sequence[str]:
    return [property_column(name) for name in meter.group_by]
