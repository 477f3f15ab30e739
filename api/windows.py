"""The windows of a usage query: minutes, hours, days and months on the calendar of a time zone, as UTC instants.

Every instant is in one window, whatever the zone does with its clocks: a day on which they are changed has 23 or 25
hours, or 24.5; an hour that comes twice is two windows; a midnight that comes twice begins the day once; a midnight
that is skipped begins it at the instant at which it is skipped.
"""

from typing import Literal

import polars as pl

Window = Literal["minute", "hour", "day", "month"]

_EVERY = {"minute": "1m", "hour": "1h", "day": "1d", "month": "1mo"}
_ON_THE_CALENDAR = ("day", "month")
_BEFORE = pl.duration(hours=3)
"""Further back than a zone puts its clocks forward: a wall time that is skipped is measured from there."""


def window_start(time: pl.Expr, window: Window, time_zone: str) -> pl.Expr:
    """The start of the window that each instant is in."""
    if time_zone == "UTC":
        return time.dt.truncate(_EVERY[window])
    wall = time.dt.convert_time_zone(time_zone).dt.replace_time_zone(None).dt.truncate(_EVERY[window])
    first = _instant(wall, time_zone, "earliest")
    if window in _ON_THE_CALENDAR:
        return first
    again = _instant(wall, time_zone, "latest")
    return pl.when(again <= time).then(again).otherwise(first)


def window_end(start: pl.Expr, window: Window, time_zone: str) -> pl.Expr:
    """The end of the window that begins at each instant."""
    if window not in _ON_THE_CALENDAR or time_zone == "UTC":
        return start.dt.offset_by(_EVERY[window])
    wall = start.dt.convert_time_zone(time_zone).dt.replace_time_zone(None).dt.truncate("1d")
    return _instant(wall.dt.offset_by(_EVERY[window]), time_zone, "earliest")


def _instant(wall: pl.Expr, time_zone: str, which: Literal["earliest", "latest"]) -> pl.Expr:
    """The instant at which the clocks of a zone show a time."""
    shown = wall.dt.replace_time_zone(time_zone, ambiguous=which, non_existent="null")
    before = (wall - _BEFORE).dt.replace_time_zone(time_zone, ambiguous=which, non_existent="null")
    return pl.coalesce(shown.dt.convert_time_zone("UTC"), before.dt.convert_time_zone("UTC") + _BEFORE)
