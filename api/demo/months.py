"""The usage of the dashboard's demonstration: every day from the first of the month before until now, working days
busier than others, each day a little more than the one before, and today up to this minute."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl

from api.demo.customers import DemoCustomer
from api.demo.day import make_day
from rating.core.periods import month_of

_WEEKDAYS = (1.0, 1.08, 1.1, 1.05, 0.95, 0.5, 0.45)
_GROWTH = 0.006
"""A day above the day before."""


def days_until(now: datetime) -> list[date]:
    """From the first of the month before."""
    first = month_of(now, "UTC").before().start(UTC).date()
    return [first + timedelta(days=place) for place in range((now.date() - first).days + 1)]


def events_of_days(days: Sequence[date], events: int) -> list[int]:
    """How many of about so many `events` fall on each day."""
    weights = [_WEEKDAYS[day.weekday()] * (1 + _GROWTH) ** place for place, day in enumerate(days)]
    return [max(round(events * weight / sum(weights)), 1) for weight in weights]


def make_months(events: int, seed: int, customers: Sequence[DemoCustomer], now: datetime) -> pl.DataFrame:
    """The rows of `make_day` for all the days, numbered on; nothing is later than `now`."""
    days = days_until(now)
    made = [
        make_day(count, seed + place, customers, day)
        for place, (day, count) in enumerate(zip(days, events_of_days(days, events), strict=True))
    ]
    numbered = pl.concat(made).drop("number").filter(pl.col("time") <= now).with_row_index("number", offset=1)
    return numbered.select(made[0].columns)
