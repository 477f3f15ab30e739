"""Windows of quotas, one at a time, by the wall clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def window(
    kind: str, at: datetime, zone: str, anchor: datetime | None = None
) -> tuple[datetime | None, datetime | None]:
    """[start, end) of the window that `at` is in."""
    here = ZoneInfo(zone)
    wall = at.astimezone(here).replace(tzinfo=None, fold=0)
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "lifetime":
        return None, None
    if kind == "rolling":  # a day in steps of six hours
        step = timedelta(hours=6)
        start = EPOCH + (at - EPOCH) // step * step
        return start - 3 * step, start + step
    if kind == "hour":
        begins = [wall.replace(minute=0, second=0, microsecond=0) + n * timedelta(hours=1) for n in range(2)]
    elif kind == "day":
        begins = [midnight, midnight + timedelta(days=1)]
    elif kind == "month":
        begins = [add_months(midnight.replace(day=1), n, 1) for n in range(2)]
    else:
        assert kind == "billing"
        assert anchor is not None
        first = anchor.astimezone(here).replace(tzinfo=None)
        tiles = [add_months(first, n, first.day) for n in range(-24, 24)]
        last = max(n for n, begin in enumerate(tiles) if begin.replace(tzinfo=here) <= at)
        begins = tiles[last : last + 2]
    start, end = (begin.replace(tzinfo=here).astimezone(UTC) for begin in begins)
    return start, end


def add_months(wall: datetime, months: int, day: int) -> datetime:
    """The `day` of a later month, or its last where it is shorter."""
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    for shorter in range(4):
        try:
            return wall.replace(year=year, month=month + 1, day=day - shorter)
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")


def local_days_later(at: datetime, days: int, zone: str) -> datetime:
    wall = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) + timedelta(days=days)
    return wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
