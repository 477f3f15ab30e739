"""Frames for the pure core, from events and subscriptions as tests write them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from rating.core.schema import SUBJECT, PropertyType, usage_event_schema
from rating.core.subscriptions import plain_subscriptions
from tests.oracle import Event, Subscription

SINCE = datetime(2020, 1, 1, tzinfo=UTC)


def usage_frame(events: Iterable[Event], properties: Mapping[str, PropertyType]) -> pl.LazyFrame:
    """One row an event, ids and sequence by its position; only the declared properties are kept."""
    schema = usage_event_schema(properties)
    rows = [
        ("test", str(i), e["type"], e["subject"], e["time"], None, e["time"], i + 1, *_values(e["data"], properties))
        for i, e in enumerate(events)
    ]
    return pl.LazyFrame(rows, schema=schema, orient="row")


def _values(data: Mapping[str, Any], properties: Mapping[str, PropertyType]) -> list[Decimal | str | None]:
    given = ((data.get(name), kind) for name, kind in properties.items())
    return [None if value is None else Decimal(value) if kind == "number" else value for value, kind in given]


def subject_frame(subscriptions: Iterable[Subscription]) -> pl.DataFrame:
    rows = [(subject, s.customer) for s in subscriptions for subject in s.subjects]
    return pl.DataFrame(rows, schema=SUBJECT, orient="row").unique()


def subscription_frame(subscriptions: Iterable[Subscription]) -> pl.DataFrame:
    rows = [(s.key, s.customer, s.plan, s.time_zone, s.starts_at, s.ends_at) for s in subscriptions]
    return plain_subscriptions(rows)
