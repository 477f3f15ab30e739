"""What falls due of subscriptions, each as it was agreed and as it changed since: the short way of a conformance case
to its service periods and charge lines."""

from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from rating.catalog import compile_catalog, load_catalog
from rating.core.cycles import CYCLE_SPAN, billing_periods
from rating.core.rating import Rated, rate
from rating.core.schema import SUBJECT
from rating.core.service_periods import Due
from rating.core.subjects import interned
from rating.core.subscriptions import PLAN_ITEM, TERMS, subscriptions_of
from rating.core.timeline import CHANGE
from tests.frames import usage_frame

Document = dict[str, Any]

INTERVALS = {
    "DAILY": ("day", 1), "WEEKLY": ("week", 1), "BIWEEKLY": ("week", 2), "THIRTY_DAYS": ("day", 30),
    "THIRTY_ONE_DAYS": ("day", 31), "SIXTY_DAYS": ("day", 60), "NINETY_DAYS": ("day", 90), "MONTHLY": ("month", 1),
    "BIMESTRIAL": ("month", 2), "QUARTERLY": ("month", 3), "TRIANNUAL": ("month", 4), "BIANNUAL": ("month", 6),
    "ANNUAL": ("year", 1), "SESQUIENNIAL": ("month", 18), "BIENNIAL": ("year", 2), "TRIENNIAL": ("year", 3),
}  # fmt: skip
"""The periods of other engines: an interval and how many of it."""


class Change(NamedTuple):
    """What holds from an instant on; None: as before."""

    at: datetime
    item: str | None = PLAN_ITEM
    plan: str | None = None
    seats: int | None = None
    state: str | None = None
    interval: str | None = None  # with `intervals` and `anchor` another billing cycle
    intervals: int | None = None
    anchor: datetime | None = None


class Agreed(NamedTuple):
    """A subscription of a customer of its own, with the same key as the customer and the subject."""

    key: str
    plan: str
    starts_at: datetime
    ends_at: datetime | None = None
    interval: tuple[str, int] = ("month", 1)
    anchor: datetime | None = None
    zone: str = "UTC"
    seats: int = 1
    trial_ends_at: datetime | None = None
    changes: tuple[Change, ...] = ()


def midnight(day: str | date, zone: str = "UTC") -> datetime:
    """The first instant of a day."""
    on = date.fromisoformat(day) if isinstance(day, str) else day
    return datetime.combine(on, time(), ZoneInfo(zone)).astimezone(UTC)


def anchored(day: date, billing_day: int, interval: tuple[str, int], zone: str = "UTC") -> datetime:
    """An anchor whose periods begin on `billing_day` of the month of `day`, or on its last where it has no such day:
    in the month of the same cycle that has the most days of all, so that the day comes back."""
    unit, count = interval
    step = count * (12 if unit == "year" else 1)
    months = [divmod(day.year * 12 + day.month - 1 + step * ahead, 12) for ahead in range(48)]
    year, month = max(months, key=lambda found: min(monthrange(found[0], found[1] + 1)[1], billing_day))
    last = monthrange(year, month + 1)[1]
    return midnight(date(year, month + 1, min(billing_day, last)), zone)


def cut(
    anchor: datetime | None, interval: tuple[str, int], since: datetime, until: datetime, zone: str = "UTC"
) -> list[tuple[datetime, datetime]]:
    """The periods that have an instant on [`since`, `until`)."""
    unit, count = interval
    cycle = {"subscription": "s", "time_zone": zone, "interval": unit, "intervals": count, "anchor": anchor}
    found = billing_periods(pl.DataFrame([cycle], schema=CYCLE_SPAN), since, until)
    return found.select("period_start", "period_end").rows()


def boundaries(
    anchor: datetime | None,
    interval: tuple[str, int],
    since: datetime,
    until: datetime | None = None,
    zone: str = "UTC",
) -> list[str]:
    """The days on or after `since` on which periods begin: before `until`, or of the next seven years."""
    later = cut(anchor, interval, since, until or since + timedelta(days=2600), zone)
    return [start.astimezone(ZoneInfo(zone)).date().isoformat() for start, _ in later if start >= since]


def subscriptions(agreed: Iterable[Agreed]) -> pl.DataFrame:
    """SUBSCRIPTION."""
    known = list(agreed)
    terms = [
        {**one._asdict(), "subscription": one.key, "customer": one.key, "billed_to": one.key, "time_zone": one.zone,
         "interval": one.interval[0], "intervals": one.interval[1], "seats": Decimal(one.seats)}
        for one in known
    ]  # fmt: skip
    every = [(one.key, change) for one in known for change in one.changes]
    changes = [
        {**change._asdict(), "subscription": key, "sequence": place, "effective_at": change.at,
         "recorded_at": change.at, "seats": None if change.seats is None else Decimal(change.seats)}
        for place, (key, change) in enumerate(every)
    ]  # fmt: skip
    return subscriptions_of(_frame(TERMS, terms), _frame(CHANGE, changes))


def _frame(schema: pl.Schema, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row")


def due(
    catalog: Document, agreed: Iterable[Agreed], until: datetime, events: Iterable[Mapping[str, Any]] = ()
) -> Rated:
    """All that has become due of the subscriptions by `until`; of one that has ended when it did."""
    known = list(agreed)
    loaded = load_catalog(catalog)
    terms = subscriptions(known)
    subjects = pl.DataFrame([(key, key) for key in sorted({one.key for one in known})], schema=SUBJECT, orient="row")
    usage = interned(usage_frame(events, loaded.declared_properties()))
    since = min([until, *(one.starts_at for one in known)]) - timedelta(days=1)
    ended = Due(since, until, final_bill="at_end")
    return rate(usage, subjects, terms, compile_catalog(loaded, terms["plan"]), ended)
