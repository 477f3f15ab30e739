"""The pieces of lines: from what each step of a chain made of a line, to who owes what of it (event_shares.py).

An `allow` takes the first units out; what any other step does to a quantity or an amount is shared in proportion. So a
line is cut into what is included and, behind it, its tiers, each with its part of the line's amount.
"""

from dataclasses import dataclass

import polars as pl

from rating.core.event_shares import PIECE
from rating.core.money import ZERO, product, quotient
from rating.core.schema import AMOUNT

PRICED_TIER = pl.Schema({"tier": pl.Int32(), "quantity": AMOUNT, "amount": AMOUNT})
"""What a tier prices, and what for; part of TIER_AMOUNT."""

_ONE = pl.lit(1, dtype=AMOUNT)


def whole_pieces(owners: pl.DataFrame) -> pl.DataFrame:
    """PIECE of `owners` (`owner`, `weight`, `amount`) that are one piece each."""
    none = pl.lit(None, dtype=pl.Int32).alias("tier")
    rows = owners.select("owner", pl.lit(0).alias("place"), none, ZERO.alias("from"), "amount", to="weight")
    return rows.select(pl.col(name).cast(dtype) for name, dtype in PIECE.items())


@dataclass(frozen=True)
class Parts:
    """What owners are made of. `one_tier` are those that no step takes anything from and that have one tier: `owner`,
    `tier`, most, and much less to do. `others` have an `owner`, their `quantities` and their `tiers`."""

    one_tier: pl.DataFrame
    others: pl.DataFrame


def parts_of(owners: pl.DataFrame) -> Parts:
    """One row an `owner` with the `quantities` that steps on them made (a list of `operator`, `before`, `after`), and
    its `tiers` (a list of `tier`, `quantity`, `amount`)."""
    is_simple = (pl.col("quantities").list.len() == 0) & (pl.col("tiers").list.len() == 1)
    tier = pl.col("tiers").list.first().struct.field("tier")
    others = owners.filter(~is_simple).select("owner", "quantities", "tiers")
    return Parts(owners.filter(is_simple).select("owner", tier=tier), others)


def pieces(owners: pl.DataFrame, made_of: Parts) -> pl.DataFrame:
    """PIECE of `owners`: one row an `owner` with the `weight` of its events and its `amount`."""
    known = owners.select("owner", "weight", "amount")
    of_one = known.join(made_of.one_tier, on="owner", validate="1:1")
    of_several = known.join(made_of.others, on="owner", validate="1:1")
    return pl.concat([_of_one_tier(of_one), _of_several(of_several)])


def _of_one_tier(owners: pl.DataFrame) -> pl.DataFrame:
    rows = owners.select("owner", "amount", "tier", place=pl.lit(0), to="weight", **{"from": ZERO})
    return rows.select(pl.col(name).cast(dtype) for name, dtype in PIECE.items())


def _of_several(owners: pl.DataFrame) -> pl.DataFrame:
    freed = owners.lazy().with_columns(free=ZERO)
    for place in range(owners["quantities"].list.len().max() or 0):  # type: ignore[arg-type]
        freed = freed.with_columns(free=_free(pl.col("quantities").list.get(place, null_on_oob=True)))
    included = freed.filter(pl.col("free") != 0).select(
        "owner", "weight", pl.lit(None, dtype=pl.Int32).alias("tier"), ZERO.alias("from"), to="free", amount=ZERO
    )
    all_of_them = pl.concat([_part(included), _part(_tiers(freed))])
    is_nothing = (pl.col("from") == pl.col("to")) & (pl.col("amount") == 0)
    is_best = pl.col("from") != pl.col("to")
    kept = all_of_them.filter(~is_nothing | ~(is_best | ~is_nothing).any().over("owner"))
    ordered = kept.sort("owner", pl.col("tier").fill_null(-1)).with_columns(
        place=pl.int_range(pl.len(), dtype=pl.Int32).over("owner")
    )
    return ordered.select(pl.col(name).cast(dtype) for name, dtype in PIECE.items()).collect()


def _part(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.select("owner", "tier", "from", "to", "amount")


def _free(step: pl.Expr) -> pl.Expr:
    """The end of what is included: an allowance takes its part of what the steps before have left."""
    before, after = step.struct.field("before"), step.struct.field("after")
    left = pl.col("weight") - pl.col("free")
    part = quotient(before - after, pl.when(before == 0).then(_ONE).otherwise(before))
    taken = pl.when(before == left).then(before - after).otherwise(product(part, left))
    allows = (step.struct.field("operator") == "allow").fill_null(False)
    return pl.when(allows).then(pl.col("free") + taken).otherwise("free")


def _tiers(freed: pl.LazyFrame) -> pl.LazyFrame:
    rows = freed.rename({"amount": "owed"}).explode("tiers", empty_as_null=True, keep_nulls=True).unnest("tiers")
    ordered = rows.sort("owner", "tier")
    summed = ordered.with_columns(
        filled=pl.col("quantity").cum_sum().over("owner"),
        priced=pl.col("quantity").sum().over("owner"),
        reached=pl.col("amount").cum_sum().over("owner"),
        charged=pl.col("amount").sum().over("owner"),
        is_first=pl.int_range(pl.len()).over("owner") == 0,
        paid=pl.col("weight") - pl.col("free"),
    )
    start = (
        pl.when("is_first")
        .then("free")
        .when(pl.col("priced") == 0)
        .then("weight")
        .otherwise(_edge(pl.col("filled") - pl.col("quantity")))
    )
    owed = _owed(pl.col("reached")) - pl.when("is_first").then(ZERO).otherwise(
        _owed(pl.col("reached") - pl.col("amount"))
    )
    return summed.with_columns(to=_edge(pl.col("filled")), amount=owed, **{"from": start})


def _edge(filled: pl.Expr) -> pl.Expr:
    """The weight at which so much of the priced quantity is filled."""
    priced = pl.when(pl.col("priced") == 0).then(_ONE).otherwise("priced")
    return (
        pl.when(filled == pl.col("priced"))
        .then("weight")
        .when(pl.col("priced") == pl.col("paid"))
        .then(pl.col("free") + filled)
        .otherwise(pl.col("free") + product(quotient(pl.col("paid"), priced), filled))
    )


def _owed(reached: pl.Expr) -> pl.Expr:
    """What is owed up to a tier, of what all tiers were charged: the steps behind them change it in proportion."""
    charged = pl.when(pl.col("charged") == 0).then(_ONE).otherwise("charged")
    part = product(quotient(reached, charged), pl.col("owed"))
    return (
        pl.when(pl.col("charged") == pl.col("owed"))
        .then(reached)
        .when(pl.col("charged") == 0)
        .then("owed")
        .otherwise(part)
    )
