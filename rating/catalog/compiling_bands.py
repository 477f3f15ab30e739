"""The bands of all prices to BAND and the calendars that it names."""

from collections.abc import Mapping, Sequence
from datetime import time, timedelta

import polars as pl

from rating.catalog.bands import TimeWindow, calendar_of, priorities_of
from rating.catalog.frames import Row, frame_of
from rating.core import schema
from rating.core.bands import Calendar

_WHERE = {"price": pl.String(), "version": pl.Int32(), "window": pl.Int32()}
_SPAN = {name: schema.BAND[name] for name in ("zone", "from", "to", "calendar", "priority")}


def bands_of(
    windows: Mapping[tuple[str, int], Sequence[TimeWindow]], rates: pl.DataFrame
) -> tuple[tuple[Calendar, ...], pl.DataFrame]:
    """The different calendars, and BAND, of the `windows` of each price and version; `rates` is RATE."""
    calendars: dict[Calendar, int] = {}
    rows: list[Row] = []
    for (price, version), written in windows.items():
        for (window, when), priority in priorities_of(written).items():
            calendar = calendars.setdefault(calendar_of(when), len(calendars))
            span = written[window].time_zone, _microseconds(when.begins), _microseconds(when.ends)
            rows.append((price, version, window, *span, calendar, priority))
    spans = frame_of(pl.Schema({**_WHERE, **_SPAN}), rows)
    base = rates.filter(pl.col("window").is_null()).select("price", "version", "cell", base="rate")
    rated = spans.join(rates.select("rate", "cell", *_WHERE), on=[*_WHERE], maintain_order="left")
    based = rated.join(base, on=["price", "version", "cell"], validate="m:1", maintain_order="left")
    return tuple(calendars), based.select(schema.BAND.names())


def _microseconds(of_day: time) -> int:
    since_midnight = timedelta(
        hours=of_day.hour, minutes=of_day.minute, seconds=of_day.second, microseconds=of_day.microsecond
    )
    return since_midnight // timedelta(microseconds=1)
