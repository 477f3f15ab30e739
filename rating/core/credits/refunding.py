"""What a refund gives back to whom: to the grants that paid a burn, the last one first, no more than they paid.

Worked: A paid 30 of a burn and then B 20. Of 25 that are refunded B gets 20 and A gets 5. A grant in steps of 60 that
gave 120 for 75 seconds gives nothing back for the first 14 of them: 61 still take two steps.
"""

import polars as pl

from rating.core.credits.paying import ONE
from rating.core.money import product, started


def given_back(payments: pl.DataFrame, refunds: pl.DataFrame) -> pl.DataFrame:
    """One row a refund and grant: `refund`, `row`, `place`, and what goes back, `amount`, for `covered` (below zero).

    `payments` are the payments (`covered` above zero) and what went back before (below zero): `row` says of which burn,
    `place` of which grant, with its `increment` and `factor`; `paid` is their order. `refunds` have `refund`, `row` and
    `amount`, and are made in the order of `refund`.
    """
    grant = [pl.col(name).first() for name in ("increment", "factor")]
    net = payments.group_by("row", "place").agg(pl.col("covered").sum(), pl.col("paid").max(), *grant)
    net = net.filter(pl.col("covered") > 0).sort("row", "paid", "place", descending=[False, True, True])
    net = net.with_columns(piece_end=pl.col("covered").cum_sum().over("row"))
    net = net.with_columns(piece_begin=pl.col("piece_end") - pl.col("covered"))
    wanted = refunds.sort("row", "refund").with_columns(end=pl.col("amount").cum_sum().over("row"))
    wanted = wanted.with_columns(begin=pl.col("end") - pl.col("amount")).drop("amount")
    met = wanted.join(net, on="row")
    begin, end = pl.max_horizontal("begin", "piece_begin"), pl.min_horizontal("end", "piece_end")
    kept_before, kept_after = pl.col("piece_end") - begin, pl.col("piece_end") - end
    return met.filter(begin < end).with_columns(
        amount=_cost(kept_before) - _cost(kept_after), covered=kept_after - kept_before
    )


def _cost(covered: pl.Expr) -> pl.Expr:
    """What a grant gives to cover so much of a burn."""
    steps = product(started(covered, pl.col("increment")), pl.col("increment"))
    stepped = product(steps, pl.col("factor").fill_null(ONE))
    return pl.when(pl.col("increment").is_null()).then(covered).otherwise(stepped)
