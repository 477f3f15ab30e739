"""What a run is given and what it makes: subscriptions, and lines with their identity."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.oracle.arithmetic import EXACT
from tests.oracle.counting import Counted

Document = Mapping[str, Any]
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Subscription:
    key: str
    customer: str
    subjects: tuple[str, ...]
    plan: str
    time_zone: str
    starts_at: datetime
    ends_at: datetime | None = None


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


def line_id(subscription: Subscription, month: str, **told: Any) -> str:
    """The first half of the SHA-256 of what tells the line from others, as a JSON object in this order."""
    names = ("kind", "price", "price_version", "window", "adjustment", "grant", "pays", "meter", "group")
    content = {"period": month, "customer": subscription.customer, "subscription": subscription.key}
    content |= {name: told.get(name) for name in names}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def id_of(key: Key, subscription: Subscription, month: str) -> str:
    _, price, version, window, meter, group = key
    kind = "fee" if meter is None else "usage"
    return line_id(
        subscription, month, kind=kind, price=price, price_version=version, window=window, meter=meter, group=group
    )
