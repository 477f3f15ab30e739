"""Buckets: what must be kept apart when usage is summed before it is priced.

An event's own time chooses the price version and the band, and its own size chooses the tier of a
per-request price. All three only matter up to the next boundary that some price of the meter has, and those
boundaries are few. So each event is put between two boundaries, usage is summed per bucket, and prices then choose
by the bucket's lower edge: aggregate first, price after, and still exact to the event.
"""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import polars as pl

from rating.core.bands import DayClasses, day_classes
from rating.core.book import PriceBook, of_book
from rating.core.schema import INSTANT, QUANTITY, property_column


@dataclass(frozen=True)
class Boundaries:
    """The boundaries that the prices of some meters have within a scan; empty where no price cares."""

    versions: tuple[datetime, ...]  # instants at which a version takes effect
    clocks: tuple[tuple[str, tuple[int, ...]], ...]  # time zone, microseconds after its midnight
    sizes: tuple[tuple[str, tuple[Decimal, ...]], ...]  # property, upper bounds of its tiers
    days: tuple[DayClasses, ...] = ()  # of each of the time zones of `clocks`

    @property
    def columns(self) -> list[str]:
        return [
            "version_from",
            *(clock_column(zone) for zone, _ in self.clocks),
            *(day_column(days.zone) for days in self.days if days.tells_apart),
            *(size_column(size) for size, _ in self.sizes),
        ]

    @property
    def key(self) -> Hashable:
        """What equal boundaries have in common."""
        return self.versions, self.clocks, self.sizes, tuple((day.zone, day.dates, day.classes) for day in self.days)


def clock_column(time_zone: str) -> str:
    return f"clock_from:{time_zone}"


def day_column(time_zone: str) -> str:
    return f"day_class:{time_zone}"


def size_column(size: str) -> str:
    return f"size_from:{size}"


def boundaries(book: PriceBook, meters: Collection[str], start: datetime, end: datetime) -> Boundaries:
    """The boundaries of the prices of `meters` for events on [`start`, `end`)."""
    edges = _edges_of(book, frozenset(meters))
    return Boundaries(
        versions=(start, *(at for at in edges.versions if start < at < end)),
        clocks=edges.clocks,
        days=tuple(day_classes(zone, book.calendars, used, start, end) for zone, used in edges.calendars),
        sizes=edges.sizes,
    )


@dataclass(frozen=True)
class _Edges:
    """The boundaries at any time: as Boundaries, with the calendars of each zone's bands."""

    versions: tuple[datetime, ...]
    clocks: tuple[tuple[str, tuple[int, ...]], ...]
    calendars: tuple[tuple[str, list[int]], ...]
    sizes: tuple[tuple[str, tuple[Decimal, ...]], ...]


@of_book
def _edges_of(book: PriceBook, meters: frozenset[str]) -> _Edges:
    names = [shape.prices["price"] for shape in book.shapes if shape.meter in meters]
    priced = pl.concat(names).unique() if names else pl.Series("price", [], dtype=pl.String)
    rates = book.rates.filter(pl.col("price").is_in(priced.implode()))
    windows = book.bands.filter(pl.col("rate").is_in(rates["rate"].implode()))
    zones = sorted(set(windows["zone"]))
    return _Edges(
        versions=tuple(rates["effective_from"].unique().sort()),
        clocks=tuple((zone, _clock_edges(windows, zone)) for zone in zones),
        calendars=tuple((zone, _calendars(windows, zone)) for zone in zones),
        sizes=tuple((size, _size_edges(book, rates, size)) for size in sorted(set(rates["size"].drop_nulls()))),
    )


def _clock_edges(windows: pl.DataFrame, zone: str) -> tuple[int, ...]:
    here = windows.filter(zone=zone)
    return tuple(sorted({0, *here["from"], *here["to"]}))


def _calendars(windows: pl.DataFrame, zone: str) -> list[int]:
    return windows.filter(zone=zone)["calendar"].to_list()


