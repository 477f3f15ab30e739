"""Allow: included usage that is not priced.

    q - min(max(units - used, 0), q) where only `units` are given
    q - q for the first `count` rows where only `count` is given; q where q <= 0
    with both, the smaller of the two is taken off; where `either` is true, the larger

So included usage ends with the limit that is used up first, or last. `used` is what the rows before have used of the
same allowance: rows share one when they agree on `shared_by`, and use it in the order of `order`. Without `shared_by`
every row has its own. Worked example: 1,000 units included in a price that is rated by region; usage of 700 in eu and
500 in us leaves 0 in eu and 200 in us.
"""

from collections.abc import Sequence

import polars as pl

from rating.core.money import ZERO
from rating.core.schema import AMOUNT


def allow(
    rows: pl.LazyFrame, parameters: pl.LazyFrame, shared_by: Sequence[str] = (), order: Sequence[str] = ()
) -> pl.LazyFrame:
    """`quantity` of each row becomes what is left of it. `parameters` is ALLOW of one step; null is no limit."""
    usage = pl.max_horizontal("quantity", ZERO)
    used, place = ZERO, pl.lit(0, dtype=pl.Int64)
    if shared_by:
        used = usage.cum_sum().over(shared_by, order_by=order) - usage
        place = (pl.col("quantity") > 0).cast(pl.Int64).cum_sum().over(shared_by, order_by=order) - 1
    by_units = pl.min_horizontal(pl.max_horizontal(pl.col("units").fill_null(ZERO) - used, ZERO), usage)
    by_count = pl.when(place < pl.col("count")).then(usage).otherwise(ZERO)
    both = pl.col("units").is_not_null() & pl.col("count").is_not_null() & ~pl.col("either").fill_null(False)
    free = pl.when(both).then(pl.min_horizontal(by_units, by_count)).otherwise(pl.max_horizontal(by_units, by_count))
    joined = rows.join(parameters, on="rate", validate="m:1")
    return joined.with_columns(quantity=(pl.col("quantity") - free).cast(AMOUNT)).select(rows.collect_schema().names())
