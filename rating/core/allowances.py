"""Allowances of plans: included units that several prices use, and that may roll over.

    allowed = min(max(units + rolled over - used, 0), quantity)

`used` is what the rows before have used of the same allowance: its prices use it in the order in which the plan lists
them, and each price in the order of time or of its groups. What the prices then charge for is what is left (the step
`allow` of a plan in front of their chains). Worked example: 1,000 minutes for calls at home and abroad, 700 and 500 of
them used: 0 and 200 are priced.

Units may be prorated: units x served / whole, rounded half to even at the 9th decimal, of each stretch of a period.
They may be for a window longer than the billing period (windows.py): then `used` is what it has used so far.

A period's own units are used first, then those that rolled over. So what rolls over is what the period before has not
used of its own units, up to the maximum, for one period: it depends on the usage of that period alone.
"""

from typing import Literal

import polars as pl

from rating.core.book import PriceBook, of_book
from rating.core.money import ZERO
from rating.core.operators.allow import with_units_of_part
from rating.core.proration import parts_of_periods
from rating.core.schema import AMOUNT, INSTANT, PAYER
from rating.core.service_periods import usage_payers
from rating.core.windows import PLAN_EARLIER, PLAN_UNITS, Windows

ROLLED_OVER = pl.Schema(
    {
        "subscription": pl.String(),
        "item": pl.String(),
        "period_start": INSTANT,  # of the period that it is taken into
        "allowance": pl.String(),
        "rolled_over": AMOUNT,
    }
)
"""One row is what one item of a subscription takes from the period before into an allowance, above zero."""

_PERIOD = ["subscription", "item", "period_start"]
_WINDOW = ["window_interval", "window_intervals"]
_ORDER = ["place", "time", "event", "day", "rate", "meter", "group", "size_from"]


@of_book
def rolls_over(book: PriceBook) -> bool:
    """Whether some allowance rolls over, so that rating a month needs the usage of the month before."""
    return not _rolling(book).is_empty()


def with_allowed(
    usage: pl.LazyFrame,
    served: pl.DataFrame,
    book: PriceBook,
    before: pl.LazyFrame,
    windows: Windows | None = None,
) -> pl.LazyFrame:
    """`usage` (PRICED_USAGE) with `allowed`: what of each row an allowance of its plan covers; null where none does.
    Where some allowance is prorated or has windows, what the lines tell of it besides.

    `served` is SERVICE_PERIOD, that of `windows` where there are any; `before` ROLLED_OVER.
    """
    if book.plan_allowances.is_empty():
        return usage
    held = _held(usage, served, book, "left").join(before, on=[*_PERIOD, "allowance"], how="left", validate="m:1")
    using, order = [PAYER, "allowance"], _ORDER
    if windows is not None and book.plan_allowances["window_interval"].is_not_null().any():
        held = held.join(windows.payers.lazy(), on=[PAYER, *_WINDOW], how="left", validate="m:1")
        held = held.with_columns(owner=pl.coalesce("owner", PAYER))  # where the kind is null, the payer itself
        using, order = [*_WINDOW, "owner", "allowance"], ["began", *_ORDER]
    quantity = pl.max_horizontal(pl.col("quantity").cast(AMOUNT), ZERO)
    units = pl.col("units") + pl.when("is_first").then("rolled_over").otherwise(None).fill_null(ZERO)
    counted = held.with_columns(used=quantity.cum_sum().over(using, order_by=order) - quantity)
    allowed = pl.min_horizontal(pl.max_horizontal(units - pl.col("used"), ZERO), quantity)
    covered = counted.with_columns(allowed=pl.when(pl.col("allowance").is_not_null()).then(allowed))
    told = [] if _is_plain(book) else _told()
    return covered.select(*usage.collect_schema().names(), "allowed", *told)


def _told() -> list[pl.Expr]:
    """Of an allowance that is prorated or has windows: its units for the payer, and what was used of them before."""
    is_told = pl.col("by").is_not_null() | pl.col("window_interval").is_not_null()
    first_used = pl.col("used").min().over(PAYER, "allowance")
    return [pl.when(is_told).then("units").alias(PLAN_UNITS), pl.when(is_told).then(first_used).alias(PLAN_EARLIER)]


def rolled_over(usage: pl.LazyFrame, served: pl.DataFrame, book: PriceBook) -> pl.LazyFrame:
    """ROLLED_OVER from periods with `usage` (PRICED_USAGE) and `served` (SERVICE_PERIOD) into the next ones. Of a
    period that is in several parts, the last one's is taken."""
    rolling = _rolling(book).select("plan", "allowance", "units", "rollover_maximum", "by").unique()
    quantity = pl.max_horizontal(pl.col("quantity").cast(AMOUNT), ZERO)
    used = _held(usage, served, book, "inner").group_by(PAYER, "allowance").agg(used=quantity.sum())
    last = usage_payers(served).sort("to").unique(_PERIOD, keep="last")
    had = last.select(PAYER, *_PERIOD[:2], "plan", period_start="period_end").lazy().join(rolling.lazy(), on="plan")
    had = _for_part(had, served, book)
    left = had.join(used, on=[PAYER, "allowance"], how="left", validate="1:1")
    unused = pl.max_horizontal(pl.col("units") - pl.col("used").fill_null(ZERO), ZERO)
    taken = left.with_columns(rolled_over=pl.min_horizontal(unused, "rollover_maximum").cast(AMOUNT))
    return taken.filter(pl.col("rolled_over") > 0).select(ROLLED_OVER.names())


def _rolling(book: PriceBook) -> pl.DataFrame:
    return book.plan_allowances.filter(pl.col("rollover_maximum") > 0)


def _held(usage: pl.LazyFrame, served: pl.DataFrame, book: PriceBook, how: Literal["inner", "left"]) -> pl.LazyFrame:
    """The rows whose price is in an allowance of their plan (all rows when it is "left"), with PLAN_ALLOWANCE."""
    is_first = pl.col("from") == pl.col("from").min().over(_PERIOD)
    payers = usage_payers(served).lazy().select(PAYER, *_PERIOD, "plan", is_first=is_first)
    owned = usage.join(payers, on=PAYER, how=how, validate="m:1")
    held = owned.join(book.plan_allowances.lazy(), on=["plan", "price"], how=how, validate="m:1")
    return _for_part(held, served, book)


def _for_part(rows: pl.LazyFrame, served: pl.DataFrame, book: PriceBook) -> pl.LazyFrame:
    """Rows with `units` `by` the part of the period that their payer is served for, where they are prorated."""
    if book.plan_allowances["by"].is_null().all():
        return rows
    return with_units_of_part(rows, parts_of_periods(served).lazy(), "by")


def _is_plain(book: PriceBook) -> bool:
    return bool(book.plan_allowances.select(pl.all_horizontal(pl.col("by", "window_interval").is_null()).all()).item())
