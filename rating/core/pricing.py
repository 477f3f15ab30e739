"""From priced usage to tier amounts: every pricing model in one pass, chosen by the `model` column.

Tiers are (from, to] in every model: a quantity of exactly `to` belongs to that tier, fractions never fall between
tiers, the last tier is open (DESIGN section 4). What is not above zero belongs to the first tier.

| model       | quantity of a tier                      | flat amount is paid          |
|-------------|-----------------------------------------|------------------------------|
| per_unit    | all of it                               | -                            |
| graduated   | the part of it inside the tier          | once for each tier reached   |
| volume      | all of it, in the tier it falls in      | once                         |
| package     | all of it; started packages are paid    | once for each package        |
| per_request | events whose size falls in the tier     | once for each event          |
| flat        | none                                    | once                         |
"""

from decimal import Decimal

import polars as pl

from rating.core.money import ZERO, product, quotient, started
from rating.core.schema import AMOUNT, QUANTITY

TIER_AMOUNT = pl.Schema(
    {
        "tier": pl.Int32(),
        "from_quantity": QUANTITY,
        "to_quantity": QUANTITY,
        "quantity": QUANTITY,  # of the usage, that this tier prices
        "unit_amount": AMOUNT,  # for `per` units
        "per": pl.Int64(),
        "flat_amount": AMOUNT,
        "flat_count": AMOUNT,  # how many times the flat amount is paid
        "amount": AMOUNT,  # quantity x unit_amount / per + flat_amount x flat_count
    }
)
"""One row is what one tier contributes to a charge line."""

_NOTHING = pl.lit(Decimal(0), dtype=QUANTITY)


def tier_amounts(usage: pl.LazyFrame, rates: pl.DataFrame, tiers: pl.DataFrame, prices: pl.DataFrame) -> pl.LazyFrame:
    """Split each row of `usage` (PRICED_USAGE) over the tiers of its rate and price every part: TIER_AMOUNT beside it.

    For each usage row the tier quantities add up to its quantity. A row whose quantity reaches no tier keeps its
    first tier, so that usage of zero is still a line.
    """
    models = rates.join(prices, on="price", validate="m:1").select("rate", "model", "package_size").lazy()
    parts = _with_amount_of_one(tiers, rates).lazy()
    split = usage.rename({"quantity": "usage_quantity"}).join(models, on="rate", validate="m:1").join(parts, on="rate")
    reached = split.filter(_reached()).with_columns(quantity=_tier_quantity())
    return reached.with_columns(flat_count=_flat_count()).with_columns(amount=_amount())


def _reached() -> pl.Expr:
    quantity, size_from, lower, upper = (
        pl.col(c) for c in ("usage_quantity", "size_from", "from_quantity", "to_quantity")
    )
    open_or = upper.is_null()
    first_tier = pl.col("tier") == 0
    falls_in = (first_tier | (quantity > lower)) & (open_or | (quantity <= upper))
    size_falls_in = (size_from >= lower) & (open_or | (size_from < upper))  # by the bucket's lower, exclusive edge
    return (
        pl.when(pl.col("model") == "volume")
        .then(falls_in)
        .when(pl.col("model") == "per_request")
        .then(size_falls_in)
        .otherwise(first_tier | (quantity > lower))
    )


def _tier_quantity() -> pl.Expr:
    top = pl.min_horizontal("usage_quantity", "to_quantity")  # a null `to_quantity` is ignored: the open tier
    part = pl.when(pl.col("tier") == 0).then(top).otherwise(top - pl.col("from_quantity"))
    return pl.when(pl.col("model") == "graduated").then(part).otherwise(pl.col("usage_quantity"))


def _flat_count() -> pl.Expr:
    once = pl.when(pl.col("quantity") > 0).then(pl.lit(Decimal(1), dtype=AMOUNT)).otherwise(ZERO)
    return (
        pl.when(pl.col("model") == "package")
        .then(started(pl.col("quantity"), pl.col("package_size")))
        .when(pl.col("model") == "per_request")
        .then(pl.col("events").cast(AMOUNT))
        .otherwise(once)
    )


def _with_amount_of_one(tiers: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Add `per` and `amount_of_one`: what one unit costs, null where that is no exact decimal (0.36 per 3600)."""
    priced = tiers.join(rates.select("rate", "per"), on="rate", validate="m:1")
    one = quotient(pl.col("unit_amount"), pl.col("per"))
    return priced.with_columns(amount_of_one=pl.when(product(one, pl.col("per")) == pl.col("unit_amount")).then(one))


def _amount() -> pl.Expr:
    """By the amount of one unit where that is exact: the larger product with `unit_amount` might not fit."""
    one = pl.col("amount_of_one")
    by_one = product(pl.col("quantity"), one.fill_null(ZERO))
    endless = pl.when(one.is_null()).then(pl.col("quantity")).otherwise(_NOTHING)
    by_many = quotient(product(endless, pl.col("unit_amount")), pl.col("per"))
    return by_one + by_many + product(pl.col("flat_amount"), pl.col("flat_count"))
