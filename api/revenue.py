"""What a month has come to so far, over all customers: what a rating run of now would say, without a record of it.

Rating everybody takes the memory of a run that is not made in parts. So it is done for CUSTOMERS_MAX at most; above
that the newest run of the month says it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from api.engine import Engine
from rating.core.money import grouped_sum, overflow_checked
from rating.core.periods import Month
from rating.core.schema import AMOUNT
from rating.run import json_rows

CUSTOMERS_MAX = 20_000
BY_PRICE = pl.Schema({"currency": pl.String(), "price": pl.String(), "amount": AMOUNT, "lines": pl.Int64()})
"""One row is what one price comes to; null is what belongs to a whole plan."""


@dataclass(frozen=True)
class Revenue:
    """`totals` has one entry a currency, as the report of a run has them. `run` is the run that said so, null where it
    was worked out at `at`; `by_price` is BY_PRICE, the largest first, null of a run."""

    month: Month
    totals: list[dict[str, Any]]
    at: datetime
    run: str | None
    by_price: pl.DataFrame | None


def revenue_of(engine: Engine, month: Month) -> Revenue | None:
    """Null where it is not known: too many customers to rate at once, and no run. Raises Refused before the first
    catalog, AmountOverflow."""
    if engine.store.customers.count() > CUSTOMERS_MAX:
        return recorded_revenue(engine, month)
    rated = engine.rating.sources.gather(month, engine.in_force.book).inputs.rated()
    return Revenue(month, json_rows(rated.totals), engine.now(), None, by_price(rated.lines))


def recorded_revenue(engine: Engine, month: Month) -> Revenue | None:
    """What the newest run of a month said."""
    began = month.start(UTC)
    run = engine.store.runs.newest_done(str(month), since=began)
    if run is None or run.report is None:
        return None
    return Revenue(month, run.report["totals"], run.finished_at or run.started_at, run.id, None)


@overflow_checked()
def by_price(lines: pl.DataFrame) -> pl.DataFrame:
    """BY_PRICE of CHARGE_LINE: the sums of the rounded amounts."""
    rounded = lines.lazy().select("currency", "price", amount=pl.col("rounded_amount").cast(AMOUNT))
    summed = grouped_sum(rounded, ["currency", "price"], ["amount"], pl.len().cast(pl.Int64).alias("lines"))
    return summed.select(BY_PRICE.names()).sort("amount", "price", descending=[True, False]).collect()
