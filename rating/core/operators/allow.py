"""Allow: included usage that is not priced.

    q - min(max(units - used, 0), q) where only `units` are given
    q - q for the first `count` rows where only `count` is given; q where q <= 0
    with both, the smaller of the two is taken off; where `either` is true, the larger

So included usage ends with the limit that is used up first, or last. `used` is what the rows before have used of the
same allowance: rows share one when they agree on `shared_by`, and use it in the order of `order`. Without `shared_by`
every row has its own. Worked example: 1,000 units included in a price that is rated by region; usage of 700 in eu and
500 in us leaves 0 in eu and 200 in us.

Units that are prorated are those of the served part of the period: units x served / whole, rounded half to even at the
9th decimal.
"""

from collections.abc import Sequence

import polars as pl

from rating.core.money import ZERO, part
from rating.core.schema import AMOUNT, PAYER, QUANTITY


def allow(
    rows: pl.LazyFrame,
    parameters: pl.LazyFrame,
    shared_by: Sequence[str] = (),
    order: Sequence[str] = (),
    used_before: str | None = None,
    parts: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """`quantity` of each row becomes what is left of it. `parameters` is ALLOW of one step; null is no limit.
    `used_before` is the column with what was used of the allowance before all these rows; with `parts` (PART) the units
    are prorated."""
    usage = pl.max_horizontal("quantity", ZERO)
    used, place = ZERO, pl.lit(0, dtype=pl.Int64)
    if shared_by:
        used = usage.cum_sum().over(shared_by, order_by=order) - usage
        place = (pl.col("quantity") > 0).cast(pl.Int64).cum_sum().over(shared_by, order_by=order) - 1
    if used_before is not None:
        used = used + pl.col(used_before)
    by_units = pl.min_horizontal(pl.max_horizontal(pl.col("units").fill_null(ZERO) - used, ZERO), usage)
    by_count = pl.when(place < pl.col("count")).then(usage).otherwise(ZERO)
    both = pl.col("units").is_not_null() & pl.col("count").is_not_null() & ~pl.col("either").fill_null(False)
    free = pl.when(both).then(pl.min_horizontal(by_units, by_count)).otherwise(pl.max_horizontal(by_units, by_count))
    joined = rows.join(parameters, on="rate", validate="m:1")
    if parts is not None:
        joined = with_units_of_part(joined, parts)
    return joined.with_columns(quantity=(pl.col("quantity") - free).cast(AMOUNT)).select(rows.collect_schema().names())


def with_units_of_part(rows: pl.LazyFrame, parts: pl.LazyFrame, by: str = "prorate") -> pl.LazyFrame:
    """`units` of each row become those of the part of the period that its payer is served for, counted as column `by`
    says; null: all of them."""
    of_payer = parts.select(PAYER, "served", pl.col("by").alias(by), length="whole")
    joined = rows.join(of_payer, on=[PAYER, by], how="left", validate="m:1")
    units = part(pl.col("units"), pl.col("served"), pl.col("length"), QUANTITY).cast(AMOUNT)
    made = pl.when(pl.col("served").is_null()).then("units").otherwise(units)
    return joined.with_columns(units=made).drop("served", "length")
