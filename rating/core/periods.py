"""Monthly billing periods: `[start, end)` between midnights of the customer's own time zone, as UTC instants.

Midnights come from `zoneinfo`, so days of 23 or 25 hours and a midnight that a zone skips fall where the zone's own
law puts them, and one period ends on the very instant at which the next begins.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import polars as pl

from rating.core.schema import INSTANT

_TWO_DAYS = timedelta(days=2)
"""No zone is farther from UTC."""

PERIOD = pl.Schema({"time_zone": pl.String(), "period_start": INSTANT, "period_end": INSTANT})
"""One row is one time zone's view of a period, [`period_start`, `period_end`)."""


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month, written `2026-10`."""

    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    def next(self) -> "Month":
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    def before(self) -> "Month":
        return Month(self.year, self.month - 1) if self.month > 1 else Month(self.year - 1, 12)

    def start(self, zone: tzinfo) -> datetime:
        """The instant of the month's first midnight in `zone`."""
        return datetime(self.year, self.month, 1, tzinfo=zone).astimezone(UTC)

    def bounds(self, zone: tzinfo) -> tuple[datetime, datetime]:
        """[start, end) of the month in `zone`."""
        return self.start(zone), self.next().start(zone)


def parse_month(text: str) -> Month:
    """`2026-10` -> the month. Raises ValueError, with the form it takes, for anything else (years 1900 to 9998)."""
    match = re.fullmatch(r"(\d{4})-(\d{2})", text)
    if match is None or not 1 <= int(match[2]) <= 12 or not 1900 <= int(match[1]) <= 9998:
        raise ValueError(f"{text!r} is not a month: write it like 2026-10")
    return Month(int(match[1]), int(match[2]))


def month_of(instant: datetime, time_zone: str) -> Month:
    """The month that `instant` falls in, on the calendar of `time_zone`."""
    local = instant.astimezone(ZoneInfo(time_zone))
    month = Month(local.year, local.month)
    return month if instant < month.next().start(ZoneInfo(time_zone)) else month.next()


def month_in_zones(month: Month, time_zones: Iterable[str]) -> pl.DataFrame:
    """PERIOD: one row for each distinct zone."""
    zones = sorted(set(time_zones))
    bounds = [month.bounds(ZoneInfo(zone)) for zone in zones]
    columns = {"time_zone": zones, "period_start": [b[0] for b in bounds], "period_end": [b[1] for b in bounds]}
    return pl.DataFrame(columns, schema=PERIOD)


@lru_cache(maxsize=1024)
def month_starts(time_zone: str, first: Month, last: Month) -> pl.Series:
    """The instants at which the months `first` to `last` start in `time_zone`, ascending."""
    zone, months, month = ZoneInfo(time_zone), [], first
    while month <= last:
        months.append(month.start(zone))
        month = month.next()
    return pl.Series("window_start", months, dtype=INSTANT)


def month_edges(time_zones: Iterable[str], earliest: datetime, latest: datetime) -> pl.Series:
    """The instants at which a month starts in any of the zones, ascending, from before `earliest` to behind `latest`.

    Between two of them no zone changes its month.
    """
    first, last = month_of(earliest - _TWO_DAYS, "UTC"), month_of(latest + _TWO_DAYS, "UTC")
    return _month_edges(frozenset(time_zones), first, last)


@lru_cache(maxsize=64)
def _month_edges(time_zones: frozenset[str], first: Month, last: Month) -> pl.Series:
    return pl.concat([month_starts(zone, first, last) for zone in {"UTC", *time_zones}]).unique().sort()


def with_window_start(frame: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    """Add `window_start`: the start of the month, in `time_zone`, that each row's `time` falls in."""
    if frame.is_empty():
        return frame.with_columns(window_start=pl.lit(None, dtype=INSTANT))
    earliest, latest = frame.select(low=pl.col("time").min(), high=pl.col("time").max()).row(0)
    starts = month_starts(time_zone, month_of(earliest, time_zone), month_of(latest, time_zone))
    position = starts.search_sorted(frame["time"], side="right")
    return frame.with_columns(window_start=starts.gather(position - 1))
