"""Billing cycles: how the time of a subscription is cut into billing periods `[start, end)`, for many at once.

A cycle is an interval (n days, weeks, months or years; a quarter is three months), an anchor and a time zone. Period k
begins n x k intervals after the anchor, on the wall clock of the zone. Every start is counted from the anchor itself,
never from the period before, so a day that a month does not have is its last one and comes back in the next month that
has it: 31 January, 28 February, 31 March. Without an anchor periods begin at midnight of the calendar's own beginnings:
any day counted from 1970-01-01, Mondays, the first of months counted from January, so that three months are quarters.

Where the clock of a zone skips the wall time of a start, the period begins when the clock has jumped; where it shows it
twice, the first time. A day that a zone skipped has no period. So periods tile the time, with no gap and no overlap.
(PEP 495, fold 0: the same instants as `datetime` has.)

A subscription may change its cycle: the period that it is in ends at the change, and the first one of the other cycle
begins there, wherever that has its own beginnings. Both are parts of a whole period of their cycles, which says what is
prorated. From months to years counted from 1 January, on 11 March: 10 of 31 days, then 296 of 365.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import polars as pl

from rating.core.periods import Month, month_in_zones
from rating.core.schema import INSTANT

CYCLE = pl.Schema(
    {
        "subscription": pl.String(),
        "time_zone": pl.String(),
        "interval": pl.String(),  # day | week | month | year
        "intervals": pl.Int64(),  # how many of them make a period, from 1
        "anchor": INSTANT,  # where a period begins; null: on the calendar
    }
)
"""One row is the billing cycle of one subscription."""

BILLING_PERIOD = pl.Schema(
    {
        "subscription": pl.String(),
        "number": pl.Int64(),  # 0 begins at the anchor; below it for periods before
        "period_start": INSTANT,
        "period_end": INSTANT,
        "period": pl.String(),  # 2026-10 for a calendar month, else 2026-10-15/2026-11-15
    }
)
"""One row is one billing period of a subscription, whether or not the subscription is in force."""

CYCLE_SPAN = pl.Schema({**CYCLE, "cycle_from": INSTANT, "cycle_to": INSTANT})
"""One row is a billing cycle that a subscription has on [`cycle_from`, `cycle_to`); null is without an end there."""

CUT_PERIOD = pl.Schema({**BILLING_PERIOD, "whole_start": INSTANT, "whole_end": INSTANT})
"""One row is a billing period, cut short where another cycle begins or ends within the `whole` of it."""

TERMS_OF_CYCLE = ["time_zone", "interval", "intervals", "anchor"]
"""The columns of CYCLE that say when periods begin: cycles that are alike in them have the same periods."""

_TERMS = pl.Schema({name: CYCLE[name] for name in TERMS_OF_CYCLE})
_CALENDAR = {"day": date(1970, 1, 1), "week": date(1970, 1, 5), "month": date(1970, 1, 1), "year": date(1970, 1, 1)}
_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}
_NAIVE = pl.Datetime("us")
_FEW = 4


def billing_periods(cycles: pl.DataFrame, since: datetime, until: datetime) -> pl.DataFrame:
    """BILLING_PERIOD of each of `cycles` (CYCLE_SPAN) that has an instant on [`since`, `until`), in the order of both.

    Cycles that are alike are cut once.
    """
    alike = cycles.select(TERMS_OF_CYCLE).unique()
    cut = cut_periods(alike, since, until)
    found = with_cuts(cycles.join(cut, on=TERMS_OF_CYCLE, nulls_equal=True))
    overlaps = (pl.col("period_start") < until) & (pl.col("period_end") > since)
    return found.filter(overlaps).select(BILLING_PERIOD.names()).sort("subscription", "period_start")


def cut_periods(cycles: pl.DataFrame, since: datetime, until: datetime) -> pl.DataFrame:
    """The billing periods of different `cycles` (TERMS_OF_CYCLE), as BILLING_PERIOD has them, with these terms."""
    if cycles.height <= _FEW:
        return _few_cut(tuple(cycles.select(TERMS_OF_CYCLE).iter_rows()), since, until)
    return _cut(cycles.select(TERMS_OF_CYCLE), since, until)


def with_cuts(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` of CYCLE_SPAN and BILLING_PERIOD, each period as long as its cycle holds (CUT_PERIOD). One that another
    cycle cuts short is called by its first day and the next one's."""
    whole = rows.with_columns(whole_start="period_start", whole_end="period_end")
    has_bounds = rows["cycle_from"].null_count() < rows.height or rows["cycle_to"].null_count() < rows.height
    if not has_bounds:
        return whole
    cut = whole.with_columns(
        period_start=pl.max_horizontal("period_start", "cycle_from"),
        period_end=pl.min_horizontal("period_end", "cycle_to"),
    ).filter(pl.col("period_start") < pl.col("period_end"))
    is_whole = (pl.col("period_start") == pl.col("whole_start")) & (pl.col("period_end") == pl.col("whole_end"))
    shorter = cut.filter(~is_whole)
    by_zone = shorter.partition_by("time_zone", as_dict=True, maintain_order=True)
    renamed = [part.with_columns(period=_days_of(str(zone))) for (zone,), part in by_zone.items()]
    return pl.concat([cut.filter(is_whole), *renamed])


@lru_cache(maxsize=1024)
def _few_cut(cycles: tuple[tuple[Any, ...], ...], since: datetime, until: datetime) -> pl.DataFrame:
    """The same, kept: few customers are asked for often, and most have the same cycle."""
    return _cut(pl.DataFrame(cycles, schema=_TERMS, orient="row"), since, until)


