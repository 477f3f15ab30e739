"""Windows of quotas: [start, end) tiles of time, each of which begins with nothing used.

Windows of the clock and of the calendar begin where cycles.py has periods begin: counted from an anchor, on the wall
clock of a zone, month ends clipped and coming back; without an anchor at the calendar's own beginnings. Where a clock
shows a beginning twice it is the first time, where it skips it, when the clock has jumped: a day may have 25 hours and
an hour of the clock two. Minutes and hours of an interval (`15m`, `6h`) are exact instead: no clock moves them.

A rolling window moves in steps: it is made of the last n tiles, of which the running one is the last.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

WindowKind: TypeAlias = Literal[
    "hour", "day", "week", "month", "quarter", "year", "billing", "lifetime", "every", "rolling"
]
Cycle: TypeAlias = tuple[str, str, int, datetime | None]
"""(time_zone, interval, intervals, anchor) of billing periods, as CYCLE has them (rating/core/cycles.py)."""

INTERVAL = re.compile(r"([1-9][0-9]{0,3})(m|h|d|w|mo|y)")
STEPS_MAX = 366
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)
"""Before all usage: the start of windows that always were."""

END = datetime(9999, 12, 30, tzinfo=UTC)
"""Behind all usage."""

_CALENDAR = {"hour": (1, "clock"), "day": (1, "d"), "week": (1, "w"), "month": (1, "mo"), "quarter": (3, "mo")}
_CALENDAR |= {"year": (1, "y")}
_EXACT = {"m": timedelta(minutes=1), "h": timedelta(hours=1)}
_WALL = {"clock": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_MONTHS = {"mo": 1, "y": 12}
_SHORTEST = {**_EXACT, **_WALL}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WALL_EPOCH = _EPOCH.replace(tzinfo=None)
_MONDAY = _WALL_EPOCH + timedelta(days=4)


@dataclass(frozen=True, slots=True)
class WindowRule:
    """When a count starts again. `every` is the length of kinds `every` and `rolling`, `step` that of the tiles of
    `rolling`; without a `time_zone` of its own it is that of the customer."""

    kind: WindowKind
    every: str | None = None
    step: str | None = None
    anchor: datetime | None = None
    time_zone: str | None = None

    @property
    def is_short(self) -> bool:
        """Whether one is over within a day, or moves on in steps shorter than that."""
        interval = self.step or self.every
        return self.kind == "hour" or (interval is not None and interval[-1] in "mh")


MONTH = WindowRule("month")
LIFETIME = WindowRule("lifetime")


def window_at(
    rule: WindowRule, at: datetime, zone: str, cycle: Cycle | None = None
) -> tuple[datetime, datetime | None]:
    """[start, end) of the window that `at` is in; end null: never. `zone` is the customer's, `cycle` that of kind
    `billing`. A lifetime begins at BEGINNING, and is to be cut to that of its owner."""
    if rule.kind == "lifetime":
        return BEGINNING, None
    if rule.kind == "billing":
        assert cycle is not None, "a billing window needs the cycle of a subscription"
        cycle_zone, interval, intervals, anchor = cycle
        count, unit = _CALENDAR[interval]
        return tile(at, intervals * count, unit, anchor, cycle_zone)[1:]
    here = rule.time_zone or zone
    if rule.kind == "rolling":
        assert rule.step is not None
        count, unit = parts(rule.step)
        number, _, end = tile(at, count, unit, rule.anchor, here)
        return tile_start(number - steps(rule) + 1, count, unit, rule.anchor, here), end
    count, unit = parts(rule.every) if rule.every is not None else _CALENDAR[rule.kind]
    return tile(at, count, unit, rule.anchor, here)[1:]


def following(every: str, anchor: datetime, at: datetime, zone: str) -> datetime:
    """The first instant after `at` that is whole intervals from `anchor`."""
    return tile(at, *parts(every), anchor, zone)[2]


def later(at: datetime, every: str, zone: str) -> datetime:
    """The instant one interval after `at`."""
    return tile_start(1, *parts(every), at, zone)


def is_due(every: str, anchor: datetime, at: datetime, zone: str) -> bool:
    """Whether `at` is whole intervals from `anchor`."""
    return tile(at, *parts(every), anchor, zone)[1] == at


def parts(every: str) -> tuple[int, str]:
    """`2w` -> (2, w). Raises ValueError, with the form it takes, for anything else."""
    match = INTERVAL.fullmatch(every)
    if match is None:
        raise ValueError(f"{every!r} is no interval: write a whole number from 1 to 9999 and m, h, d, w, mo or y")
    return int(match[1]), match[2]


def steps(rule: WindowRule) -> int:
    """How many tiles a rolling window is made of. Raises ValueError where they do not fill it."""
    assert rule.every is not None
    assert rule.step is not None
    (count, unit), (step, step_unit) = parts(rule.every), parts(rule.step)
    if (unit in _MONTHS) != (step_unit in _MONTHS):
        raise ValueError(f"steps of {rule.step} do not fill {rule.every}: months and years have no length in days")
    if unit in _MONTHS:
        whole, rest = divmod(count * _MONTHS[unit], step * _MONTHS[step_unit])
    else:
        whole, remainder = divmod(count * _SHORTEST[unit], step * _SHORTEST[step_unit])
        rest = int(bool(remainder))
    if rest or not 1 <= whole <= STEPS_MAX:
        raise ValueError(f"steps of {rule.step} do not fill {rule.every} in 1 to {STEPS_MAX}")
    return whole


def tile(at: datetime, count: int, unit: str, anchor: datetime | None, zone: str) -> tuple[int, datetime, datetime]:
    """The number of the tile that `at` is in, and its [start, end)."""
    if unit in _EXACT:
        length, first = count * _EXACT[unit], anchor or _EPOCH
        number = (at - first) // length
        return number, first + number * length, first + (number + 1) * length
    number = _passed(_shown(at, zone), count, unit, _wall_anchor(unit, anchor, zone))
    start, end = (tile_start(n, count, unit, anchor, zone) for n in (number, number + 1))
    while end <= at:
        number, start, end = number + 1, end, tile_start(number + 2, count, unit, anchor, zone)
    while start > at:
        number, start, end = number - 1, tile_start(number - 1, count, unit, anchor, zone), start
    return number, start, end


@lru_cache(maxsize=4096)
def tile_start(number: int, count: int, unit: str, anchor: datetime | None, zone: str) -> datetime:
    """When the tile `number` begins; 0 begins at the anchor. Outside the calendar it is its beginning or its end."""
    try:
        if unit in _EXACT:
            return (anchor or _EPOCH) + number * count * _EXACT[unit]
        wall = _later_on_the_wall(_wall_anchor(unit, anchor, zone), number * count, unit)
        return wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except (OverflowError, ValueError):
        return BEGINNING if number < 0 else END


def _wall_anchor(unit: str, anchor: datetime | None, zone: str) -> datetime:
    return _shown(anchor, zone) if anchor is not None else _MONDAY if unit == "w" else _WALL_EPOCH


def _shown(at: datetime, zone: str) -> datetime:
    """What the clock of the zone shows."""
    return at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def _passed(wall: datetime, count: int, unit: str, anchor: datetime) -> int:
    """How many tiles, about, lie between the anchor and a time on the wall."""
    if unit in _WALL:
        return (wall - anchor) // (count * _WALL[unit])
    months = (wall.year - anchor.year) * 12 + wall.month - anchor.month
    return months // (count * _MONTHS[unit])


def _later_on_the_wall(wall: datetime, count: int, unit: str) -> datetime:
    if unit in _WALL:
        return wall + count * _WALL[unit]
    year, month = divmod(wall.year * 12 + wall.month - 1 + count * _MONTHS[unit], 12)
    return wall.replace(year=year, month=month + 1, day=min(wall.day, _days(year, month + 1)))


def _days(year: int, month: int) -> int:
    """How many days a month has."""
    return (date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
