"""Credit: what prepaid credits in units have paid of each event is not priced.

    q - credited

`credited` says so for each event (rating/core/credits); null is nothing. Worked example: of an event of 30 units, with
20 left in a grant, 10 are priced.
"""

import polars as pl

from rating.core.money import ZERO
from rating.core.schema import AMOUNT


def credit(rows: pl.LazyFrame) -> pl.LazyFrame:
    """`quantity` of each row becomes what is left of it."""
    return rows.with_columns(quantity=(pl.col("quantity") - pl.col("credited").fill_null(ZERO)).cast(AMOUNT))
