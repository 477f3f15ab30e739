"""Billing cycles: plain loops over `datetime`, from the anchor on."""

from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.oracle.lines import Period

_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True)
class Cycle:
    """How the time is cut into periods; without an anchor on the calendar."""

    time_zone: str
    interval: str = "month"
    intervals: int = 1
    anchor: datetime | None = None


def periods(cycle: Cycle, since: datetime, until: datetime) -> list[Period]:
    """The billing periods that have an instant on [`since`, `until`)."""
    zone, (length, is_months) = ZoneInfo(cycle.time_zone), _length(cycle)
    wall = datetime.fromisoformat("1970-01-05" if cycle.interval == "week" else "1970-01-01")
    if cycle.anchor is not None:
        wall = cycle.anchor.astimezone(zone).replace(tzinfo=None, fold=0)
    local = since.astimezone(zone).replace(tzinfo=None)
    passed = (local.year - wall.year) * 12 + local.month - wall.month if is_months else (local - wall).days
    number = passed // length - 2
    found: list[Period] = []
    start = _instant(_later(wall, number * length, is_months), zone)
    while start < until:
        number += 1
        end = _instant(_later(wall, number * length, is_months), zone)
        if start < end and end > since:  # a day that the zone skipped is no period
            found.append(Period(_name(cycle, start, end), start, end))
        start = end
    return found


def _length(cycle: Cycle) -> tuple[int, bool]:
    is_months = cycle.interval in _MONTHS
    return cycle.intervals * {**_DAYS, **_MONTHS}[cycle.interval], is_months


def _later(wall: datetime, count: int, is_months: bool) -> datetime:
    """So many days or months after a time on the wall; a day that a month does not have is its last."""
    if not is_months:
        return wall + timedelta(days=count)
    year, month = divmod(wall.year * 12 + wall.month - 1 + count, 12)
    return wall.replace(year=year, month=month + 1, day=min(wall.day, monthrange(year, month + 1)[1]))


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    return wall.replace(tzinfo=zone).astimezone(UTC)


def _name(cycle: Cycle, start: datetime, end: datetime) -> str:
    first, last = (at.astimezone(ZoneInfo(cycle.time_zone)) for at in (start, end))
    if (cycle.interval, cycle.intervals, cycle.anchor) == ("month", 1, None):
        return f"{first:%Y-%m}"
    return f"{first:%Y-%m-%d}/{last:%Y-%m-%d}"


def cut(period: Period, cycle: Cycle, start: datetime, end: datetime) -> Period | None:
    """What of a period of a cycle is left where that holds on [`start`, `end`) only."""
    first, last = max(period.start, start), min(period.end, end)
    if first >= last:
        return None
    if (first, last) == (period.start, period.end):
        return replace(period, anchor=cycle.anchor)
    days = "/".join(f"{at.astimezone(ZoneInfo(cycle.time_zone)):%Y-%m-%d}" for at in (first, last))
    return Period(days, first, last, (period.start, period.end), cycle.anchor)
