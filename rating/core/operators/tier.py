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

Tiers that are prorated are those of the served part of the period: their bounds x served / whole, rounded half to even
at the 9th decimal, and their flat amounts x served / whole.

A graduated row fills the tiers from `filled` on: what others have filled before it. `basis` is the quantity that
chooses the tier of a volume price: the row's own, or that of several rows together. Worked example: 2,500 in tiers up
to 100, up to 1,000 and open is 100 + 900 + 1,500 graduated, and 2,500 in the third tier by volume; 700 behind 600 is
400 + 300.

Where tiers go on behind what was metered `earlier` in a window, that has filled them too, and it counts for the tier of
a volume price: the first row behind it pays the flat amount of its tier less that of the tier that `earlier` is in,
both as its own version has them. Worked example: stairs of 10.00 up to 100 and 50.00 above, 80 and then 40: 10.00, and
then 50.00 - 10.00.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import cache

import polars as pl

from rating.core.money import ZERO, part, started
from rating.core.schema import AMOUNT, PAYER, QUANTITY

MODE = ("tier_mode", "flat_when_unused", "tiers_by")
"""The columns of RATE that say how tiers are filled: whether usage of zero still pays the flat amount of the first one,
and how tiers are prorated."""

_ONE = pl.lit(Decimal(1), dtype=AMOUNT)


def tier(
    rows: pl.LazyFrame,
    tiers: pl.LazyFrame,
    once: Sequence[str],
    parts: pl.LazyFrame | None = None,
    *,
    goes_on: bool = False,
) -> pl.LazyFrame:
    """Split each row over the tiers of its rate: the columns of TIER beside it, and `flat_count`.

    `rows` have `quantity`, `filled`, `basis`, `size_from`; `tiers` is TIER with MODE. The tier quantities of a row add
    up to its quantity. A row of nothing keeps the tier that it would begin in, so that usage of zero is still a line.
    The columns `once` stay with the first of a row's tiers, and are zero in the others. With `parts` (PART) the tiers
    are prorated. With `goes_on`, `filled` and `basis` of rows contain their `earlier`.
    """
    split = rows.rename({"quantity": "whole"}).join(tiers, on="rate")
    if parts is not None:
        split = _prorated(split, parts)
    lowest = pl.min_horizontal("filled", pl.col("filled") + pl.col("whole"))
    highest = pl.max_horizontal("filled", pl.col("filled") + pl.col("whole"))
    placed = split.with_columns(lowest=lowest, highest=highest)
    if goes_on:
        counted = _behind(placed, once)
    else:
        columns = [_once(name, _repeats()) for name in once]
        counted = placed.filter(_reached()).with_columns(
            *columns, quantity=_part(), flat_count=_flat_count(_paid_once())
        )
    return counted.drop("whole", "filled", "basis", "lowest", "highest", *MODE)


def _behind(placed: pl.LazyFrame, once: Sequence[str]) -> pl.LazyFrame:
    """The tiers that rows reach, and those of a volume price that they leave."""
    counted = placed.filter(_reached() | _is_left()).with_columns(
        *(_once(name, _repeats() | ~_reached()) for name in once),
        quantity=pl.when(_reached()).then(_part()).otherwise(ZERO),
        flat_count=_flat_count(_change_of_flat()),
    )
    return counted.drop("earlier")


def _prorated(split: pl.LazyFrame, parts: pl.LazyFrame) -> pl.LazyFrame:
    """Rows beside their tiers, which become those of the part of the period that each is served for."""
    of_payer = parts.select(PAYER, "served", tiers_by="by", length="whole")
    joined = split.join(of_payer, on=[PAYER, "tiers_by"], how="left", validate="m:1")
    served, length = pl.col("served"), pl.col("length")
    bounds = {name: part(pl.col(name), served, length, QUANTITY) for name in ("from_quantity", "to_quantity")}
    made = {**bounds, "flat_amount": part(pl.col("flat_amount"), served, length)}
    changed = {name: pl.when(served.is_null()).then(pl.col(name)).otherwise(value) for name, value in made.items()}
    return joined.with_columns(**changed).drop("served", "length")


