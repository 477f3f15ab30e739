"""Bands: parts of the time with a rate of their own, by the clock and by the calendar of a zone.

A band holds at an instant when the local clock shows a time in [from, to) and the local date satisfies its calendar.
One that begins after it ends lasts over midnight, and goes by the date on which it began: Friday 22:00 to 06:00 is
the night to Saturday. Where several bands of a version hold, the one with the highest priority does; where none does,
the version's own rate.

Usage is summed before it is priced, so nothing here is asked of each event. The dates of a run are put into classes
that no band of a zone tells apart (`day_classes`); with the edges of the clocks that makes a handful of buckets, and
which rate is in force in each is worked out once (`rates_in_force`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl


@dataclass(frozen=True)
class Calendar:
    """Which dates: those that satisfy every condition that is not empty. Weekdays are 1 (Monday) to 7."""

    weekdays: tuple[int, ...] = ()
    months: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    years: tuple[int, ...] = ()
    dates: tuple[date, ...] = ()

    def holds(self, day: date) -> bool:
        """Whether the date satisfies it."""
        asked = (
            (self.weekdays, day.isoweekday()),
            (self.months, day.month),
            (self.month_days, day.day),
            (self.years, day.year),
            (self.dates, day),
        )
        return all(not allowed or value in allowed for allowed, value in asked)


@dataclass(frozen=True)
class DayClasses:
    """The classes of dates of one zone: `dates` and the class of each, from 0; for each class and calendar of a band,
    whether it holds on the date (`today`) and on the one before (`yesterday`)."""

    zone: str
    dates: tuple[date, ...]
    classes: tuple[int, ...]
    holding: pl.DataFrame  # calendar, day_class, today, yesterday

    @property
    def tells_apart(self) -> bool:
        """Whether there is more than one class."""
        return len(set(self.classes)) > 1


def day_classes(
    zone: str, calendars: Sequence[Calendar], used: Iterable[int], start: datetime, end: datetime
) -> DayClasses:
    """The classes of the dates that the zone's calendar shows on [`start`, `end`]; `used` are places in `calendars`."""
    first, last = start.astimezone(ZoneInfo(zone)).date(), end.astimezone(ZoneInfo(zone)).date()
    dates = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    asked = sorted(set(used))
    found: dict[tuple[tuple[bool, bool], ...], int] = {}
    classes = []
    for day in dates:
        seen = tuple((calendars[c].holds(day), calendars[c].holds(day - timedelta(days=1))) for c in asked)
        classes.append(found.setdefault(seen, len(found)))
    rows = [(c, k, *held) for seen, k in found.items() for c, held in zip(asked, seen, strict=True)]
    schema = {"calendar": pl.Int32, "day_class": pl.Int32, "today": pl.Boolean, "yesterday": pl.Boolean}
    return DayClasses(zone, tuple(dates), tuple(classes), pl.DataFrame(rows, schema=schema, orient="row"))


def rates_in_force(
    bands: pl.DataFrame, clocks: Sequence[tuple[str, Sequence[int]]], days: Sequence[DayClasses]
) -> pl.DataFrame:
    """Which band's rate holds: one row for each rate outside the bands (`base`), `zone`, `clock_from` and `day_class`
    in which one does, with that `rate_in_force`. `bands` is BAND; `clocks` are the lower edges of buckets, by zone."""
    parts = [_in_zone(bands, zone, edges, next(d for d in days if d.zone == zone)) for zone, edges in clocks]
    schema = {"base": pl.Int32, "zone": pl.String, "clock_from": pl.Int64, "day_class": pl.Int32}
    return pl.concat([pl.LazyFrame(schema={**schema, "rate_in_force": pl.Int32}), *parts]).collect()


def _in_zone(bands: pl.DataFrame, zone: str, edges: Sequence[int], days: DayClasses) -> pl.LazyFrame:
    clocks = pl.LazyFrame({"clock_from": edges}, schema={"clock_from": pl.Int64})
    bucketed = bands.lazy().filter(zone=zone).join(clocks, how="cross").join(days.holding.lazy(), on="calendar")
    begun, not_over = pl.col("clock_from") >= pl.col("from"), pl.col("clock_from") < pl.col("to")
    within = pl.col("today") & begun & not_over
    over_midnight = (pl.col("today") & begun) | (pl.col("yesterday") & not_over)
    holds = pl.when(pl.col("from") < pl.col("to")).then(within).otherwise(over_midnight)
    best = bucketed.filter(holds).sort("priority").unique(["base", "clock_from", "day_class"], keep="last")
    return best.select("base", "zone", "clock_from", "day_class", rate_in_force="rate")
