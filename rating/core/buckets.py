"""Buckets: what must be kept apart when usage is summed before it is priced.

An event's own time chooses the price version and the time-of-day window, and its own size chooses the tier of a
per-request price. All three only matter up to the next boundary that some price of the meter has, and those
boundaries are few. So each event is put between two boundaries, usage is summed per bucket, and prices then choose
by the bucket's lower edge: aggregate first, price after, and still exact to the event.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import polars as pl

from rating.core.book import PriceBook
from rating.core.schema import INSTANT, QUANTITY, property_column


@dataclass(frozen=True)
class Boundaries:
    """The boundaries that the prices of some meters have within a scan; empty where no price cares."""

    versions: tuple[datetime, ...]  # instants at which a version takes effect
    clocks: tuple[tuple[str, tuple[int, ...]], ...]  # time zone, microseconds after its midnight
    sizes: tuple[tuple[str, tuple[Decimal, ...]], ...]  # property, upper bounds of its tiers

    @property
    def columns(self) -> list[str]:
        return [
            "version_from",
            *(clock_column(zone) for zone, _ in self.clocks),
            *(size_column(size) for size, _ in self.sizes),
        ]


def clock_column(time_zone: str) -> str:
    return f"clock_from:{time_zone}"


def size_column(size: str) -> str:
    return f"size_from:{size}"


def boundaries(book: PriceBook, meters: Collection[str], start: datetime, end: datetime) -> Boundaries:
    """The boundaries of the prices of `meters` for events on [`start`, `end`)."""
    names = [shape.prices["price"] for shape in book.shapes if shape.meter in meters]
    priced = pl.concat(names).unique() if names else pl.Series("price", [], dtype=pl.String)
    rates = book.rates.filter(pl.col("price").is_in(priced.implode()))
    instants = rates["effective_from"].unique().sort()
    windows = rates.filter(pl.col("window").is_not_null())
    return Boundaries(
        versions=(start, *(at for at in instants if start < at < end)),
        clocks=tuple((zone, _clock_edges(windows, zone)) for zone in sorted(set(windows["window_time_zone"]))),
        sizes=tuple((size, _size_edges(book, rates, size)) for size in sorted(set(rates["size"].drop_nulls()))),
    )


def _clock_edges(windows: pl.DataFrame, zone: str) -> tuple[int, ...]:
    here = windows.filter(pl.col("window_time_zone") == zone)
    return tuple(sorted({0, *here["window_from"], *here["window_to"]}))


def _size_edges(book: PriceBook, rates: pl.DataFrame, size: str) -> tuple[Decimal, ...]:
    sized = rates.filter(pl.col("size") == size)["rate"]
    edges = book.tiers.filter(pl.col("rate").is_in(sized.implode()))["to_quantity"].drop_nulls()
    return tuple(sorted(set(edges)))


def with_buckets(events: pl.LazyFrame, edges: Boundaries) -> pl.LazyFrame:
    """Add the lower edge of each event's bucket: `version_from`, and one column a clock and a size.

    Versions and clocks are [from, to). Sizes are (from, to], as tiers are: a size of exactly an edge stays below it.
    """
    clocks = [_lower_edge(_clock(zone), at, pl.Int64()).alias(clock_column(zone)) for zone, at in edges.clocks]
    sizes = [_size_from(size, at).alias(size_column(size)) for size, at in edges.sizes]
    return events.with_columns(
        _lower_edge(pl.col("time"), edges.versions, INSTANT).alias("version_from"), *clocks, *sizes
    )


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
