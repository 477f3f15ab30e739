"""Shares: how events divide the pieces of their lines.

A **piece** is an interval (`from`, `to`] of what the events of an owner (a line, or a day of it) weigh in the order of
time, and an amount. G, the amount of all that weighs x or less, runs linearly through each piece; the share of an event
that begins at c and weighs w is G(c + w) - G(c). So shares sum to the amount whatever was rounded, negative weights
(corrections) give back at the rate at which they are, and an event on an edge is in several pieces.

Where an owner has one piece and its rate is a short decimal, every product is exact and the order of events changes
nothing: those events are not sorted. Where it has several such pieces, events are sorted only in those spans of time
that an edge is in (event_spans.py). What is left, rates that had to be rounded and lines with corrections, is put in
order whole.
"""

from collections.abc import Iterator
from decimal import Decimal

import polars as pl

from rating.core.event_spans import cut_into_spans
from rating.core.keys import looked_up
from rating.core.money import ZERO, at_rate, product, quotient
from rating.core.schema import AMOUNT

PIECE = pl.Schema(
    {
        "owner": pl.Int32(),
        "place": pl.Int32(),  # in the order of weight, from 0
        "tier": pl.Int32(),  # null: included
        "from": AMOUNT,
        "to": AMOUNT,
        "amount": AMOUNT,
    }
)
"""One row is one piece; those of an owner touch, from 0 to the weight of all its events."""

_FAR = pl.lit(Decimal(10**17 - 1), dtype=AMOUNT)
_ONE = pl.lit(Decimal(1), dtype=AMOUNT)
AMOUNT_DECIMALS = 21
SORTED_TOGETHER = 1_000_000
"""About so many rows are sorted at a time: more do not fit the caches, and take several times as long (measured)."""

MULTIPLIED_TOGETHER = 500_000
"""So many rows whose order changes nothing are done at a time: their memory is used again for the next (measured)."""


def shares(rows: pl.DataFrame, pieces: pl.DataFrame, decimals: int) -> Iterator[pl.DataFrame]:
    """One row a row and piece that it has a part in: `rows` with `tier`, its part of `quantity`, and `share`, in parts.

    `rows` have `owner`, `event`, `time`, `quantity` and `weight`, which has so many `decimals`; `pieces` is PIECE.
    Rows of owners without pieces are left out.
    """
    rated = pieces.lazy().pipe(_with_rates, decimals, _given_back(rows)).collect()
    yield _in_order(rows.clear(), rated.clear())  # so that there is a frame, whatever there is to share
    for (way,), own in rated.partition_by("way", as_dict=True, maintain_order=True).items():
        yield from _WAYS[way](rows, own)


def _given_back(rows: pl.DataFrame) -> pl.Series:
    """The owners that something is given back to: some of their weights are negative."""
    return rows.filter(pl.col("weight") < 0)["owner"].unique()


def _of_owners(rows: pl.DataFrame, pieces: pl.DataFrame) -> pl.DataFrame:
    known = looked_up(rows["owner"], pieces.select("owner", known=pl.lit(True)).unique())["known"]
    return rows.filter(known) if known.null_count() else rows


def _with_rates(pieces: pl.LazyFrame, decimals: int, falling: pl.Series) -> pl.LazyFrame:
    """What one unit of weight costs, what that leaves over, and in which of _WAYS the owner's events are shared."""
    empty = pl.col("to") == pl.col("from")
    length = pl.when(empty).then(_ONE).otherwise(pl.col("to") - pl.col("from"))
    rated = pieces.with_columns(
        empty=empty,
        length=length,
        rate=pl.when(empty)
        .then(ZERO)
        .otherwise(quotient(pl.col("amount"), pl.when(empty).then(_ONE).otherwise(length))),
        is_first=pl.col("place") == pl.col("place").min().over("owner"),
        is_last=pl.col("place") == pl.col("place").max().over("owner"),
    )
    over = pl.when("empty").then(ZERO).otherwise(pl.col("amount") - product(pl.col("rate"), pl.col("length")))
    is_short = pl.col("rate") == pl.col("rate").truncate(AMOUNT_DECIMALS - decimals)
    exact = is_short & (over == 0) & (~pl.col("empty") | (pl.col("amount") == 0))
    alone = pl.col("is_first") & pl.col("is_last")
    placed = rated.with_columns(over=over, is_exact=exact)
    can_be_cut = (pl.col("is_exact") & ~pl.col("empty")).all().over("owner") & ~pl.col("owner").is_in(falling.implode())
    way = pl.when(alone & pl.col("is_exact")).then(pl.lit("even")).when(can_be_cut).then(pl.lit("spans"))
    return placed.with_columns(way=way.otherwise(pl.lit("order")))


