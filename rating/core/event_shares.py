"""Shares: how events divide the pieces of their lines.

A **piece** is an interval (`from`, `to`] of what the events of an owner (a line, or a day of it) weigh in the order of
time, and an amount. G, the amount of all that weighs x or less, runs linearly through each piece; the share of an event
that begins at c and weighs w is G(c + w) - G(c). So shares sum to the amount whatever was rounded, negative weights
(corrections) give back at the rate at which they are, and an event on an edge is in several pieces.

Where an owner has one piece and its rate is a short decimal, every product is exact and the order of events changes
nothing: those events, nearly all of them, are not sorted.
"""

from decimal import Decimal

import polars as pl

from rating.core.money import ZERO, product, quotient
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


def shares(rows: pl.DataFrame, pieces: pl.DataFrame, decimals: int) -> pl.DataFrame:
    """One row a row and piece that it has a part in: `rows` with `tier`, its part of `quantity`, and `share`.

    `rows` have `owner`, `event`, `time`, `quantity` and `weight`, which has so many `decimals`; `pieces` is PIECE.
    """
    rated = pieces.lazy().pipe(_with_rates, decimals).collect()
    even, uneven = rated.filter("is_even"), rated.filter(~pl.col("is_even"))
    if even.is_empty() or rows.is_empty():
        return _ordered(rows, uneven)
    if uneven.is_empty():
        return _even(rows, even)
    ordered = rows.join(uneven.select("owner").unique(), on="owner", how="semi")
    return pl.concat([_even(rows, even), _ordered(ordered, uneven)])


def _with_rates(pieces: pl.LazyFrame, decimals: int) -> pl.LazyFrame:
    """What one unit of weight costs, what that leaves over, and whether the owner needs no order."""
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
    return rated.with_columns(over=over, is_exact=exact).with_columns(is_even=alone & pl.col("is_exact"))


def _even(rows: pl.DataFrame, even: pl.DataFrame) -> pl.DataFrame:
    owners = pl.DataFrame({"owner": range(int(rows["owner"].max()) + 1)}, schema={"owner": pl.Int32})  # type: ignore[arg-type]
    found = owners.join(even.select("owner", "rate", piece_tier="tier"), on="owner", how="left", maintain_order="left")
    at = rows["owner"]
    joined = rows.with_columns(found["rate"].gather(at), found["piece_tier"].gather(at))
    if found["rate"].null_count():
        joined = joined.drop_nulls("rate")
    return _selected(joined.with_columns(share=product(pl.col("weight"), pl.col("rate"))), rows)


def _selected(parts: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The columns of `rows`, with the tier of the piece where the row has none of its own, and `share`."""
    names = [name for name in rows.columns if name not in ("tier", "weight")]
    return parts.select(*names, "share", tier="tier" if "tier" in rows.columns else "piece_tier")


def _ordered(rows: pl.DataFrame, pieces: pl.DataFrame) -> pl.DataFrame:
    """In batches of owners, for what is left to do is by owner."""
    batches = rows.height // SORTED_TOGETHER + 1
    if batches == 1:
        return _in_order(rows, pieces)
    batch = pl.col("owner") % batches
    each = ((rows.filter(batch == place), pieces.filter(batch == place)) for place in range(batches))
    return pl.concat([_in_order(*part) for part in each])


def _in_order(rows: pl.DataFrame, pieces: pl.DataFrame) -> pl.DataFrame:
    filled = _filled(rows)
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