def _is_in(quantity: pl.Expr) -> pl.Expr:
    """Whether a quantity is in (from, to]; zero and less are in the first tier."""
    upper = pl.col("to_quantity")
    return ((pl.col("tier") == 0) | (quantity > pl.col("from_quantity"))) & (upper.is_null() | (quantity <= upper))


@cache
def _begins_here() -> pl.Expr:
    """Whether the interval (lowest, highest] begins in the tier."""
    above = (pl.col("tier") == 0) | (pl.col("lowest") >= pl.col("from_quantity"))
    return above & (pl.col("to_quantity").is_null() | (pl.col("lowest") < pl.col("to_quantity")))


@cache
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


@cache
def _part() -> pl.Expr:
    top = pl.min_horizontal("highest", "to_quantity")  # a null `to_quantity` is ignored: the open tier
    bottom = pl.when(pl.col("tier") == 0).then(pl.col("lowest")).otherwise(pl.max_horizontal("lowest", "from_quantity"))
    part = pl.when(pl.col("whole") < 0).then(bottom - top).otherwise(top - bottom)
    return pl.when(pl.col("tier_mode") == "graduated").then(part).otherwise(pl.col("whole")).cast(AMOUNT)


@cache
def _paid_once() -> pl.Expr:
    """How many times a volume row pays the flat amount of its tier."""
    is_first = (pl.col("whole") > 0) & (pl.col("filled") == 0)
    return pl.when(is_first | pl.col("flat_when_unused")).then(_ONE).otherwise(ZERO)


@cache
def _begins_behind() -> pl.Expr:
    """Whether a row is the first one behind what was metered earlier."""
    return (pl.col("whole") > 0) & (pl.col("filled") == pl.col("earlier"))


@cache
def _is_left() -> pl.Expr:
    """Whether a volume row leaves the tier that what was metered earlier is in, and whose flat amount was paid."""
    leaves = _begins_behind() & (pl.col("earlier") > 0) & _is_in(pl.col("earlier"))
    return (pl.col("tier_mode") == "volume") & leaves


@cache
def _change_of_flat() -> pl.Expr:
    """The same behind what was metered earlier: for the tier that is reached, less that for the one that is left."""
    reached = pl.when(_begins_behind() & _is_in(pl.col("basis"))).then(_ONE).otherwise(ZERO)
    return reached - pl.when(_is_left()).then(_ONE).otherwise(ZERO)


def _flat_count(of_volume: pl.Expr) -> pl.Expr:
    entered = (pl.col("lowest") <= pl.col("from_quantity")) & (pl.col("highest") > pl.col("from_quantity"))
    direction = pl.when(pl.col("whole") < 0).then(-_ONE).otherwise(_ONE)
    unused = pl.col("flat_when_unused") & (pl.col("tier") == 0) & (pl.col("highest") <= 0) & (pl.col("filled") == 0)
    graduated = pl.when(entered).then(direction).when(unused).then(_ONE).otherwise(ZERO)
    return (
        pl.when(pl.col("flat_per").is_not_null())
        .then(started(_part(), pl.col("flat_per").fill_null(_ONE)))
        .when(pl.col("tier_mode") == "graduated")
        .then(graduated)
        .when(pl.col("tier_mode") == "cliff")
        .then(pl.col("events").cast(AMOUNT))
        .otherwise(of_volume)
    )


@cache
def _repeats() -> pl.Expr:
    """Whether the tier is not the first one of its row."""
    return (pl.col("tier_mode") == "graduated") & ~_begins_here()


def _once(column: str, repeats: pl.Expr) -> pl.Expr:
    return pl.when(~repeats).then(pl.col(column)).otherwise(0).alias(column)