def _size_edges(book: PriceBook, rates: pl.DataFrame, size: str) -> tuple[Decimal, ...]:
    sized = rates.filter(pl.col("size") == size)["rate"]
    edges = book.tiers.filter(pl.col("rate").is_in(sized.implode()))["to_quantity"].drop_nulls()
    return tuple(sorted(set(edges)))


def with_buckets(events: pl.LazyFrame, edges: Boundaries) -> pl.LazyFrame:
    """Add the lower edge of each event's bucket: `version_from`, and one column a clock, a class of dates and a size.

    Versions and clocks are [from, to). Sizes are (from, to], as tiers are: a size of exactly an edge stays below it.
    """
    clocks = [_lower_edge(_clock(zone), at, pl.Int64()).alias(clock_column(zone)) for zone, at in edges.clocks]
    days = [_day_class(days).alias(day_column(days.zone)) for days in edges.days if days.tells_apart]
    sizes = [_size_from(size, at).alias(size_column(size)) for size, at in edges.sizes]
    return events.with_columns(
        _lower_edge(pl.col("time"), edges.versions, INSTANT).alias("version_from"), *clocks, *days, *sizes
    )


def _day_class(days: DayClasses) -> pl.Expr:
    """The class of the date; an instant outside the scan, which no bucket is asked for, has none."""
    day = pl.col("time").dt.convert_time_zone(days.zone).dt.date()
    return day.replace_strict(list(days.dates), list(days.classes), default=None, return_dtype=pl.Int32)


def _clock(zone: str) -> pl.Expr:
    return pl.col("time").dt.convert_time_zone(zone).dt.time().cast(pl.Int64) // 1000


def _lower_edge(value: pl.Expr, edges: Sequence[object], dtype: pl.DataType) -> pl.Expr:
    lowest = pl.lit(edges[0], dtype=dtype)
    return pl.max_horizontal(
        lowest, *(pl.when(value >= pl.lit(e, dtype=dtype)).then(pl.lit(e, dtype=dtype)) for e in edges[1:])
    )


def _size_from(size: str, edges: Sequence[Decimal]) -> pl.Expr:
    value, zero = pl.col(property_column(size)), pl.lit(Decimal(0), dtype=QUANTITY)
    above = [pl.when(value > pl.lit(e, dtype=QUANTITY)).then(pl.lit(e, dtype=QUANTITY)) for e in edges]
    return pl.max_horizontal(zero, *above)


def instants(edges: Boundaries, midnights: Sequence[str], start: datetime, end: datetime) -> list[datetime]:
    """The instants on (`start`, `end`) at which some bucket ends, or a day of one of the zones `midnights`: what holds
    for a while has to be cut there. Where a zone changes its clocks there are more of them, which does no harm."""
    clocks = [*edges.clocks, *((zone, (0,)) for zone in midnights)]
    found = [*edges.versions, *(at for zone, shown in clocks for at in _clock_instants(zone, shown, start, end))]
    return sorted({at for at in found if start < at < end})


def _clock_instants(name: str, clocks: Sequence[int], start: datetime, end: datetime) -> list[datetime]:
    """When the clocks of the zone show one of the times (microseconds after midnight), and, on a day on which they are
    put forward or back, every quarter of an hour."""
    zone = ZoneInfo(name)
    found: list[datetime] = []
    day, last = start.astimezone(zone).date() - timedelta(days=1), end.astimezone(zone).date()
    while day <= last:
        midnight = datetime.combine(day, time(), zone)
        next_midnight = datetime.combine(day + timedelta(days=1), time(), zone)
        shown = [midnight + timedelta(microseconds=clock) for clock in clocks]  # on the wall, whatever the day's length
        found += [at.astimezone(UTC) for at in shown]
        if midnight.utcoffset() != next_midnight.utcoffset():
            first = midnight.astimezone(UTC)
            found += [first + timedelta(minutes=15 * quarter) for quarter in range(27 * 4)]
        day += timedelta(days=1)
    return found
