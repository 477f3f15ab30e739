"""Partition: which usage is priced together, and which apart.

What a price is rated by (its groups) and whether each day is rated alone are keys of the rows before any operator runs:
matching.py makes them. `largest` below prices the largest row of several alone: the others keep their line, and
nothing of them is priced. Worked example: peak rates by site, 40 in A, 70 in B, largest only: 70 is priced, and 0 in A.
"""

from collections.abc import Sequence

import polars as pl

from rating.core.money import ZERO


def largest(
    rows: pl.LazyFrame, together: Sequence[str], order: Sequence[str], column: str = "quantity"
) -> pl.LazyFrame:
    """Of the rows that agree on `together`, all but the one with the largest `column` have nothing of it left; among
    equals the first by `order` is the one."""
    value = pl.col(column)
    is_largest = value == value.max().over(together)
    earlier = is_largest.cast(pl.Int64).cum_sum().over(together, order_by=list(order)) - 1
    return rows.with_columns(pl.when(is_largest & (earlier == 0)).then(value).otherwise(ZERO).alias(column))
