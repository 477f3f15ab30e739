"""Restating: what is still to be billed of periods that were billed before, rated again as they are known now.

    posted = lines now - what was billed of them

Lines are known again by their id, which says what they are for and not what they came to (lines.py, IDENTITY). A line
that was never billed is posted as it is: most of what a run posts. One that was billed and has become more or less, or
is gone, is posted as an adjustment: the difference of quantity and of amounts, with the line that it adjusts. What was
billed of a line is the line and all its adjustments so far, so that they always sum to what the line is now.

Payments by credits are not restated: what a grant has paid stays paid. Worked example: a fee of 31.00 was billed in
advance, and the plan ended after ten days: an adjustment of -21.00 leaves 10.00.
"""

import polars as pl

from rating.core.lines import CHARGE_LINE, ordered, with_line_ids
from rating.core.money import grouped_sum, plain_text

_SUMS = ["quantity", "amount", "rounded_amount"]
_BILLED = [f"billed_{name}" for name in _SUMS]
RESTATED = "restate"
"""The operator of an adjustment: from what was billed to what the line is now."""


def posted(now: pl.DataFrame, billed: pl.DataFrame) -> pl.DataFrame:
    """CHARGE_LINE to be posted, in LINE_ORDER, so that `billed` (CHARGE_LINE, of all runs that closed something) and
    they sum to `now` (CHARGE_LINE of the same billing periods)."""
    paid = now.filter(pl.col("kind") == "credit")
    owed = now.filter(pl.col("kind") != "credit")
    known = billed.filter(pl.col("kind") != "credit")
    if known.is_empty():
        return ordered(now)
    new = owed.join(known, left_on="line", right_on=pl.coalesce("adjusts", "line"), how="anti")
    return ordered(pl.concat([new, paid, _adjustments(owed, known)]))


def _adjustments(owed: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """One row for each billed line that is another one now."""
    both = _sums_of_billed(known).join(owed, on="line", how="left", suffix="_now", validate="1:1")
    now = {name: pl.col(f"{name}_now").fill_null(0) for name in (*_SUMS, "events")}
    changes = {name: (now[name] - pl.col(f"billed_{name}")).cast(CHARGE_LINE[name]) for name in now}
    differs = pl.any_horizontal(now[name] != pl.col(f"billed_{name}") for name in _SUMS)
    operation = pl.struct(
        operator=pl.lit(RESTATED),
        level=pl.lit("line"),
        on=pl.lit("amount"),
        before="billed_amount",
        after=now["amount"],
        numbers=pl.struct(
            billed_quantity=plain_text(pl.col("billed_quantity")),
            billed_rounded=plain_text(pl.col("billed_rounded_amount")),
            quantity=plain_text(pl.col("quantity_now_known")),
        ).struct.json_encode(),
    )
    rows = (
        both.with_columns(quantity_now_known=now["quantity"])
        .filter(differs)
        .with_columns(
            kind=pl.lit("adjustment"),
            adjusts="line",
            adjustment="adjustments",
            tiers=pl.lit([], dtype=CHARGE_LINE["tiers"]),
            operations=pl.concat_list(operation),
            **changes,
        )
    )
    columns = [pl.col(name).cast(dtype) for name, dtype in CHARGE_LINE.items() if name != "line"]
    return with_line_ids(rows.lazy().select(columns)).select(CHARGE_LINE.names()).collect()


def _sums_of_billed(known: pl.DataFrame) -> pl.DataFrame:
    """Each billed line with the sums of it and its adjustments, and how many `adjustments` there are."""
    target = known.with_columns(target=pl.coalesce("adjusts", "line"))
    events = pl.col("events").sum().alias("billed_events")
    count = pl.col("adjusts").is_not_null().sum().cast(pl.Int32).alias("adjustments")
    renamed = target.lazy().with_columns(pl.col(name).alias(f"billed_{name}") for name in _SUMS)
    sums = grouped_sum(renamed, ["target"], _BILLED, events, count)
    first = target.filter(pl.col("adjusts").is_null()).drop("target")
    return first.lazy().join(sums, left_on="line", right_on="target", validate="1:1").collect()
