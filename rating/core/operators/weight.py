"""Weight: from the metered quantity to the quantity that is priced.

In this order, each by itself the identity when its parameter is null:

    q * factor / divide_by                      units of another kind, cells that count more than others
    whole packages                              `rounding`: up (a started one is whole), down, none (the exact part)
    first + ceil((q - first) / increment) * increment, and 0 for q <= 0
    f + ceil((q - f) / i) * i                   the same with `increments`: i of the last `increments_from` f below q
    min(max(q, minimum), maximum), and 0 stays 0

Increments are closed-form: 100 GB in steps of one byte are one division. Worked example: a call of 75 seconds at 60/60
is 120 seconds; at 30/6, increments of 30 from 0 and of 6 from 30, it is 30 + 8 x 6 = 78.

Where an event is rated in parts (core/bands_split.py), increments are counted from its beginning, and one that was
begun belongs to the part in which it begins: a part goes from where the parts before have got to, up to the increment
that its own end falls in. Worked example: 60/60, a cut after 30 and the end after 90 seconds: both parts are 60.
"""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from rating.core.money import ZERO, product, quotient, started, whole
from rating.core.schema import AMOUNT

_ONE = pl.lit(Decimal(1), dtype=AMOUNT)


BEGINS = "begins"
"""The column with the quantity of the same event before this part of it; absent where no event has parts."""


def weight(
    rows: pl.LazyFrame,
    parameters: pl.DataFrame,
    carried: str | None = None,
    instead: bool = False,
    part_of: Sequence[str] = (),
) -> pl.LazyFrame:
    """`quantity` of each row becomes the weighted one. `parameters` is WEIGHT of one step; `carried` is a column of the
    rows that is a factor too, such as a rate that the event brings along, or that takes the place of the quantity
    (`instead`), such as an amount that it brings along; absent it counts as zero. Rows that agree on `part_of` are the
    parts of one event.

    Exact while the decimals of quantity and factors add up to 21, and but for `divide_by` without rounding.
    """
    columns = rows.collect_schema().names()
    joined = rows.join(parameters.lazy(), on="rate", validate="m:1")
    if carried is not None:
        brought = pl.col(carried).fill_null(0).cast(AMOUNT)
        joined = joined.with_columns(quantity=brought if instead else product(pl.col("quantity"), brought))
    steps = joined.with_columns(quantity=product(pl.col("quantity"), pl.col("factor").fill_null(_ONE)))
    steps = steps.with_columns(quantity=_divided())
    incremented = _of_parts if part_of and BEGINS in columns else _whole
    steps = steps.with_columns(quantity=_first_and_next())
    return incremented(steps, _depth(parameters), part_of).with_columns(quantity=_bounded()).select(columns)


def _depth(parameters: pl.DataFrame) -> int:
    """How many increments follow each other at most."""
    longest = parameters["increments_from"].list.len().max()
    return int(longest) if isinstance(longest, int) else 0


def _whole(rows: pl.LazyFrame, depth: int, part_of: Sequence[str]) -> pl.LazyFrame:
    return rows.with_columns(quantity=_incremented("quantity", depth))


def _of_parts(rows: pl.LazyFrame, depth: int, part_of: Sequence[str]) -> pl.LazyFrame:
    """From where the parts before have got to, up to the increment in which the part ends."""
    until = rows.with_columns(until=(pl.col("quantity") + pl.col(BEGINS).fill_null(ZERO)).cast(AMOUNT))
    reached = until.with_columns(reached=_incremented("until", depth)).with_columns(
        reached=pl.col("reached").cum_max().over(part_of, order_by="time")
    )
    before = pl.col("reached").shift(1).over(part_of, order_by="time")
    begins = pl.coalesce(before, _incremented(BEGINS, depth)).fill_null(ZERO).cast(AMOUNT)
    placed = reached.with_columns(begins.alias(BEGINS))
    rated = pl.max_horizontal(pl.col("reached") - pl.col(BEGINS), ZERO)
    return placed.with_columns(quantity=pl.when(pl.col("quantity") < 0).then(pl.col("quantity")).otherwise(rated))


def _divided() -> pl.Expr:
    quantity, size = pl.col("quantity"), pl.col("divide_by").fill_null(_ONE)
    return (
        pl.when(pl.col("rounding") == "up")
        .then(started(quantity, size))
        .when(pl.col("rounding") == "down")
        .then(whole(quantity, size))
        .otherwise(quotient(quantity, size))
    )


def _first_and_next() -> pl.Expr:
    """First and next increments, such as 60/60 and 30/6."""
    quantity = pl.col("quantity")
    first, increment = pl.col("first").fill_null(ZERO), pl.col("increment")
    beyond = pl.max_horizontal(quantity - first, ZERO)
    steps = (
        pl.when(increment.is_null())
        .then(beyond)
        .otherwise(product(started(beyond, increment.fill_null(_ONE)), increment))
    )
    stepped = pl.when(quantity > 0).then(first + steps).otherwise(ZERO)
    return pl.when(pl.col("first").is_null() & increment.is_null()).then(quantity).otherwise(stepped)


def _incremented(column: str, depth: int) -> pl.Expr:
    """A quantity with its last increment whole; what is below zero stays."""
    quantity = pl.col(column).cast(AMOUNT)
    stepped = quantity
    for place in range(depth):
        start = pl.col("increments_from").list.get(place, null_on_oob=True)
        size = pl.col("increments").list.get(place, null_on_oob=True)
        steps = product(started(quantity - start, size.fill_null(_ONE)), size)
        stepped = pl.when(quantity > start).then(start + pl.coalesce(steps, quantity - start)).otherwise(stepped)
    return stepped


def _bounded() -> pl.Expr:
    quantity = pl.col("quantity")
    bounded = pl.min_horizontal(pl.max_horizontal(quantity, "minimum"), "maximum")  # a null bound is ignored
    return pl.when(quantity > 0).then(bounded).otherwise(quantity)
