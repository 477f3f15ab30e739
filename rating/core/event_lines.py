"""Which charge line each usage event is on: the same matching as a rating run's, for keys of events instead of sums.

What decides about the line of an event are few values: who pays, its dimensions, and the buckets of its time and size
(buckets.py). So each different combination of them is matched once, and events find their line by a join.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from rating.core.bands_split import lasts, longest, split
from rating.core.book import Chain, Meter, PriceBook
from rating.core.buckets import Boundaries, boundaries, instants, with_buckets
from rating.core.coverage import with_day
from rating.core.keys import looked_up, numbered_keys
from rating.core.matching import carried_properties, level_of, match_meter
from rating.core.metering import families, metered_events
from rating.core.metering.reading import counts, read, value_of
from rating.core.operators.weight import BEGINS
from rating.core.schema import INSTANT, PAYER, QUANTITY, property_column
from rating.core.service_periods import usage_payers, with_payers

LINE_NUMBER = "line_number"
"""The place of a charge line in the frame of lines, from 0."""


EVENTS_TOGETHER = 1_000_000
"""About so many events are looked at together, by who pays for them: the lines of more fit no cache (measured)."""

STRETCH = ["subscription", "item", "service_start"]
"""What tells the payer of a line of usage from others."""

_TOLD_APART = ["price", "price_version", "window", "group"]


@dataclass(frozen=True)
class EventsOfLines:
    """The events of one meter. One row is one event on one line: LINE_NUMBER, `event` (its sequence), `time`,
    `quantity` before any conversion, and where the chains of the meter need them `day`, `events`, `size_from`, and the
    properties that they read. An event that lasts is a row for each part that it is cut into. `rates` has the `rate` of
    each LINE_NUMBER."""

    meter: Meter
    rows: pl.DataFrame
    rates: pl.DataFrame


@dataclass(frozen=True)
class RunMade:
    """What a rating run has made of its arguments; of its `lines` those of usage, with LINE_NUMBER and PAYER."""

    lines: pl.DataFrame
    served: pl.DataFrame
    book: PriceBook


def run_made(lines: pl.DataFrame, served: pl.DataFrame, book: PriceBook) -> RunMade:
    """`lines` are CHARGE_LINE of one run, `served` is SERVICE_PERIOD."""
    payers = usage_payers(served).select("subscription", "item", PAYER, service_start="from")
    numbered = lines.with_row_index(LINE_NUMBER).filter(pl.col("kind") == "usage")
    told_apart = numbered.select(pl.col(LINE_NUMBER).cast(pl.Int32), "meter", *STRETCH, *_TOLD_APART)
    return RunMade(told_apart.join(payers, on=STRETCH, validate="m:1"), served, book)


def events_of_lines(paid: pl.LazyFrame, run: RunMade, bounds: tuple[datetime, datetime]) -> Iterator[EventsOfLines]:
    """The events behind the lines of a run, for each meter that sums or counts, those of some payers at a time. `paid`
    is the run's `subscribed_usage` and `bounds` its `scan_bounds`."""
    book = run.book
    named = {shape.meter for shape in book.shapes}
    for family in families(book.meters):
        charging = [meter for meter in family if meter.key in named]
        if not charging:
            continue
        start, end = bounds[0], bounds[1] + longest(paid, charging[0])
        edges = boundaries(book, {meter.key for meter in charging}, start, end)
        keys = [PAYER, *map(property_column, charging[0].group_by), *edges.columns]
        bucketed = with_buckets(paid, edges)
        if lasts(charging[0]):
            cuts = instants(edges, (), start, end)
            for meter in charging:
                parts = metered_events(bucketed, meter).with_columns(events=pl.lit(1, dtype=pl.Int64))
                cut = with_buckets(split(parts, meter, cuts), edges).with_columns(_value(meter, pl.col("quantity")))
                yield from _events_of([meter], cut, keys, edges, run)
        else:
            values = [_value(meter, pl.when(counts(meter)).then(value_of(meter))) for meter in charging]
            each = read(bucketed, charging[0]).with_columns(*values, events=pl.lit(1, dtype=pl.Int64))
            yield from _events_of(charging, each, keys, edges, run)


def _value(meter: Meter, value: pl.Expr) -> pl.Expr:
    return value.alias(f"quantity:{meter.key}")


def _events_of(
    meters: Sequence[Meter], each: pl.LazyFrame, keys: list[str], edges: Boundaries, run: RunMade
) -> Iterator[EventsOfLines]:
    """The events of meters that read the same: the key of each is looked up once, whatever number of meters."""
    fine: list[str] = []
    if edges.sizes or any(level_of(meter, run.book) != "line" for meter in meters):
        present = each.collect_schema().names()
        fine = ["day", "events", *(name for name in (BEGINS, *carried_properties(run.book)) if name in present)]
        each = with_day(each, run.served)
    values = [f"quantity:{meter.key}" for meter in meters]
    columns = list(dict.fromkeys([*keys, "time", *fine, *values]))
    read_once = each.select(*columns, event="sequence").collect(engine="streaming")
    for part in _by_payers(read_once, run.served.height):
        different, key = numbered_keys(part, keys)
        for meter, value in zip(meters, values, strict=True):
            found = found_lines(different, meter, edges, run)
            lines = looked_up(key, found.select("key", LINE_NUMBER, *(["size_from"] if edges.sizes else [])))
            own = part.select("event", "time", *fine, quantity=value).with_columns(lines)
            rates = found.select(LINE_NUMBER, "rate").unique()
            yield EventsOfLines(meter, own.drop_nulls([LINE_NUMBER, "quantity"]), rates)


def _by_payers(rows: pl.DataFrame, payers: int) -> Iterator[pl.DataFrame]:
    """Rows in parts of about EVENTS_TOGETHER; all rows of a payer are in one of them."""
    count = rows.height // EVENTS_TOGETHER + 1
    for part in range(count):
        first, behind = payers * part // count, payers * (part + 1) // count
        yield rows if count == 1 else rows.filter(pl.col(PAYER) >= first, pl.col(PAYER) < behind)


def found_lines(keys: pl.DataFrame, meter: Meter, edges: Boundaries, run: RunMade) -> pl.DataFrame:
    """For each `key` that is on a line its LINE_NUMBER, `rate` and `size_from`."""
    each = keys.lazy().with_columns(
        event=pl.col("key").cast(pl.Int64),
        time=pl.lit(None, dtype=INSTANT),
        day=pl.lit(None, dtype=pl.Date),
        quantity=pl.lit(1, dtype=QUANTITY),
        events=pl.lit(1, dtype=pl.Int64),
    )
    owned = each.join(with_payers(run.served).lazy(), on=PAYER, validate="m:1")
    alone = replace(run.book, chains=tuple(Chain(tier_level="event") for _ in run.book.chains))
    priced = pl.concat(match_meter(owned, meter, alone, edges, run.served).priced)
    rates = run.book.rates.lazy().select("rate", "price", "window", price_version="version")
    rated = priced.join(rates, on=["rate", "price"], validate="m:1")
    asked = pl.col(PAYER).is_between(keys[PAYER].min(), keys[PAYER].max())
    known = run.lines.lazy().filter(pl.col("meter") == meter.key, asked).select(LINE_NUMBER, PAYER, *_TOLD_APART)
    matched = rated.join(known, on=[PAYER, *_TOLD_APART], nulls_equal=True, validate="m:1")
    return matched.select(LINE_NUMBER, "rate", "size_from", key=pl.col("event").cast(pl.UInt32)).collect()
