"""Allowances of plans: included units that several prices use, and that may roll over.

    allowed = min(max(units + rolled over - used, 0), quantity)

`used` is what the rows before have used of the same allowance: its prices use it in the order in which the plan lists
them, and each price in the order of time or of its groups. What the prices then charge for is what is left (the step
`allow` of a plan in front of their chains). Worked example: 1,000 minutes for calls at home and abroad, 700 and 500 of
them used: 0 and 200 are priced.

A period's own units are used first, then those that rolled over. So what rolls over is what the period before has not
used of its own units, up to the maximum, for one period: it depends on the usage of that period alone.
"""

from collections.abc import Callable
from typing import Literal

import polars as pl

from rating.core.book import PriceBook
from rating.core.coverage import with_payers
from rating.core.money import ZERO
from rating.core.schema import AMOUNT, PAYER

ROLLED_OVER = pl.Schema({"subscription": pl.String(), "allowance": pl.String(), "rolled_over": AMOUNT})
"""One row is what one subscription takes from the period before into this one's allowance, above zero."""

_ORDER = ["place", "time", "event", "day", "rate", "meter", "group", "size_from"]


def rolls_over(book: PriceBook) -> bool:
    """Whether some allowance rolls over, so that rating a month needs the usage of the month before."""
    return not _rolling(book).is_empty()


def with_allowed(usage: pl.LazyFrame, served: pl.DataFrame, book: PriceBook, before: pl.LazyFrame) -> pl.LazyFrame:
    """`usage` (PRICED_USAGE) with `allowed`: what of each row an allowance of its plan covers; null where none does.

    `served` is SERVICE_PERIOD, `before` ROLLED_OVER.
    """
    if book.plan_allowances.is_empty():
        return usage
    held = _held(usage, served, book, "left").join(before, on=["subscription", "allowance"], how="left", validate="m:1")
    quantity = pl.max_horizontal(pl.col("quantity").cast(AMOUNT), ZERO)
    used = quantity.cum_sum().over("subscription", "allowance", order_by=_ORDER) - quantity
    units = pl.col("units") + pl.col("rolled_over").fill_null(ZERO)
    allowed = pl.min_horizontal(pl.max_horizontal(units - used, ZERO), quantity)
    covered = held.with_columns(allowed=pl.when(pl.col("allowance").is_not_null()).then(allowed))
    return covered.select(*usage.collect_schema().names(), "allowed")


def rolled_over(usage: Callable[[], pl.LazyFrame], served: pl.DataFrame, book: PriceBook) -> pl.LazyFrame:
    """ROLLED_OVER from a period with `usage` (PRICED_USAGE) and `served` (SERVICE_PERIOD) into the next one."""
    if not rolls_over(book):
        return pl.LazyFrame(schema=ROLLED_OVER)
    rolling = _rolling(book).select("plan", "allowance", "units", "rollover_maximum").unique()
    quantity = pl.max_horizontal(pl.col("quantity").cast(AMOUNT), ZERO)
    used = _held(usage(), served, book, "inner").group_by("subscription", "allowance").agg(used=quantity.sum())
    had = served.lazy().select("subscription", "plan").join(rolling.lazy(), on="plan")
    left = had.join(used, on=["subscription", "allowance"], how="left", validate="1:1")
    unused = pl.max_horizontal(pl.col("units") - pl.col("used").fill_null(ZERO), ZERO)
    taken = left.with_columns(rolled_over=pl.min_horizontal(unused, "rollover_maximum").cast(AMOUNT))
    return taken.filter(pl.col("rolled_over") > 0).select(ROLLED_OVER.names())


def _rolling(book: PriceBook) -> pl.DataFrame:
    return book.plan_allowances.filter(pl.col("rollover_maximum") > 0)


def _held(usage: pl.LazyFrame, served: pl.DataFrame, book: PriceBook, how: Literal["inner", "left"]) -> pl.LazyFrame:
    """The rows whose price is in an allowance of their plan (all rows when it is "left"), with PLAN_ALLOWANCE."""
    owned = usage.join(with_payers(served).lazy().select(PAYER, "subscription", "plan"), on=PAYER, validate="m:1")
    return owned.join(book.plan_allowances.lazy(), on=["plan", "price"], how=how, validate="m:1")
