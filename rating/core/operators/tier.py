"""Tier: which part of a quantity falls into which tier.

Tiers are (from, to] in every mode: a quantity of exactly `to` belongs to that tier, fractions never fall between tiers,
the last tier is open (DESIGN section 4). What is below zero belongs to the first tier.

| mode       | rows that come out                        | quantity              | flat amount is paid     |
|------------|-------------------------------------------|-----------------------|-------------------------|
| graduated  | one for each tier that is reached         | the part inside it    | once for each of them   |
| volume     | the tier that the basis falls in          | all of it             | once                    |
| cliff      | the tier that the size of the event is in | all of it             | once for each event     |

Where a tier has a `flat_per`, its flat amount is paid for each started `flat_per` of its quantity, in every mode:
blocks. Rows that choose their volume tier together pay its flat amount once, with the first of them.

A graduated row fills the tiers from `filled` on: what others have filled before it. `basis` is the quantity that
chooses the tier of a volume price: the row's own, or that of several rows together. Worked example: 2,500 in tiers up
to 100, up to 1,000 and open is 100 + 900 + 1,500 graduated, and 2,500 in the third tier by volume; 700 behind 600 is
400 + 300.
"""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from rating.core.money import ZERO, started
from rating.core.schema import AMOUNT

_ONE = pl.lit(Decimal(1), dtype=AMOUNT)


def tier(rows: pl.LazyFrame, tiers: pl.LazyFrame, modes: pl.LazyFrame, once: Sequence[str]) -> pl.LazyFrame:
    """Split each row over the tiers of its rate: the columns of TIER beside it, and `flat_count`.

    `rows` have `quantity`, `filled`, `basis`, `size_from`; `tiers` is TIER; `modes` has `rate`, `tier_mode` and
    `flat_when_unused` (whether usage of zero still pays the first tier's flat amount). The tier quantities of a row add
    up to its quantity. A row of nothing keeps the tier that it would begin in, so that usage of zero is still a line.
    The columns `once` stay with the first of a row's tiers, and are zero in the others.
    """
    split = rows.rename({"quantity": "whole"}).join(modes, on="rate", validate="m:1").join(tiers, on="rate")
    lowest = pl.min_horizontal("filled", pl.col("filled") + pl.col("whole"))
    highest = pl.max_horizontal("filled", pl.col("filled") + pl.col("whole"))
    reached = split.with_columns(lowest=lowest, highest=highest).filter(_reached())
    counted = reached.with_columns(*map(_once, once), quantity=_part(), flat_count=_flat_count())
    return counted.drop("whole", "filled", "basis", "lowest", "highest", "tier_mode", "flat_when_unused")


def _is_in(quantity: pl.Expr) -> pl.Expr:
    """Whether a quantity is in (from, to]; zero and less are in the first tier."""
    upper = pl.col("to_quantity")
    return ((pl.col("tier") == 0) | (quantity > pl.col("from_quantity"))) & (upper.is_null() | (quantity <= upper))


def _begins_here() -> pl.Expr:
    """Whether the interval (lowest, highest] begins in the tier."""
    above = (pl.col("tier") == 0) | (pl.col("lowest") >= pl.col("from_quantity"))
    return above & (pl.col("to_quantity").is_null() | (pl.col("lowest") < pl.col("to_quantity")))


def _reached() -> pl.Expr:
    size_from, lower, upper = (pl.col(c) for c in ("size_from", "from_quantity", "to_quantity"))
    size_falls_in = (size_from >= lower) & (upper.is_null() | (size_from < upper))  # the bucket's lower, exclusive edge
    goes_through = (pl.col("highest") > lower) & (upper.is_null() | (pl.col("lowest") < upper))
    return (
        pl.when(pl.col("tier_mode") == "volume")
        .then(_is_in(pl.col("basis")))
        .when(pl.col("tier_mode") == "cliff")
        .then(size_falls_in)
        .otherwise(goes_through | _begins_here())
    )


def _part() -> pl.Expr:
    top = pl.min_horizontal("highest", "to_quantity")  # a null `to_quantity` is ignored: the open tier
    bottom = pl.when(pl.col("tier") == 0).then(pl.col("lowest")).otherwise(pl.max_horizontal("lowest", "from_quantity"))
    part = pl.when(pl.col("whole") < 0).then(bottom - top).otherwise(top - bottom)
    return pl.when(pl.col("tier_mode") == "graduated").then(part).otherwise(pl.col("whole")).cast(AMOUNT)


def _flat_count() -> pl.Expr:
    entered = (pl.col("lowest") <= pl.col("from_quantity")) & (pl.col("highest") > pl.col("from_quantity"))
    direction = pl.when(pl.col("whole") < 0).then(-_ONE).otherwise(_ONE)
    unused = pl.col("flat_when_unused") & (pl.col("tier") == 0) & (pl.col("highest") <= 0) & (pl.col("filled") == 0)
    graduated = pl.when(entered).then(direction).when(unused).then(_ONE).otherwise(ZERO)
    is_first = (pl.col("whole") > 0) & (pl.col("filled") == 0)
    whole = pl.when(is_first | pl.col("flat_when_unused")).then(_ONE).otherwise(ZERO)
    return (
        pl.when(pl.col("flat_per").is_not_null())
        .then(started(_part(), pl.col("flat_per").fill_null(_ONE)))
        .when(pl.col("tier_mode") == "graduated")
        .then(graduated)
        .when(pl.col("tier_mode") == "cliff")
        .then(pl.col("events").cast(AMOUNT))
        .otherwise(whole)
    )


def _once(column: str) -> pl.Expr:
    repeats = (pl.col("tier_mode") == "graduated") & ~_begins_here()
    return pl.when(~repeats).then(pl.col(column)).otherwise(0).alias(column)
