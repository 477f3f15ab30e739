"""A usage query: what a meter makes of the log, by window and dimension, counted by the code that makes bills."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from api.windows import Window, window_start
from rating.core.book import Meter
from rating.core.metering import converted, is_change, is_sum, measured, readings, reduced, summed_usage, totals_of
from rating.core.schema import SUBJECT_NUMBER, property_column
from rating.core.subjects import Usage, with_names
from store.customers import is_time_zone
from store.errors import Refused

OWNERS = ("subject", "customer")


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


def filters(written: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The `where` of a query from texts like `model=gpt-5`: the value is all behind the first `=`. Raises Refused."""
    wrong = [text for text in written if "=" not in text]
    if wrong:
        raise Refused([f"where is {wrong[0][:80]!r}: write it like model=gpt-5"])
    values: dict[str, list[str]] = {}
    for name, _, value in (text.partition("=") for text in written):
        values.setdefault(name, []).append(value)
    return tuple((name, tuple(found)) for name, found in values.items())


def asked_subjects(query: UsageQuery, subjects: pl.DataFrame) -> list[str] | None:
    """The subjects whose events can be in the answer; null when all can.

    `subjects` is SUBJECT; it may be without a row when the query is not `about_customers`.
    """
    wanted = [(name, [getattr(query, name)]) for name in OWNERS if getattr(query, name) is not None]
    wanted += [(name, list(values)) for name, values in query.where if name in OWNERS]
    if not wanted:
        return None
    kept = [set(subjects.filter(pl.col("customer").is_in(v))["subject"]) for name, v in wanted if name == "customer"]
    return sorted(set.intersection(*kept, *(set(values) for name, values in wanted if name == "subject")))


def about_customers(query: UsageQuery) -> bool:
    """Whether the answer depends on which customer has which subject."""
    return query.customer is not None or "customer" in (*query.group_by, *dict(query.where))


def usage_of(query: UsageQuery, meter: Meter, usage: Usage, subjects: pl.DataFrame) -> pl.DataFrame:
    """One row for each window and group that has usage: `window_start`, the dimensions, `quantity` and `events`.

    `usage` has the meter's properties, and only the events on [`start`, `end`) of `asked_subjects`; `subjects` is as
    there. A subject that no customer has is under the customer null. Each window and group is metered by itself,
    without what the meter carries over. Raises Refused for a dimension that the meter does not group by, and for a
    meter whose quantity depends on what lies between events.
    """
    _refuse_unknown(query, meter)
    wanted = [pl.col(_column(name)).is_in(values) for name, values in query.where if name not in OWNERS]
    windowed = usage.events.filter(*wanted).with_columns(_window_start(query), _all=True)
    window = ["window_start"] if query.window else []
    dimensions = [_column(name) for name in query.group_by if name not in OWNERS]
    owners = [name for name in query.group_by if name in OWNERS]
    by = ["_all", *window, *dimensions, *([SUBJECT_NUMBER] if owners else [])]
    summed = is_sum(meter)
    rows = totals_of(summed_usage(windowed, [meter], by), meter, by) if summed else _reduced(windowed, meter, by)
    if owners:
        rows = _with_owners(rows, owners, usage.subjects, subjects)
    groups = ["_all", *window, *dimensions, *owners]
    gathered = (
        rows.group_by(groups).agg(pl.col("quantity", "events").sum()) if summed else measured(rows, meter, groups)
    )
    columns = [*window, *(_column(name) for name in query.group_by), "quantity", "events"]
    metered = converted(gathered, meter)
    return metered.select(columns).rename(_names(query)).sort(_sorted_by(query)).collect()


def _reduced(usage: pl.LazyFrame, meter: Meter, by: list[str]) -> pl.LazyFrame:
    return reduced(readings(usage, meter, by), meter, by)


def _with_owners(rows: pl.LazyFrame, owners: list[str], numbers: pl.LazyFrame, subjects: pl.DataFrame) -> pl.LazyFrame:
    """Rows with a subject number, with the names of the subject and of its customer."""
    owned = with_names(rows, numbers)
    return owned.join(subjects.lazy(), on="subject", how="left", validate="m:1") if "customer" in owners else owned


def _refuse_unknown(query: UsageQuery, meter: Meter) -> None:
    if is_change(meter):
        raise Refused(
            [f"meter {meter.key!r} is {meter.aggregation}: what it comes to is on charge lines, not in usage queries"]
        )
    known = (*OWNERS, *meter.group_by)
    unknown = [name for name in (*query.group_by, *dict(query.where)) if name not in known]
    if unknown:
        raise Refused(
            f"meter {meter.key!r} does not group by {name!r}; it does by {', '.join(known)}" for name in unknown
        )


def _window_start(query: UsageQuery) -> list[pl.Expr]:
    if query.window is None:
        return []
    return [window_start(pl.col("time"), query.window, query.time_zone).alias("window_start")]


def _column(name: str) -> str:
    return name if name in OWNERS else property_column(name)


def _names(query: UsageQuery) -> dict[str, str]:
    return {_column(name): name for name in query.group_by}


def _sorted_by(query: UsageQuery) -> list[str]:
    return [*(["window_start"] if query.window else []), *query.group_by] or ["quantity"]


def problems_of(query: UsageQuery) -> list[str]:
    """What makes no sense in a query."""
    problems = []
    if not is_time_zone(query.time_zone):
        problems.append(f"{query.time_zone!r} is no IANA time zone (like Europe/Madrid)")
    if query.start is not None and query.end is not None and query.end <= query.start:
        problems.append("`to` is not after `from`")
    return problems
