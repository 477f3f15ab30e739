"""The events behind a charge line: how many, the first and the last, and the filter that finds them again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from rating.core.book import Filter, PriceBook
from rating.core.coverage import scan_bounds, service_periods, subscribed_usage
from rating.core.event_lines import LINE_NUMBER, events_of_lines
from rating.core.periods import Month
from rating.core.schema import INSTANT
from rating.core.subjects import Usage, with_numbers

EVENTS_BEHIND = pl.Schema({"line": pl.String(), "events": pl.Int64(), "first": INSTANT, "last": INSTANT})
"""One row is one charge line with the number of its events and the instants of the first and the last."""


@dataclass(frozen=True)
class UsageFilter:
    """What an event must be to count for a line. Of a line with a `window` it must be in that band besides, and usage
    that a price with more matched values takes is not the line's."""

    event_type: str
    subjects: tuple[str, ...]
    begins: datetime  # inclusive
    ends: datetime  # exclusive
    filters: tuple[Filter, ...]
    exclude: tuple[tuple[Filter, ...], ...]
    values: Mapping[str, str | None]  # of the dimensions that the price matches or is grouped by
    window: int | None


def usage_filter(
    line: Mapping[str, Any], book: PriceBook, subjects: pl.DataFrame, subscriptions: pl.DataFrame, month: Month
) -> UsageFilter | None:
    """The filter of a CHARGE_LINE of `month`; null where no usage is behind it: a fee, an adjustment, a credit."""
    if line["meter"] is None:
        return None
    (meter,) = (meter for meter in book.meters if meter.key == line["meter"])
    own = subjects.filter(pl.col("customer") == line["customer"])["subject"].sort()
    served = service_periods(subscriptions, month).filter(pl.col("subscription") == line["subscription"])
    begins, ends = served.select("from", "to").row(0)
    price = pl.col("price") == line["price"]
    version = book.rates.filter(price, pl.col("version") == line["price_version"])
    since, until = version.select("effective_from", "effective_to").row(0)
    return UsageFilter(
        event_type=meter.event_type,
        subjects=tuple(own),
        begins=max(begins, since),
        ends=min(ends, until),
        filters=meter.filters,
        exclude=meter.exclude,
        values=json.loads(line["group"]),
        window=line["window"],
    )


def events_behind(
    usage: Usage,
    subjects: pl.DataFrame,
    subscriptions: pl.DataFrame,
    book: PriceBook,
    month: Month,
    lines: pl.DataFrame,
) -> pl.DataFrame:
    """EVENTS_BEHIND of the `lines` (CHARGE_LINE of a run of the same arguments) whose meters sum or count, by line."""
    served = service_periods(subscriptions, month)
    bounds = scan_bounds(served, month)
    in_scan = usage.between(*bounds).events
    paid = subscribed_usage(in_scan, with_numbers(subjects, usage.subjects), served)
    found = [_spans(part.rows, lines) for part in events_of_lines(paid, lines, served, book, bounds)]
    return pl.concat([EVENTS_BEHIND.to_frame(), *found]).sort("line")


def _spans(rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    counted = rows.group_by(LINE_NUMBER).agg(
        events=pl.col("event").n_unique().cast(pl.Int64), first=pl.col("time").min(), last=pl.col("time").max()
    )
    return counted.select(lines["line"].gather(counted[LINE_NUMBER]), "events", "first", "last")
