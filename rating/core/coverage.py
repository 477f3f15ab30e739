"""Who pays for an event: subject -> customer -> the subscription in force at the event's time."""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from rating.core.periods import Month
from rating.core.schema import PAYER, SUBJECT_NUMBER
from rating.core.service_periods import Due, reported_bounds, usage_payers, with_payers
from rating.core.subjects import Usage, frame_key, with_names

PERIOD_LENGTH = "period_length"
"""Microseconds of a billing period."""


def scan_bounds(served: pl.DataFrame, due: Month | Due) -> tuple[datetime, datetime]:
    """The instants that hold every event that is charged to one of `served` (SERVICE_PERIOD) or reported: [first,
    last)."""
    start, end = reported_bounds(due)
    using = usage_payers(served)
    if using.is_empty():
        return start, end
    first, last = using.select(pl.col("period_start").min(), pl.col("period_end").max()).row(0)
    return min(start, first), max(end, last)


_PAYING = [SUBJECT_NUMBER, PAYER, "from", "to"]


@dataclass(frozen=True)
class CommonPeriod:
    """What most payers are served for, [`start`, `end`), in the time zone of all of them: SUBJECT_NUMBER and PAYER."""

    start: datetime
    end: datetime
    time_zone: str
    payers: pl.DataFrame


@dataclass(frozen=True)
class Coverage:
    """Usage within `scan_bounds` and who pays for it; `served` is SERVICE_PERIOD. `others` are the payers beside
    those of the `common` period, null where nobody is served: SUBJECT_NUMBER, PAYER, `from`, `to`."""

    usage: Usage
    served: pl.DataFrame
    common: CommonPeriod | None
    others: pl.DataFrame

    def key(self) -> Hashable:
        """What tells who pays for what time from other payers and times."""
        if self.common is None:
            return frame_key(self.others)
        common = self.common
        return frame_key(self.others), common.start, common.end, common.time_zone, frame_key(common.payers)

    def in_common(self, common: CommonPeriod) -> pl.LazyFrame:
        """The events of the common period, whoever pays for them."""
        return self.usage.between(common.start, common.end).events

    def paid_by_others(self) -> pl.LazyFrame:
        """Each event once for each of the other subscriptions that pays for it, with PAYER."""
        return _paid_by(self.usage.events, self.others)


def coverage(usage: Usage, subjects: pl.DataFrame, served: pl.DataFrame) -> Coverage:
    """`usage` within `scan_bounds`, `subjects` SUBJECT with numbers, `served` SERVICE_PERIOD."""
    payers = subjects.join(usage_payers(served), on="customer")
    kinds = payers.group_by("from", "to", "time_zone").len().sort("len", "from", "to", "time_zone", descending=True)
    if kinds.is_empty():
        return Coverage(usage, served, None, payers.select(_PAYING))
    start, end, zone, _ = kinds.row(0)
    is_common = (pl.col("from") == start) & (pl.col("to") == end) & (pl.col("time_zone") == zone)
    common = CommonPeriod(start, end, zone, payers.filter(is_common).select(SUBJECT_NUMBER, PAYER))
    return Coverage(usage, served, common, payers.filter(~is_common).select(_PAYING))


def subscribed_usage(events: pl.LazyFrame, subjects: pl.DataFrame, served: pl.DataFrame) -> pl.LazyFrame:
    """Each event once for each subscription that pays for it, with PAYER.

    `subjects` is SUBJECT with numbers, `served` SERVICE_PERIOD. Drops events that no subscription covers: see
    `unsubscribed_usage`.
    """
    return _paid_by(events, subjects.join(usage_payers(served), on="customer").select(_PAYING))


def _paid_by(events: pl.LazyFrame, payers: pl.DataFrame) -> pl.LazyFrame:
    covered = events.join(payers.lazy(), on=SUBJECT_NUMBER)
    return covered.filter(pl.col("time") >= pl.col("from"), pl.col("time") < pl.col("to")).drop("from", "to")


