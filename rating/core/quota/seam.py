"""What asks and moves quotas sees of them: consume, leases, gateways and signals know these names and no others."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

import polars as pl

from rating.core.money import plain
from rating.core.quota.answer import QuotaAnswer, Scope
from rating.core.schema import INSTANT, QUANTITY

QUOTA_ASKED = pl.Schema({"subject": pl.String(), "feature": pl.String(), "amount": QUANTITY})
"""One row asks whether a subject may use `amount` more of a feature."""

QUOTA_ANSWERED = pl.Schema(
    {
        **QUOTA_ASKED,
        "allowed": pl.Boolean(),
        "reason": pl.String(),
        "customer": pl.String(),
        "scope": pl.String(),
        "limit": QUANTITY,
        "used": QUANTITY,
        "reserved": QUANTITY,
        "remaining": QUANTITY,
        "resets_at": INSTANT,
    }
)
"""One row is the answer to one QUOTA_ASKED: see QuotaAnswer."""

RESERVED = pl.Schema({"owner": pl.String(), "feature": pl.String(), "reserved": QUANTITY, "holds": pl.Int64()})
"""One row is what is held of a feature of a customer."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A part of a quota that nobody else may use. `ends_at` is when the window ends that it is of; null: never."""

    id: str
    subject: str
    feature: str
    amount: Decimal
    ends_at: datetime | None


class LevelName(NamedTuple):
    """A level of a quota in one window."""

    scope: Scope
    owner: str
    feature: str
    window_start: datetime | None
    level: str


@dataclass(frozen=True)
class LevelChange:
    """Usage that has crossed a level of a quota, or has come back below it. In the meter's unit; `level` is 80%, 5000,
    100% or negative, and `source` and `id` are those of the event, where one has crossed. `arm` is how often the level
    was restored in the window before, so that reaching it again is another crossing."""

    kind: Literal["threshold", "exhausted", "restored", "negative", "anomaly"]
    scope: Scope
    owner: str
    customer: str
    feature: str
    window_start: datetime | None
    window_end: datetime | None
    level: str
    limit: Decimal
    used: Decimal
    arm: int
    at: datetime
    source: str | None = None
    id: str | None = None
    because: Literal["reset", "top_up", "plan_change", "correction"] | None = None

    @property
    def name(self) -> LevelName:
        """Of what it is."""
        return LevelName(self.scope, self.owner, self.feature, self.window_start, self.level)

    @property
    def key(self) -> str:
        """The same crossing has the same key, however often it is found; another limit is another crossing, but of an
        amount, which is reached whatever the limit is, and of an anomaly, which is one in a window."""
        is_amount = self.kind == "threshold" and not self.level.endswith("%")
        limit = "" if is_amount or self.kind == "anomaly" else plain(self.limit)
        start = self.window_start.isoformat() if self.window_start is not None else None
        if (self.kind, self.scope, self.arm) == ("exhausted", "customer", 0):
            content = [self.customer, self.feature, start, plain(self.limit)]
        else:
            who = [self.kind, self.scope, self.owner, self.feature]
            content = [*who, start, self.level, limit, str(self.arm)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class CustomerState:
    """What checks obey of a customer on [since, until): for `features`, empty is all."""

    id: str
    customer: str
    features: tuple[str, ...]
    state: Literal["suspended", "restricted", "overage"]
    plan: str | None  # whose limits hold, where it is restricted
    amount: Decimal | None  # how much more may be used, where it is overage
    reason: str
    since: datetime
    until: datetime | None
    signal: str | None = None  # that led to it


class Quota(Protocol):
    """Every method may be called from any thread; no clock is read inside."""

    def check(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer:
        """Whether `amount` more may be used; waits while counters are rebuilt."""
        ...

    def check_at_once(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer | None:
        """The same in microseconds, or None when it would have to wait."""
        ...

    def check_many(self, asked: pl.DataFrame, now: datetime) -> pl.DataFrame:
        """QUOTA_ANSWERED of QUOTA_ASKED, in the same order."""
        ...

    def hold(
        self, id: str, subject: str, feature: str, amount: Decimal, minimum: Decimal, now: datetime
    ) -> Hold | QuotaAnswer:
        """Take as much of the room as `amount`, at least `minimum`, in one step: half of the room at most while others
        hold some. The answer of a check where there is less; of what is unlimited, always the whole amount."""
        ...

    def restore_hold(self, hold: Hold) -> None:
        """At the start: a hold of before, also where there is no room for it any more."""
        ...

    def shrink(self, id: str, by: Decimal) -> None:
        """So much of a hold was used or given back; an unknown one is none."""
        ...

    def drop(self, id: str) -> None:
        """Give a hold back; an unknown one is none."""
        ...

    def reserved(self) -> pl.DataFrame:
        """RESERVED, of what is held."""
        ...

    def amounts(self, events: pl.DataFrame) -> list[tuple[str, str, Decimal]]:
        """(subject, feature, quantity) that events (USAGE_EVENT) would count."""
        ...

    def put_states(self, states: Sequence[CustomerState]) -> None:
        """All states of all customers: the next check obeys them."""
        ...

    def open_levels(self, levels: Sequence[LevelChange], arms: Mapping[LevelName, int]) -> None:
        """At the start: the levels that were raised and not restored, and how often any was restored in its window."""
        ...

    def tick(self, now: datetime) -> None:
        """Time has passed: windows with a raised level may have ended."""
        ...
