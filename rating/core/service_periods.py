"""Service periods: what of the time of a subscription one run bills.

A billing period belongs to the calendar month, in the customer's time zone, in which it ends: so each belongs to one.
Within it a subscription is billed in parts. A **stretch** is as long as the plan stays the same, with the same prices:
its usage is rated together, however often the number of seats changes meanwhile. Where that changes, the stretch has
a part for each number of seats besides, for the fees of a seat that are prorated.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from rating.core.cycles import CUT_PERIOD, TERMS_OF_CYCLE, cut_periods, ended_periods, with_cuts
from rating.core.periods import Month, month_in_zones, month_of
from rating.core.schema import INSTANT, PAYER, QUANTITY, SUBSCRIPTION

SERVICE_PERIOD = pl.Schema(
    {
        **SUBSCRIPTION,
        "seats_at_end": QUANTITY,  # `seats` are those at the beginning
        "part": pl.String(),  # whole | split: the number of seats changes in it | seats: a part of a split one
        "bills": pl.String(),  # all | advance: only what is owed in advance
        "period": pl.String(),  # what the billing period is called: 2026-10, or 2026-10-15/2026-11-15
        "period_start": INSTANT,  # of the billing period
        "period_end": INSTANT,
        "whole_start": INSTANT,  # of the whole that a change of the cycle cuts short: else the same
        "whole_end": INSTANT,
        "from": INSTANT,  # the part of the period in which the item is in force unchanged: [from, to)
        "to": INSTANT,
        "closes_at": INSTANT,  # when what is owed at its end falls due first: `period_end`, or before (FinalBill)
    }
)
"""One row is one stretch of an item in one billing period, or a part of one in which the number of seats is the same.
Items that are not in force during the period, or on trial, have no row."""

AGAIN = pl.Schema({"subscription": pl.String(), "period_start": INSTANT})
"""One row is one billing period of a subscription that was billed before and is rated again."""

OPEN_PERIOD = pl.Schema({**AGAIN, **{name: SERVICE_PERIOD[name] for name in ("period", "period_end", "time_zone")}})
"""One row is the billing period in which a subscription is at some instant."""

FinalBill = Literal["period_end", "at_end"]
"""When a billing period falls due in which the subscription ends: when the period is over, or as soon as the
subscription has ended, and once more when the period is over, with what came later."""

_ITEM = ["subscription", "item"]
_TICK = timedelta(microseconds=1)
_OF_PERIOD = [name for name in CUT_PERIOD if name not in ("subscription", "number")]


@dataclass(frozen=True)
class Due:
    """What becomes due on (`after`, `until`]: billing periods that end then, and in advance what begins then. What
    was due before is in `again` (AGAIN) where it is to be rated as it is known now; null: nothing is."""

    after: datetime
    until: datetime
    again: pl.DataFrame | None = None
    final_bill: FinalBill = "period_end"

    def __str__(self) -> str:
        return "/".join(at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in (self.after, self.until))


def service_periods(subscriptions: pl.DataFrame, due: Month | Due) -> pl.DataFrame:
    """SERVICE_PERIOD of `subscriptions` (SUBSCRIPTION): of the billing periods of a month, or of what is due."""
    active = subscriptions.filter(pl.col("state") == "active")
    if isinstance(due, Month):
        return _parted(_in_month(active, due).with_columns(bills=pl.lit("all"), closes_at="period_end"))
    within = _in_periods(active, *_bounds(active, due)).collect(engine="in-memory")
    periods = _closing(within, due.final_bill)
    if due.again is None:
        return _parted(_fallen_due(periods, due).lazy())
    others = periods.join(due.again, on=AGAIN.names(), how="anti")
    closed = pl.when(pl.col("closes_at") <= due.until).then(pl.lit("all")).otherwise(pl.lit("advance"))
    again = periods.join(due.again, on=AGAIN.names(), how="semi").filter(pl.col("from") <= due.until)
    return _parted(pl.concat([_fallen_due(others, due), again.with_columns(bills=closed)]).lazy())


def reported_bounds(due: Month | Due) -> tuple[datetime, datetime]:
    """The time whose usage is reported when nobody pays for it, [start, end): the month in UTC."""
    return due.bounds(UTC) if isinstance(due, Month) else (due.after, due.until)


def month_ended(due: Due, time_zones: Iterable[str]) -> tuple[Month | None, list[str]]:
    """The calendar month that ends on (`after`, `until`] in some of the time zones, and these zones; of several months
    the last."""
    ended: dict[Month, list[str]] = {}
    for zone in sorted(set(time_zones)):
        current = month_of(due.until, zone)
        if current.start(ZoneInfo(zone)) > due.after:
            ended.setdefault(current.before(), []).append(zone)
    last = max(ended, default=None)
    return (None, []) if last is None else (last, ended[last])


def billed_periods(subscriptions: pl.DataFrame, since: datetime, due: Due) -> pl.DataFrame:
    """The billing periods since an instant of which something was billed before, and that do not end with what is
    `due`: `customer` beside AGAIN, and `period_end`."""
    active = subscriptions.filter(pl.col("state") == "active")
    periods = _in_periods(active, since, due.after)
    billed = periods.filter(pl.col("from") <= due.after)
    others = billed.filter((pl.col("period_end") <= due.after) | (pl.col("period_end") > due.until))
    return others.select("customer", *AGAIN.names(), "period_end").unique().collect(engine="in-memory")


def periods_before(subscriptions: pl.DataFrame, served: pl.DataFrame) -> pl.DataFrame:
    """SERVICE_PERIOD of the billing period in front of each of `served`."""
    if served.is_empty():
        return served
    active = subscriptions.filter(pl.col("state") == "active").join(served, on="subscription", how="semi")
    first, last = served.select(first=pl.col("period_start").min(), last=pl.col("period_start").max()).row(0)
    periods = _in_periods(active, first - _TICK, last)
    next_ones = served.lazy().select("subscription", period_end="period_start").unique()
    before = periods.join(next_ones, on=["subscription", "period_end"], how="semi")
    return _parted(before.with_columns(bills=pl.lit("all"), closes_at="period_end"))


def open_periods(subscriptions: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """OPEN_PERIOD of `subscriptions` (SUBSCRIPTION): the billing periods that contain `at`, of those that have begun by
    then."""
    active = subscriptions.filter(pl.col("state") == "active")
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    periods = _in_periods(active, day, day + timedelta(days=1))  # of a day, for those are known when asked for again
    begun = periods.filter(pl.col("from") <= at, pl.col("period_end") > at).select(OPEN_PERIOD.names())
    return begun.unique().sort("subscription").cast(OPEN_PERIOD).collect(engine="in-memory")


def with_payers(served: pl.DataFrame) -> pl.DataFrame:
    """`served` (SERVICE_PERIOD) with PAYER."""
    return served.with_row_index(PAYER)


def usage_payers(served: pl.DataFrame) -> pl.DataFrame:
    """The same of those that usage is charged to, and everything else that is owed when a period is over."""
    return with_payers(served).filter(pl.col("bills") == "all", pl.col("part") != "seats")


def _bounds(active: pl.DataFrame, due: Due) -> tuple[datetime, datetime]:
    """The time in which billing periods matter: what is due, and what is rated again."""
    if due.again is None or due.again.is_empty():
        return due.after, due.until
    earliest = due.again["period_start"].min()
    assert isinstance(earliest, datetime)
    return min(earliest, due.after), due.until


def _in_periods(active: pl.DataFrame, since: datetime, until: datetime) -> pl.LazyFrame:
    """`active` (SUBSCRIPTION) in each billing period that has an instant on [`since`, `until`]."""
    terms = active.select(TERMS_OF_CYCLE).unique()
    return _cut(active, cut_periods(terms, since, until + _TICK))


def _in_month(active: pl.DataFrame, month: Month) -> pl.LazyFrame:
    terms = active.select(TERMS_OF_CYCLE).unique()
    if not _has_other_cycles(active):
        return _cut(active, ended_periods(terms, month))
    months = month_in_zones(month, terms["time_zone"]).rename({"period_start": "first", "period_end": "last"})
    first, last = months.select(pl.col("first").min(), pl.col("last").max()).row(0)
    cut = _cut(active, cut_periods(terms, first, last))  # another cycle may end some of them before
    ended = (pl.col("period_end") > pl.col("first")) & (pl.col("period_end") <= pl.col("last"))
    return cut.join(months.lazy(), on="time_zone", validate="m:1").filter(ended).drop("first", "last")


def _has_other_cycles(active: pl.DataFrame) -> bool:
    """Whether the cycle of some subscription is another one from some time on."""
    return any(active[name].null_count() < active.height for name in ("cycle_from", "cycle_to"))


def _cut(active: pl.DataFrame, periods: pl.DataFrame) -> pl.LazyFrame:
    """Each row of `active` once for each of `periods` of its cycle in which it is in force, with `from` and `to`."""
    met = active.lazy().join(periods.lazy(), on=TERMS_OF_CYCLE, nulls_equal=True)
    if _has_other_cycles(active):
        met = with_cuts(met.collect(engine="in-memory")).lazy()
    else:
        met = met.with_columns(whole_start="period_start", whole_end="period_end")
    timed = met.with_columns(
        pl.max_horizontal("period_start", "starts_at").alias("from"),
        pl.min_horizontal("period_end", "ends_at").alias("to"),  # a null `ends_at` is ignored
    )
    return timed.filter(pl.col("from") < pl.col("to")).select(*SUBSCRIPTION, *_OF_PERIOD, "from", "to")


def _closing(periods: pl.DataFrame, final_bill: FinalBill) -> pl.DataFrame:
    """`periods` with `closes_at`: where none of the subscription is charged for until the end of its period, because
    it has ended, that is when it did."""
    if final_bill == "period_end":
        return periods.with_columns(closes_at="period_end")
    ending = periods.filter(pl.col("ended_at") < pl.col("period_end")).select(AGAIN.names())
    within = periods.join(ending, on=AGAIN.names(), how="semi")
    last = within.group_by(AGAIN.names()).agg(closes_at=pl.col("ended_at").sort_by("to").last())
    closing = periods.join(last, on=AGAIN.names(), how="left", validate="m:1")
    return closing.with_columns(closes_at=pl.min_horizontal("closes_at", "period_end"))  # a null is ignored


def _fallen_due(periods: pl.DataFrame, due: Due) -> pl.DataFrame:
    is_over = pl.any_horizontal(
        (pl.col(end) > due.after) & (pl.col(end) <= due.until) for end in ("closes_at", "period_end")
    )
    begun = periods.filter(pl.col("from") <= due.until)
    begins = begun.filter(pl.col("from") > due.after, ~is_over).select(AGAIN.names()).unique()
    of_begun = begun.filter(~is_over).join(begins, on=AGAIN.names(), how="semi")  # with what a change has cut
    return pl.concat(
        [
            periods.filter(is_over).with_columns(bills=pl.lit("all")),
            of_begun.with_columns(bills=pl.lit("advance")),
        ]
    )


def _parted(rows: pl.LazyFrame) -> pl.DataFrame:
    """SERVICE_PERIOD of rows of items in periods: `bills` and what SUBSCRIPTION and the period have."""
    whole = rows.with_columns(seats_at_end="seats", part=pl.lit("whole")).collect(engine="in-memory")
    several = whole.select(pl.struct(*_ITEM, "period_start").is_duplicated()).to_series()
    if not several.any():
        return _ordered([whole])
    return _ordered([whole.filter(~several), *_stretches(whole.filter(several))])


def _ordered(parts: list[pl.DataFrame]) -> pl.DataFrame:
    order = [*_ITEM, "period_start", "from", "part"]
    every = pl.concat([part.lazy().select(SERVICE_PERIOD.names()) for part in parts])
    return every.sort(order).cast(SERVICE_PERIOD).collect(engine="in-memory")


def _stretches(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Rows of one plan that follow each other are one stretch, with the rows as its parts."""
    by = [*_ITEM, "period_start"]
    ordered = rows.sort(*by, "from")
    before = [pl.col(name).shift(1).over(by) for name in ("plan", "to")]
    begins = pl.col("plan").ne_missing(before[0]) | pl.col("from").ne_missing(before[1])
    numbered = ordered.with_columns(stretch=begins.cum_sum())
    last = {"to": pl.col("to").last(), "ends_at": pl.col("ends_at").last(), "seats_at_end": pl.col("seats").last()}
    once = [pl.col(name).first() for name in rows.columns if name not in last]
    gathered = numbered.group_by("stretch", maintain_order=True).agg(*once, **last, rows=pl.len())
    is_split = pl.col("rows") > 1
    kinds = pl.when(is_split).then(pl.lit("split")).otherwise(pl.lit("whole"))
    parts = numbered.join(gathered.filter(is_split), on="stretch", how="semi").with_columns(part=pl.lit("seats"))
    return [gathered.with_columns(part=kinds), parts]
