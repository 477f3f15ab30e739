"""Price: from the quantity of a tier to its amount.

    quantity x unit_amount / per + flat_amount x flat_count + quantity x percent / 100

`percent` is of the quantity itself: a meter that sums payments is charged 2.9 % of them; a basis point is 0.01. Worked
example: 2,500 tokens at 2.50 for 1,000,000 are 0.00625; a payment of 40 at 2.9 % and a flat 0.30 is 1.46.
"""

from decimal import Decimal

import polars as pl

from rating.core.money import ZERO, product, quotient
from rating.core.schema import AMOUNT

_HUNDRED = pl.lit(Decimal(100), dtype=AMOUNT)


def price(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Add `amount`. `rows` have the columns of TIER, `quantity` and `flat_count`; see `with_amount_of_one`."""
    by_percent = quotient(product(pl.col("quantity"), pl.col("percent")), _HUNDRED)
    flat = product(pl.col("flat_amount"), pl.col("flat_count"))
    return rows.with_columns(amount=_by_unit() + flat + by_percent).drop("amount_of_one")


def with_amount_of_one(tiers: pl.DataFrame) -> pl.DataFrame:
    """Add `amount_of_one` to TIER: what one unit costs, null where that is no exact decimal (0.36 per 3600)."""
    one = quotient(pl.col("unit_amount"), pl.col("per"))
    return tiers.with_columns(amount_of_one=pl.when(product(one, pl.col("per")) == pl.col("unit_amount")).then(one))


def _by_unit() -> pl.Expr:
    """By the amount of one unit where that is exact: the larger product with `unit_amount` might not fit."""
    one = pl.col("amount_of_one")
    endless = pl.when(one.is_null()).then(pl.col("quantity")).otherwise(ZERO)
    return product(pl.col("quantity"), one.fill_null(ZERO)) + quotient(
        product(endless, pl.col("unit_amount")), pl.col("per")
    )