def ended_periods(cycles: pl.DataFrame, month: Month) -> pl.DataFrame:
    """The same of the billing periods that end in `month` of their time zone."""
    if cycles.height <= _FEW:
        return _few_ended(tuple(cycles.iter_rows()), month)
    return _ended(cycles, month)


@lru_cache(maxsize=1024)
def _few_ended(cycles: tuple[tuple[Any, ...], ...], month: Month) -> pl.DataFrame:
    return _ended(pl.DataFrame(cycles, schema=_TERMS, orient="row"), month)


def _ended(cycles: pl.DataFrame, month: Month) -> pl.DataFrame:
    months = month_in_zones(month, cycles["time_zone"]).rename({"period_start": "first", "period_end": "last"})
    if months.is_empty():
        return _cut(cycles, *month.bounds(UTC))
    first, last = months.select(pl.col("first").min(), pl.col("last").max()).row(0)
    periods = _cut(cycles, first, last).join(months, on="time_zone", validate="m:1")
    ended = (pl.col("period_end") > pl.col("first")) & (pl.col("period_end") <= pl.col("last"))
    return periods.filter(ended).drop("first", "last")


def _cut(cycles: pl.DataFrame, since: datetime, until: datetime) -> pl.DataFrame:
    numbered = cycles.with_row_index("cycle")
    parts = [
        _in_zone(zone, part, since, until) for (zone,), part in numbered.partition_by("time_zone", as_dict=True).items()
    ]
    cut = pl.concat([_cut_schema().to_frame(), *parts])
    return numbered.join(cut, on="cycle").drop("cycle")


def _cut_schema() -> pl.Schema:
    return pl.Schema(
        {"cycle": pl.UInt32(), **{name: BILLING_PERIOD[name] for name in BILLING_PERIOD if name != "subscription"}}
    )


def _in_zone(zone: object, cycles: pl.DataFrame, since: datetime, until: datetime) -> pl.DataFrame:
    """The periods of cycles in one time zone."""
    name = str(zone)
    calendar = pl.col("interval").replace_strict(_CALENDAR, return_dtype=pl.Date).cast(_NAIVE)
    anchored = cycles.with_columns(wall=pl.coalesce(_wall(pl.col("anchor"), name), calendar))
    first, last = (_wall(pl.lit(instant, dtype=INSTANT), name) for instant in (since, until))
    # one more on each side: a guess by whole months or days is off by less than a period
    numbered = anchored.with_columns(number=pl.int_ranges(_passed(first) - 1, _passed(last) + 3)).explode("number")
    starts = numbered.with_columns(period_start=_instant(_later(), name)).sort("cycle", "number")
    ended = starts.with_columns(period_end=pl.col("period_start").shift(-1).over("cycle", order_by="number"))
    overlaps = (pl.col("period_start") < until) & (pl.col("period_end") > since)
    periods = ended.filter(overlaps, pl.col("period_start") < pl.col("period_end")).with_columns(period=_called(name))
    return periods.select(_cut_schema().names()).cast(_cut_schema())


def _called(zone: str) -> pl.Expr:
    first = _wall(pl.col("period_start"), zone).dt
    is_month = (pl.col("interval") == "month") & (pl.col("intervals") == 1) & pl.col("anchor").is_null()
    return pl.when(is_month).then(first.strftime("%Y-%m")).otherwise(_days_of(zone))


def _days_of(zone: str) -> pl.Expr:
    first, following = (_wall(pl.col(name), zone).dt for name in ("period_start", "period_end"))
    return pl.concat_str(first.strftime("%Y-%m-%d"), pl.lit("/"), following.strftime("%Y-%m-%d"))


def _passed(wall: pl.Expr) -> pl.Expr:
    """How many periods, about, lie between the anchor and a time on the wall."""
    months = (wall.dt.year() - pl.col("wall").dt.year()) * 12 + wall.dt.month() - pl.col("wall").dt.month()
    days = (wall - pl.col("wall")).dt.total_days()
    by_months = months // (pl.col("interval").replace_strict(_MONTHS, default=1) * pl.col("intervals"))
    by_days = days // (pl.col("interval").replace_strict(_DAYS, default=1) * pl.col("intervals"))
    return pl.when(pl.col("interval").is_in(list(_MONTHS))).then(by_months).otherwise(by_days).cast(pl.Int64)


def _later() -> pl.Expr:
    """The wall time at which period `number` begins."""
    passed = pl.col("number") * pl.col("intervals")
    in_months = pl.format("{}mo", passed * pl.col("interval").replace_strict(_MONTHS, default=1))
    in_days = pl.format("{}d", passed * pl.col("interval").replace_strict(_DAYS, default=1))
    offset = pl.when(pl.col("interval").is_in(list(_MONTHS))).then(in_months).otherwise(in_days)
    return pl.col("wall").dt.offset_by(offset)


def _wall(instant: pl.Expr, zone: str) -> pl.Expr:
    """What the clock of the zone shows."""
    return instant.dt.convert_time_zone(zone).dt.replace_time_zone(None)


def _instant(wall: pl.Expr, zone: str) -> pl.Expr:
    """When the clock of the zone shows it, first; where it never does, a day after it showed that a day before."""
    day = timedelta(days=1)
    shown = _first_shown(wall, zone)
    return pl.coalesce(shown, _first_shown(wall - day, zone) + day)


def _first_shown(wall: pl.Expr, zone: str) -> pl.Expr:
    zoned = wall.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return zoned.dt.convert_time_zone("UTC")