def usage_before(rows: pl.LazyFrame, subjects: pl.DataFrame, served: pl.DataFrame) -> pl.LazyFrame:
    """Each row with a SUBJECT_NUMBER and a `time` once for each subscription whose part of the period begins after it,
    with PAYER: usage from before, as `subscribed_usage` is that within."""
    payers = usage_payers(served).select(PAYER, "customer", "from")
    paid_by = subjects.join(payers, on="customer").select(SUBJECT_NUMBER, PAYER, "from")
    owned = rows.join(paid_by.lazy(), on=SUBJECT_NUMBER)
    return owned.filter(pl.col("time") < pl.col("from")).drop("from")


def period_lengths(served: pl.DataFrame) -> pl.DataFrame:
    """The PERIOD_LENGTH of each PAYER: of its whole billing period, also where it is served for a part."""
    length = (pl.col("whole_end") - pl.col("whole_start")).dt.total_microseconds()
    return with_payers(served).select(PAYER, length.alias(PERIOD_LENGTH))


def with_day(usage: pl.LazyFrame, served: pl.DataFrame) -> pl.LazyFrame:
    """Usage with PAYER, and the `day` that it is on the calendar of the customer's time zone."""
    zones = with_payers(served).select(PAYER, "time_zone")
    days = [
        pl.when(pl.col("time_zone") == zone).then(pl.col("time").dt.convert_time_zone(zone).dt.date())
        for zone in zones["time_zone"].unique().sort()
    ]
    day = pl.coalesce(days) if days else pl.lit(None, dtype=pl.Date)
    return usage.join(zones.lazy(), on=PAYER, validate="m:1").with_columns(day=day).drop("time_zone")


def unsubscribed_usage(
    usage: Usage, subjects: pl.DataFrame, subscriptions: pl.DataFrame, due: Month | Due
) -> pl.LazyFrame:
    """Events of the reported time that no subscription covers: one row a `subject`, with the number of `events`, the
    `first` and `last` instant, and its `customer` (null when the subject is unknown).

    `subjects` is SUBJECT with numbers.
    """
    start, end = reported_bounds(due)
    all_terms = subjects.join(subscriptions, on="customer").select(SUBJECT_NUMBER, "starts_at", "ends_at")
    covers_all = (pl.col("starts_at") <= start) & (pl.col("ends_at") >= end).fill_null(True)
    covered = pl.col(SUBJECT_NUMBER).is_in(all_terms.filter(covers_all)[SUBJECT_NUMBER].unique().implode())
    terms = all_terms.filter(~covered)
    in_month = usage.between(start, end).events.filter(~covered).select(SUBJECT_NUMBER, "time")
    has_one = pl.len().over(SUBJECT_NUMBER) == 1
    uncovered = _outside_one(in_month, terms.filter(has_one), terms.filter(~has_one))
    reported = uncovered.group_by(SUBJECT_NUMBER).agg(
        pl.len().cast(pl.Int64).alias("events"), first=pl.col("time").min(), last=pl.col("time").max()
    )
    owners = subjects.lazy().select(SUBJECT_NUMBER, "customer")
    owned = with_names(reported, usage.subjects).join(owners, on=SUBJECT_NUMBER, how="left", validate="m:1")
    return owned.select("subject", "events", "first", "last", "customer").sort("subject")


def _outside_one(events: pl.LazyFrame, lone: pl.DataFrame, several: pl.DataFrame) -> pl.LazyFrame:
    """The events outside every term of their subject. `lone` are the terms of subjects that have one, the usual case
    and one join; events of the others meet each of their terms."""
    in_force = (pl.col("time") >= pl.col("starts_at")) & (pl.col("time") < pl.col("ends_at")).fill_null(True)
    usual = events.join(several.lazy(), on=SUBJECT_NUMBER, how="anti") if several.height else events
    outside = usual.join(lone.lazy(), on=SUBJECT_NUMBER, how="left", validate="m:1").filter(~in_force.fill_null(False))
    if several.is_empty():
        return outside.select(SUBJECT_NUMBER, "time")
    # collected, so that both branches below see the same numbers
    numbered = events.join(several.lazy(), on=SUBJECT_NUMBER, how="semi").with_row_index("event").collect().lazy()
    covered = numbered.join(several.lazy(), on=SUBJECT_NUMBER).filter(in_force).select("event").unique()
    others = numbered.join(covered, on="event", how="anti")
    return pl.concat([outside.select(SUBJECT_NUMBER, "time"), others.select(SUBJECT_NUMBER, "time")])
