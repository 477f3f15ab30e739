"""Which grant pays what of which burn, while the order of usable grants stands still.

Lay the burns of a customer end to end, in the order in which they are to be paid, and the balances of the grants end
to end, in the order in which they are burnt. Both begin at zero; where a burn's interval overlaps a grant's, that
grant pays that much of that burn:

    burns    |--- 30 ---|----- 50 -----|-- 20 --|        A pays 30 + 10, B pays 40 + 10, 10 stay unpaid
    grants   |----- A 40 -----|------- B 50 -------|

So one sorted merge of all edges pays every burn of every customer. A grant that may not pay everything (a scope, whole
increments) breaks the row: consecutive grants with the same scope are a run, and the merge is done run by run, the
first run of every customer at once, then the second. That is exact, because a burn asks the grants one after the
other, and a grant serves burns one after the other: what the k-th run pays hangs on the runs before it alone.
"""

import polars as pl

from rating.core.money import ZERO, overflow_checked, product, quotient, started, whole
from rating.core.schema import AMOUNT

ONE = pl.lit(1, dtype=AMOUNT)

PIECE = pl.Schema(
    {
        "row": pl.UInt32(),  # of the burn
        "place": pl.UInt32(),  # of the grant
        "taken": AMOUNT,  # from the grant
        "covered": AMOUNT,  # of the burn
        "balance_before": AMOUNT,  # of the grant
    }
)
"""One row is what one grant pays of one burn."""


def pay(burns: pl.DataFrame, grants: pl.DataFrame, allowed: pl.DataFrame) -> pl.DataFrame:
    """PIECE of everything that `grants` can pay of `burns`.

    `burns` have `row`, `pool`, `target`, `subscription` and `rest` (what is still to be paid, > 0), sorted by row: the
    order in which they are paid, pool by pool. `grants` have `place`, `pool`, `scope`, `only` (a subscription, null for
    all), `left` (> 0), `increment` and `factor`, sorted by place: the order in which they are burnt. `allowed` are the
    pairs of a scope that is limited and a target that it holds; `is_limited` says which are.
    """
    runs = _runs(grants)
    pieces = []
    for number in range(_count(runs)):
        run = runs.filter(pl.col("run") == number)
        taken = _taken(burns, run, allowed)
        pieces.append(_split(taken, run))
        if number + 1 < _count(runs):
            burns = _rest(burns, taken)
    return pl.concat(pieces) if pieces else PIECE.to_frame()


def _count(runs: pl.DataFrame) -> int:
    return 0 if runs.is_empty() else int(runs["run"].max()) + 1  # type: ignore[arg-type]


def _runs(grants: pl.DataFrame) -> pl.DataFrame:
    """The grants with the `run` that they are in, from 0 in each pool; their balance lies in it from `base` on."""
    key = pl.struct("pool", "scope", "only")
    breaks = (key != key.shift()).fill_null(True) | pl.col("increment").is_not_null()
    breaks = breaks | pl.col("increment").shift().is_not_null()
    numbered = grants.with_columns(run=breaks.cast(pl.Int32).cum_sum(), whole=_usable())
    numbered = numbered.with_columns(run=pl.col("run") - pl.col("run").first().over("pool"))
    return numbered.with_columns(base=pl.col("whole").cum_sum().over("pool", "run") - pl.col("whole"))


def _usable() -> pl.Expr:
    """What of a balance can be spent: whole increments."""
    size = product(pl.col("increment"), pl.col("factor").fill_null(ONE))
    stepped = product(whole(pl.col("left"), size), size)
    return pl.when(pl.col("increment").is_null()).then(pl.col("left")).otherwise(stepped)


def _taken(burns: pl.DataFrame, run: pl.DataFrame, allowed: pl.DataFrame) -> pl.DataFrame:
    """One row for each burn that the run pays something of: `taken` from `begin` on, and `covered`."""
    once = [pl.col(name).first() for name in ("scope", "is_limited", "only", "increment", "factor")]
    sums = run.group_by("pool").agg(pl.col("whole").sum().alias("total"), *once)
    met = burns.lazy().join(sums.lazy(), on="pool", how="left", maintain_order="left", validate="m:1")
    met = met.filter(pl.col("total") > 0, pl.col("only").is_null() | (pl.col("only") == pl.col("subscription")))
    if run["is_limited"].any():
        held = allowed.lazy().with_columns(holds=pl.lit(True))
        met = met.join(held, on=["scope", "target"], how="left", maintain_order="left", validate="m:1")
        met = met.filter(~pl.col("is_limited") | pl.col("holds").fill_null(False))
    asking = met.with_columns(asked=_asked()).with_columns(end=pl.col("asked").cum_sum().over("pool"))
    asking = asking.with_columns(begin=pl.col("end") - pl.col("asked"))
    with overflow_checked():
        taken = asking.with_columns(taken=pl.min_horizontal("end", "total") - pl.col("begin")).collect()
    return taken.filter(pl.col("taken") > 0).with_columns(covered=_covered())


def _asked() -> pl.Expr:
    """What a burn takes of a grant."""
    steps = product(started(pl.col("rest"), pl.col("increment")), pl.col("increment"))
    stepped = product(steps, pl.col("factor").fill_null(ONE))
    return pl.when(pl.col("increment").is_null()).then(pl.col("rest")).otherwise(stepped)


def _covered() -> pl.Expr:
    """What of a burn is paid by what is taken: a started increment covers no more than there is."""
    stepped = pl.min_horizontal(quotient(pl.col("taken"), pl.col("factor").fill_null(ONE)), "rest")
    return pl.when(pl.col("increment").is_null()).then(pl.col("taken")).otherwise(stepped).cast(AMOUNT)


def _split(taken: pl.DataFrame, run: pl.DataFrame) -> pl.DataFrame:
    """PIECE: the burns' intervals cut at the grants' edges."""
    steps = pl.col("increment").is_not_null()
    paid = taken.select(
        "pool", at="begin", row="row", end=pl.col("begin") + pl.col("taken"), covers="covered", steps=steps
    )
    met = run.join(taken, on="pool", how="semi")  # so that a pool's first edges are both
    filled = met.select("pool", "place", "base", at="base", balance="left")
    known = ["row", "end", "covers", "steps", "place", "base", "balance"]
    merged = pl.concat([paid.lazy(), filled.lazy()], how="diagonal").sort("pool", "at")
    merged = merged.with_columns(pl.col(known).forward_fill())
    next_edge = pl.when(pl.col("pool") == pl.col("pool").shift(-1)).then(pl.col("at").shift(-1))
    cut = merged.with_columns(to=pl.min_horizontal("end", next_edge)).filter(pl.col("to") > pl.col("at"))
    part = pl.col("to") - pl.col("at")
    pieces = cut.select(
        "row",
        "place",
        taken=part,
        covered=pl.when("steps").then("covers").otherwise(part),  # one grant, so never cut
        balance_before=pl.col("balance") - (pl.col("at") - pl.col("base")),
    )
    return pieces.cast(PIECE).collect()


def _rest(burns: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """The burns with what is left to be paid of them."""
    paid = taken.select("row", "covered")
    left = burns.join(paid, on="row", how="left", maintain_order="left", validate="1:1")
    rest = pl.col("rest") - pl.col("covered").fill_null(ZERO)
    return left.with_columns(rest=rest).drop("covered").filter(pl.col("rest") > 0)
