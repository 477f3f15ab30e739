"""From what an aggregation comes to, to the metered quantity: one division, rounded once.

    quantity = round(number x times / divide_by)

An average divides by its events as well, an average level by the length of the billing period. The division is of whole
numbers, so rounding sees the true quotient: 5.0000000001 rounded up to whole units is 6. Without a rounding of the
meter's own a quantity has 9 decimals, half even.
"""

from decimal import Decimal

import polars as pl

from rating.core.book import EXACTLY, Meter
from rating.core.coverage import PERIOD_LENGTH
from rating.core.money import ratio
from rating.core.schema import QUANTITY


def is_exact(meter: Meter) -> bool:
    """Whether the metered quantity is what the aggregation comes to: nothing is divided or rounded."""
    return meter.conversion == EXACTLY and meter.aggregation != "average" and not meter.of_period


def converted(rows: pl.LazyFrame, meter: Meter) -> pl.LazyFrame:
    """Rows with `quantity` and `events`, and PERIOD_LENGTH where the meter is `of_period`, in the unit of the meter."""
    if is_exact(meter):
        return rows
    conversion = meter.conversion
    divisor = pl.lit(Decimal(conversion.divide_by), dtype=QUANTITY)
    if meter.aggregation == "average":
        divisor = divisor * pl.col("events").cast(QUANTITY)
    if meter.of_period:
        divisor = divisor * pl.col(PERIOD_LENGTH).cast(QUANTITY)
    number = pl.col("quantity") * pl.lit(Decimal(conversion.times), dtype=QUANTITY)
    return rows.with_columns(quantity=ratio(number, divisor, conversion.mode, conversion.decimals))
