"""What a run is given and what it makes: subscriptions, and lines with their identity."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.oracle.arithmetic import EXACT
from tests.oracle.counting import Counted

Document = Mapping[str, Any]
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Subscription:
    """One that does not change; or a stretch of one that does (timelines.py), with the item that it is of."""

    key: str
    customer: str
    subjects: tuple[str, ...]
    plan: str
    time_zone: str
    starts_at: datetime
    ends_at: datetime | None = None
    item: str = "plan"
    seats: Decimal = Decimal(1)
    seats_at_end: Decimal = Decimal(1)
    began_at: datetime | None = None  # when it was first charged for, where it did not begin with it
    prices_before: frozenset[str] | None = None  # of the plan that it comes from, where it begins with a change of that
    before: "tuple[tuple[Subscription, Period], ...]" = ()  # the stretches of the same item in front of it


@dataclass(frozen=True)
class Period:
    """A billing period that is no month of the calendar; a part of a `whole` one where the cycle changes within it."""

    name: str
    start: datetime
    end: datetime
    whole: tuple[datetime, datetime] | None = None
    anchor: datetime | None = None  # of its cycle

    def __str__(self) -> str:
        return self.name


@dataclass
class Line:
    counted: list[Counted] = field(default_factory=list)
    amount: Decimal = Decimal(0)
    rounded: Decimal = Decimal(0)
    gathered: int | None = None  # the events behind one metered quantity, where these are not counted one by one

    @property
    def quantity(self) -> Decimal:
        total = Decimal(0)
        for event in self.counted:
            total = EXACT.add(total, event.quantity)
        return total

    @property
    def events(self) -> int:
        return sum(event.events for event in self.counted) if self.gathered is None else self.gathered


Key = tuple[str, str, int, int | None, str | None, str]  # subscription, price, version, window, meter, group


def line_id(subscription: Subscription, month: str | Period, service_start: datetime, **told: Any) -> str:
    """Hashed one behind the other: what its owner is as a hashed JSON object, the same of its price, its group, which
    is a JSON object, its kind and its meter."""
    owner = {"period": str(month), "customer": subscription.customer, "subscription": subscription.key}
    owner |= {"item": subscription.item, "plan": subscription.plan, "service_start": _instant(service_start)}
    names = ("price", "price_version", "window", "adjustment", "grant", "pays", "adjusts")
    price = {name: told.get(name) for name in names}
    ids = [_hashed(json.dumps(part, separators=(",", ":"), ensure_ascii=False)) for part in (owner, price)]
    return _hashed("".join(ids) + told["group"] + f"{told['kind']}:{told.get('meter') or ''}")


def _hashed(text: str) -> str:
    """The first half of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _instant(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def id_of(key: Key, subscription: Subscription, month: str | Period, service_start: datetime) -> str:
    _, price, version, window, meter, group = key
    kind = "fee" if meter is None else "usage"
    return line_id(
        subscription,
        month,
        service_start,
        kind=kind,
        price=price,
        price_version=version,
        window=window,
        meter=meter,
        group=group,
    )
