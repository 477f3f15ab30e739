"""Usage as it is looked at: all windows of a span, also those without usage, the largest groups, and what the same was
before. Counted by api/usage.py; here it is only laid out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import polars as pl

from api.engine import Engine
from api.usage import UsageQuery
from api.windows import Window, window_start
from rating.core.book import Meter
from rating.core.metering import is_exact, is_sum
from rating.core.money import exact_sum, grouped_sum
from store.errors import Refused

WINDOWS_MAX = 1_500
GROUPS_MAX = 7
_LOOKED_EVERY = {"minute": "1m", "hour": "15m", "day": "1h", "month": "12h"}
_SECONDS = {"minute": 60, "hour": 3_600, "day": 86_400, "month": 28 * 86_400}


@dataclass(frozen=True)
class Grouped:
    """A group and its quantity in each window; null where it has no usage. `name` is its values, one after another."""

    name: tuple[str | None, ...]
    quantities: list[Decimal | None]
    total: Decimal | None
    events: int


@dataclass(frozen=True)
class UsageLaidOut:
    """`windows` are their starts (a single one, null, where the whole span is asked for). `groups` are the GROUPS_MAX
    largest; `rest` is the sum of all others, null where there are none or the meter does not add up."""

    query: UsageQuery
    windows: list[datetime | None]
    groups: list[Grouped]
    rest: Grouped | None
    groups_all: int
    total: Decimal | None
    events: int
    adds_up: bool


def laid_out(engine: Engine, query: UsageQuery) -> UsageLaidOut:
    """Raises NotFound, Refused; `query` has a start and an end."""
    windows = _windows(query)
    adds_up = sums_up(engine.in_force.meter(query.meter))
    found = engine.usage(query)
    whole = engine.usage(replace(query, window=None))
    total = engine.usage(replace(query, window=None, group_by=()))
    names = list(query.group_by)
    totals = whole.sort("quantity", descending=True, nulls_last=True, maintain_order=True)
    largest, others = totals.head(GROUPS_MAX), totals.slice(GROUPS_MAX)
    groups = [_group(row, names, found, windows) for row in largest.iter_rows(named=True)]
    rest = _rest(found, largest, names, windows) if adds_up and others.height else None
    quantity = total["quantity"][0] if total.height else None
    events = int(total["events"].sum())
    return UsageLaidOut(query, windows, groups, rest, totals.height, quantity, events, adds_up)


def sums_up(meter: Meter) -> bool:
    """Whether what its windows and groups come to is, together, what it comes to: nothing is rounded in each."""
    return is_sum(meter) and is_exact(meter)


def before(query: UsageQuery) -> UsageQuery:
    """The same question of the span of the same length that ends where this one begins."""
    assert query.start is not None
    assert query.end is not None
    return replace(query, start=query.start - (query.end - query.start), end=query.start)


def _windows(query: UsageQuery) -> list[datetime | None]:
    assert query.start is not None
    assert query.end is not None
    if query.window is None:
        return [None]
    if (query.end - query.start).total_seconds() / _SECONDS[query.window] > WINDOWS_MAX:
        raise Refused([f"that is more than {WINDOWS_MAX:,} windows of a {query.window}; choose a larger one"])
    return list(_starts(query.start, query.end, query.window, query.time_zone))


def _starts(start: datetime, end: datetime, window: Window, time_zone: str) -> pl.Series:
    """Every window that begins before `end` and ends behind `start`."""
    looked = pl.datetime_range(start, end, _LOOKED_EVERY[window], closed="left", time_zone="UTC", eager=True)
    frame = looked.cast(pl.Datetime("us", "UTC")).to_frame("time")
    return frame.select(window_start(pl.col("time"), window, time_zone)).to_series().unique().sort()


def _group(
    row: dict[str, object], names: Sequence[str], found: pl.DataFrame, windows: list[datetime | None]
) -> Grouped:
    own = found.filter(*(pl.col(name).eq_missing(row[name]) for name in names))
    total, events = row["quantity"], row["events"]
    assert isinstance(total, Decimal | None)
    assert isinstance(events, int)
    key = tuple(None if row[name] is None else str(row[name]) for name in names)
    return Grouped(key, _by_window(own, windows), total, events)


def _rest(found: pl.DataFrame, largest: pl.DataFrame, names: list[str], windows: list[datetime | None]) -> Grouped:
    others = found.join(largest, on=names, how="anti", nulls_equal=True)
    total = exact_sum(others["quantity"].drop_nulls())
    events = int(others["events"].sum())
    if windows == [None]:
        return Grouped(("others",), [total], total, events)
    summed = grouped_sum(others.lazy(), ["window_start"], ["quantity"]).collect()
    return Grouped(("others",), _by_window(summed, windows), total, events)


def _by_window(own: pl.DataFrame, windows: list[datetime | None]) -> list[Decimal | None]:
    if windows == [None]:
        return [own["quantity"][0] if own.height else None]
    by_start = dict(own.select("window_start", "quantity").iter_rows())
    return [by_start.get(start) for start in windows]
