"""Usage of the meters that sum and count, aggregated before anyone asks who pays: one pass over the events for all
meters that read the same ones.

Most subscriptions of a run have one billing period in common and are served for all of it. Their usage is summed by
subject, an integer, and only the sums meet the subscription that pays for them. Usage of the others, those that begin
or end within the period or live in another time zone, meets its subscription event by event. What either comes to is
the same; the first takes a third of the time (docs/decisions/0006-aggregate-first.md).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from rating.core.book import Meter, PriceBook
from rating.core.buckets import Boundaries, boundaries, with_buckets
from rating.core.coverage import Coverage, with_day
from rating.core.matching import Matched, level_of, match_meter
from rating.core.metering import rolled_up, summed_by_number, totals_of
from rating.core.schema import INSTANT, PAYER, SUBJECT_NUMBER, property_column
from rating.core.service_periods import with_payers


@dataclass(frozen=True)
class _Pass:
    """Meters that read the same events, and what their usage is told apart by besides who pays: their dimensions, the
    buckets of `edges` and, where a price looks at days, the day."""

    meters: tuple[Meter, ...]
    edges: Boundaries
    has_days: bool

    @property
    def fine(self) -> list[str]:
        """The columns of buckets and days; a lone version tells nothing apart."""
        names = [name for name in self.edges.columns if name != "version_from" or len(self.edges.versions) > 1]
        return [*names, "day"] if self.has_days else names

    @property
    def keys(self) -> list[str]:
        return [*sorted({property_column(name) for meter in self.meters for name in meter.group_by}), *self.fine]


def match_sums(
    usage: Coverage, meters: Iterable[Meter], book: PriceBook, bounds: tuple[datetime, datetime]
) -> list[Matched]:
    """What each of `meters` (of sums and counts that need no event alone) has metered, matched with its prices."""
    return [matched for one in _passes(meters, book, bounds) for matched in _match(usage, one, book)]


def _passes(meters: Iterable[Meter], book: PriceBook, bounds: tuple[datetime, datetime]) -> list[_Pass]:
    found: dict[object, list[_Pass]] = {}
    for meter in meters:
        one = _Pass((meter,), boundaries(book, {meter.key}, *bounds), level_of(meter, book) == "day")
        read = (meter.event_type, meter.filters, meter.exclude, meter.prefixes)
        found.setdefault((*read, one.edges.key, one.has_days), []).append(one)
    return [
        _Pass(tuple(meter for one in alike for meter in one.meters), alike[0].edges, alike[0].has_days)
        for alike in found.values()
    ]


def _match(usage: Coverage, one: _Pass, book: PriceBook) -> list[Matched]:
    summed, owners = _summed(usage, one), with_payers(usage.served).lazy()
    only_version = {} if "version_from" in one.fine else {"version_from": pl.lit(one.edges.versions[0], dtype=INSTANT)}
    matches = []
    for meter in one.meters:
        by = [PAYER, *map(property_column, meter.group_by), *one.fine]
        totals = totals_of(rolled_up(summed, one.meters, by), meter, by)
        owned = totals.join(owners, on=PAYER, validate="m:1").with_columns(**only_version)
        matches.append(match_meter(owned, meter, book, one.edges, usage.served))
    return matches


def _summed(usage: Coverage, one: _Pass) -> pl.LazyFrame:
    """The sums that the meters need, by PAYER and `keys`: several rows where a customer has several subjects."""
    said = ("summed", one.meters, one.edges.key, one.has_days)
    return usage.usage.once(lambda: (*said, usage.key()), lambda: _collected(usage, one)).lazy()


def _collected(usage: Coverage, one: _Pass) -> pl.DataFrame:
    parts = [*_summed_by_subject(usage, one), *_summed_by_payer(usage, one)]
    # collected here: left lazy, the events would be read and summed again for every meter (measured)
    return pl.concat(parts, how="diagonal").collect(engine=usage.usage.engine(one.meters))


def _summed_by_subject(usage: Coverage, one: _Pass) -> list[pl.LazyFrame]:
    """Of the payers who are served for the common period."""
    if usage.common is None:
        return []
    common = usage.common
    events = with_buckets(usage.in_common(common), one.edges)
    if one.has_days:
        events = events.with_columns(day=pl.col("time").dt.convert_time_zone(common.time_zone).dt.date())
    summed = summed_by_number(events, one.meters, SUBJECT_NUMBER, one.keys)
    return [summed.join(common.payers.lazy(), on=SUBJECT_NUMBER).drop(SUBJECT_NUMBER)]


def _summed_by_payer(usage: Coverage, one: _Pass) -> list[pl.LazyFrame]:
    """Of all others."""
    if usage.others.is_empty() and usage.common:
        return []
    events = with_buckets(usage.paid_by_others(), one.edges)
    if one.has_days:
        events = with_day(events, usage.served)
    return [summed_by_number(events, one.meters, PAYER, one.keys)]
