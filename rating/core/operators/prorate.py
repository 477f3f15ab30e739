"""Prorate: the part of an amount that the served part of a period owes.

    amount x served / whole

`served` and `whole` are of the payer, counted as the price declares (rating/core/proration.py). A price that does not
prorate has no such step. Worked example: 30.00 for 31 days, served 10 days, is 9.677419354838709677419.
"""

import polars as pl

from rating.core.money import part
from rating.core.schema import PAYER

SHOWN = "prorated"
"""What a row was prorated by, as a JSON object of strings."""


def prorate(rows: pl.LazyFrame, parameters: pl.LazyFrame, parts: pl.LazyFrame) -> pl.LazyFrame:
    """`amount` of each row becomes its part, rounded half to even at the 21st decimal where it is endless; with SHOWN.
    `parameters` is PRORATE of one step, `parts` PART."""
    joined = rows.join(parameters, on="rate", validate="m:1").join(parts, on=[PAYER, "by"], validate="m:1")
    shown = pl.struct("by", pl.col("served", "whole").cast(pl.String)).struct.json_encode()
    amount = part_of(pl.col("amount"))
    return joined.with_columns(shown.alias(SHOWN), amount=amount).select(*rows.collect_schema().names(), SHOWN)


def part_of(amount: pl.Expr) -> pl.Expr:
    """`amount` x `served` / `whole`."""
    return part(amount, pl.col("served"), pl.col("whole"))
