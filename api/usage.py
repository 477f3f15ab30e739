"""A usage query: what a meter makes of the log, by window and dimension, counted by the code that makes bills."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from rating.core.book import Meter
from rating.core.metering import metered_usage, summed_usage
from rating.core.schema import property_column
from store.errors import Refused

Window = Literal["minute", "hour", "day", "month"]
OWNERS = ("subject", "customer")
_EVERY = {"minute": "1m", "hour": "1h", "day": "1d", "month": "1mo"}


@dataclass(frozen=True)
class UsageQuery:
    """Usage of `meter` on [`start`, `end`); windows are those of `time_zone`. `where` keeps only some values of a
    dimension, of `subject` or of `customer`."""

    meter: str
    start: datetime | None = None
    end: datetime | None = None
    subject: str | None = None
    customer: str | None = None
    group_by: tuple[str, ...] = ()
    window: Window | None = None
    time_zone: str = "UTC"
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()


def usage_of(query: UsageQuery, meter: Meter, usage: pl.LazyFrame, subjects: pl.DataFrame) -> pl.DataFrame:
    """One row for each window and group that has usage: `window_start`, the dimensions, `quantity` and `events`.

    `usage` is USAGE_EVENT with the meter's properties, already on [`start`, `end`); `subjects` is SUBJECT. A subject
    that no customer has is under the customer null. Raises Refused for a dimension that the meter does not group by.
    """
    _refuse_unknown(query, meter)
    owned = (
        usage if not _needs_customer(query) else usage.join(subjects.lazy(), on="subject", how="left", validate="m:1")
    )
    wanted = [pl.col(o) == getattr(query, o) for o in OWNERS if getattr(query, o) is not None]
    wanted += [pl.col(_column(name)).is_in(values) for name, values in query.where]
    windowed = owned.filter(*wanted).with_columns(_window_start(query))
    by = [*(["window_start"] if query.window else []), *(_column(name) for name in query.group_by)]
    summed = summed_usage(windowed.with_columns(_all=True), [meter], ["_all", *by])
    metered = metered_usage(summed, meter, ["_all", *by])
    return metered.select(*by, "quantity", "events").rename(_names(query)).sort(_sorted_by(query)).collect()


def _refuse_unknown(query: UsageQuery, meter: Meter) -> None:
    known = (*OWNERS, *meter.group_by)
    unknown = [name for name in (*query.group_by, *dict(query.where)) if name not in known]
    if unknown:
        raise Refused(
            f"meter {meter.key!r} does not group by {name!r}; it does by {', '.join(known)}" for name in unknown
        )


def _needs_customer(query: UsageQuery) -> bool:
    return query.customer is not None or "customer" in (*query.group_by, *dict(query.where))


def _window_start(query: UsageQuery) -> list[pl.Expr]:
    if query.window is None:
        return []
    local = pl.col("time").dt.convert_time_zone(query.time_zone).dt.truncate(_EVERY[query.window])
    return [local.dt.convert_time_zone("UTC").alias("window_start")]


def _column(name: str) -> str:
    return name if name in OWNERS else property_column(name)


def _names(query: UsageQuery) -> dict[str, str]:
    return {_column(name): name for name in query.group_by}


def _sorted_by(query: UsageQuery) -> list[str]:
    return [*(["window_start"] if query.window else []), *query.group_by] or ["quantity"]
