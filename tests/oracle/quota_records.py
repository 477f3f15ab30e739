"""What is known of quotas: who has agreed to what, what was granted, and what was used."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
Entitlement = dict[str, Any]
"""limit, window, and where given: enforcement, grace, carry, rollover, thresholds, shared, welcome, anchor."""


@dataclass
class Use:
    meter: str
    subject: str
    at: datetime
    amount: int


@dataclass
class Plan:
    """One plan of a customer on [start, end), billed by the month from `anchor` on."""

    plan: str
    start: datetime
    end: datetime | None
    anchor: datetime


@dataclass
class Grant:
    id: str
    feature: str
    amount: int
    priority: int
    created: datetime
    start: datetime
    expires: datetime | None = None
    voided: datetime | None = None
    most: int | None = None  # that goes over into the next window

    @property
    def end(self) -> datetime:
        return min(self.expires or NEVER, self.voided or NEVER)


@dataclass
class Override:
    feature: str
    subject: str | None
    start: datetime
    end: datetime | None
    says: Entitlement  # what it does not say, the plan says


@dataclass
class Customer:
    key: str
    zone: str
    subjects: list[str]
    parent: str | None = None
    plans: list[Plan] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    overrides: list[Override] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)


class Owner(NamedTuple):
    """Of an account: key (a subject), customer or pool."""

    scope: str
    key: str
    customer: str
    feature: str


class Stands(NamedTuple):
    """Where an account stands; `limit` is None without one, `entitled` says whether anything gives the feature."""

    entitled: bool
    used: int
    limit: int | None
    window: tuple[datetime | None, datetime | None]
    says: Entitlement | None
    left: list[tuple[str, int]]