def _even(rows: pl.DataFrame, even: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows whose owner has one rate, in whatever order."""
    rates = even.select("owner", "rate", piece_tier="tier")
    for part in rows.iter_slices(MULTIPLIED_TOGETHER):
        rated = part.with_columns(looked_up(part["owner"], rates)).drop_nulls("rate")
        yield _selected(rated.with_columns(share=at_rate(pl.col("weight"), pl.col("rate"))), rows)


def _selected(parts: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The columns of `rows`, with the tier of the piece where the row has none of its own, and `share`."""
    names = [name for name in rows.columns if name not in ("tier", "weight", "quantity")]
    tier = "tier" if "tier" in rows.columns else "piece_tier"
    return parts.select(*names, pl.col("quantity").cast(AMOUNT), "share", tier=tier)


def _by_spans(rows: pl.DataFrame, pieces: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows of owners with exact pieces: most spans of time are in one of them."""
    own = _of_owners(rows, pieces)
    cut = cut_into_spans(own, pieces)
    if cut is None:
        yield from _ordered(own, pieces)
        return
    for found in (_even(cut.rows, cut.even), _ordered(cut.rows, cut.uneven)):
        yield from (part.with_columns(owner="line").drop("line") for part in found)


def _ordered(rows: pl.DataFrame, pieces: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """In batches of owners, for what is left to do is by owner."""
    own = _of_owners(rows, pieces)
    batches = own.height // SORTED_TOGETHER + 1
    batch = pl.col("owner") % batches
    for place in range(batches):
        is_here = batch == place if batches > 1 else True
        yield _in_order(own.filter(is_here), pieces.filter(is_here))


def _in_order(rows: pl.DataFrame, pieces: pl.DataFrame) -> pl.DataFrame:
    filled = _filled(rows.with_columns(pl.col("quantity", "weight").cast(AMOUNT)))
    after = pl.col("weight").cum_sum().over("owner")
    first = (pl.col("owner") != pl.col("owner").shift()).fill_null(True)
    sorted_rows = filled.with_columns(pl.col("owner").set_sorted())
    begun = sorted_rows.with_columns(after=after, first=first).with_columns(before=pl.col("after") - pl.col("weight"))
    low = pl.when("is_first").then(-_FAR).otherwise("from")
    high = pl.when("is_last").then(_FAR).otherwise("to")
    bounded = pieces.with_columns(low=low, high=high).rename({"tier": "piece_tier"})
    touched = begun.lazy().join(bounded.lazy(), on="owner").filter(_touches()).collect()
    lies_within = (pl.col("before") >= pl.col("low")) & (pl.col("after") >= pl.col("low"))
    lies_within &= (pl.col("before") <= pl.col("high")) & (pl.col("after") <= pl.col("high"))
    simple = lies_within & pl.col("is_exact")
    inside = touched.filter(simple).with_columns(share=product(pl.col("weight"), pl.col("rate")))
    return pl.concat([_selected(inside, rows), _selected(_cut(touched.filter(~simple)), rows)])


def _filled(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by owner, time, event and tier. Owner and time are one integer where that is large enough: sorting by three
    columns takes twice as long."""
    rest = ["event", *(["tier"] if "tier" in rows.columns else [])]
    time = pl.col("time").dt.epoch("us")
    if rows.is_empty():
        return rows
    last_owner, first, last = rows.select(pl.col("owner").max(), time.min(), time.max().alias("last")).row(0)
    span = last - first + 1
    if (last_owner + 1) * span >= 2**63:
        return rows.sort("owner", "time", *rest)
    place = pl.col("owner").cast(pl.Int64) * span + (time - first)
    return rows.with_columns(place=place).sort("place", *rest).drop("place")


def _cut(touched: pl.DataFrame) -> pl.DataFrame:
    """Rows that an edge goes through, or whose piece has no short rate: the difference of two running totals."""
    placed = touched.with_columns(start=pl.col("before").clip("low", "high"), end=pl.col("after").clip("low", "high"))
    begins_here = (pl.col("low") <= pl.col("before")) & (pl.col("before") < pl.col("high"))
    weightless = pl.when(begins_here).then("quantity").otherwise(ZERO)
    passed = _measured(pl.col("end")) - _measured(pl.col("start"))
    part = pl.when(pl.col("weight") == 0).then(weightless).otherwise(passed)
    return placed.with_columns(share=_share(), quantity=part)


def _touches() -> pl.Expr:
    lowest, highest = pl.min_horizontal("before", "after"), pl.max_horizontal("before", "after")
    inside = (highest > pl.col("low")) & (lowest < pl.col("high"))
    stays = (lowest == highest) & (pl.col("low") <= lowest) & (lowest < pl.col("high"))
    return inside | stays | (pl.col("empty") & pl.col("first"))


def _share() -> pl.Expr:
    of_first = pl.when("first").then("amount").otherwise(ZERO)
    return pl.when("empty").then(of_first).otherwise(_up_to(pl.col("end")) - _up_to(pl.col("start")))


def _up_to(weight: pl.Expr) -> pl.Expr:
    """The part of the piece's amount below `weight`: exact at both of its ends."""
    inside = pl.when("empty").then(ZERO).otherwise(weight - pl.col("from"))
    return product(inside, pl.col("rate")) + quotient(product(inside, pl.col("over")), pl.col("length"))


def _measured(weight: pl.Expr) -> pl.Expr:
    """The event's quantity up to `weight`: nothing at its beginning, all of it at its end."""
    own = pl.when(pl.col("weight") == 0).then(_ONE).otherwise("weight")
    inside = product(quotient(weight - pl.col("before"), own), pl.col("quantity"))
    return (
        pl.when(weight == pl.col("after"))
        .then("quantity")
        .when(pl.col("quantity") == pl.col("weight"))
        .then(weight - pl.col("before"))
        .otherwise(inside)
    )


_WAYS = {"even": _even, "spans": _by_spans, "order": _ordered}
