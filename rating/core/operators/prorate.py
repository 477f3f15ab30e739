"""Prorate: the part of an amount that the served part of a period owes.

    amount x served / whole

`served` and `whole` are columns of the rows: seconds or days, as the price declares (rating/core/coverage.py). A price
that does not prorate has no such step. Worked example: 30.00 for 31 days, served 10 days, is 9.677419354838709677419.
"""

import polars as pl

from rating.core.money import product, quotient


def prorate(rows: pl.LazyFrame) -> pl.LazyFrame:
    """`amount` of each row becomes its part, rounded half to even at the 21st decimal where it is endless."""
    part = quotient(product(pl.col("amount"), pl.col("served")), pl.col("whole"))
    return rows.with_columns(amount=part)
