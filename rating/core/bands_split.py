"""Records that last: what an event measured over a while is cut at the edges of bands and versions.

Each part gets its share of the quantity in proportion of its time, at nine decimals: the share up to the end of the
part less the share up to its beginning, both rounded down, so that the parts of a record always add up to it, and
seconds of a call are cut exactly. Worked example: 100 units over 3 hours, cut after one: 33.333333333 and 66.666666667.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl

from rating.core.book import Meter
from rating.core.schema import INSTANT, QUANTITY, property_column

LONGEST = timedelta(days=400)
"""What lasts longer is cut as if it lasted so long: no record of usage does."""

_NANO = pl.lit(10**9, dtype=pl.Decimal(38, 0))
_ONE_NANO = pl.lit(Decimal("1e-9"), dtype=QUANTITY)


def lasts(meter: Meter) -> bool:
    """Whether the meter's events know how long they last, or where in a longer record they begin."""
    return meter.duration is not None or meter.elapsed is not None


def longest(usage: pl.LazyFrame, meter: Meter) -> timedelta:
    """How long the longest event lasts."""
    if meter.duration is None:
        return timedelta(0)
    found = usage.select(_microseconds(meter.duration).max()).collect(engine="streaming").item()
    return timedelta(microseconds=found or 0)


def split(events: pl.LazyFrame, meter: Meter, cuts: Sequence[datetime]) -> pl.LazyFrame:
    """Each event once for each part of it between `cuts`, which are in order: the `time` at which the part begins, its
    share of `quantity`, and `begins`: the quantity of the same record before it. The first part counts as the event."""
    elapsed = pl.col(property_column(meter.elapsed)).fill_null(0) if meter.elapsed is not None else pl.lit(0)
    placed = events.with_columns(begins=elapsed.cast(QUANTITY))
    if meter.duration is None:
        return placed
    edges = pl.Series(cuts, dtype=INSTANT)
    until = (pl.col("time") + pl.duration(microseconds="lasting")).alias("until")
    first = pl.lit(edges).search_sorted(pl.col("time"), side="right")
    last = pl.max_horizontal(pl.lit(edges).search_sorted(pl.col("until"), side="left"), "first")
    timed = placed.with_columns(lasting=_microseconds(meter.duration)).with_columns(until, first=first)
    parts = timed.with_columns(part=pl.int_ranges("first", last + 1, dtype=pl.Int64)).explode("part")
    return _shared(_bounded(parts, edges)).select(*placed.collect_schema().names())


def _microseconds(duration: str) -> pl.Expr:
    """How long an event lasts; its property is in seconds."""
    limit = Decimal(LONGEST // timedelta(seconds=1))
    seconds = pl.col(property_column(duration)).fill_null(0).clip(Decimal(0), limit)
    return (seconds * pl.lit(10**6, dtype=pl.Decimal(38, 0))).cast(pl.Int64)


def _bounded(parts: pl.LazyFrame, edges: pl.Series) -> pl.LazyFrame:
    """With `start` and `end` of each part: a part ends at the cut of its number, and begins at the cut before it."""
    at = edges.to_frame("cut").lazy().with_row_index("number").with_columns(pl.col("number").cast(pl.Int64))
    ends = parts.join(at.rename({"cut": "cut_at"}), left_on="part", right_on="number", how="left", validate="m:1")
    before = at.with_columns(number=pl.col("number") + 1).rename({"cut": "cut_before"})
    both = ends.join(before, left_on="part", right_on="number", how="left", validate="m:1")
    is_first = pl.col("part") == pl.col("first")
    return both.with_columns(
        start=pl.when(is_first).then(pl.col("time")).otherwise("cut_before"),
        end=pl.min_horizontal("cut_at", "until"),
        events=pl.when(is_first).then(pl.col("events")).otherwise(0),
    )


def _shared(parts: pl.LazyFrame) -> pl.LazyFrame:
    until_start, until_end = _share(pl.col("start")), _share(pl.col("end"))
    return parts.with_columns(
        quantity=until_end - until_start, begins=pl.col("begins") + until_start, time=pl.col("start")
    )


def _share(at: pl.Expr) -> pl.Expr:
    """The part of the quantity up to an instant, counted in whole billionths."""
    whole = (pl.col("quantity") * _NANO).cast(pl.Int128)
    passed = (at - pl.col("time")).dt.total_microseconds().cast(pl.Int128)
    billionths = whole * passed // pl.col("lasting").cast(pl.Int128)
    share = billionths.cast(pl.Decimal(38, 0)) * _ONE_NANO
    return (
        pl.when(at <= pl.col("time"))
        .then(pl.lit(Decimal(0), dtype=QUANTITY))
        .otherwise(pl.when(at >= pl.col("until")).then(pl.col("quantity")).otherwise(share))
    )
