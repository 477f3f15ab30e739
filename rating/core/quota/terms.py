"""What an account of a quota is judged by: what plans and overrides entitle to, and what is granted beside.

An account is one feature of one owner: of a subject that has a limit of its own, of a customer, or of a customer for
itself and for those it pays for. Amounts are whole numbers of 10^-9 of the meter's unit.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from rating.core.quota.windows import Cycle, WindowRule, following, later

Enforcement: TypeAlias = Literal["hard", "soft", "grace"]
UNITS = 10**9


@dataclass(frozen=True, slots=True)
class Span:
    """What an owner is entitled to of one feature on [start, end)."""

    start: datetime
    end: datetime | None  # null: open end
    limit: int | None  # in each window; null: unlimited
    window: WindowRule
    cycle: Cycle | None = None  # of a billing window
    enforcement: Enforcement = "hard"
    grace: int = 0  # what may be used above the limit
    carries: bool = False  # whether what is owed at the end of a window is owed in the next
    rollover: tuple[int, int] | None = None  # minimum and maximum of what is left that the next window has too
    priority: int = 100  # of the limit among grants
    thresholds: tuple[str, ...] = ()
    shared: bool = False  # whether what those use that the owner pays for counts here too
    plan: str | None = None  # that it is of; null: an override


@dataclass(frozen=True, slots=True)
class QuotaGrant:
    """An amount beside what plans give, usable on [effective_at, ends_at)."""

    id: str
    amount: int
    priority: int
    created_at: datetime
    effective_at: datetime
    expires_at: datetime | None = None
    voided_at: datetime | None = None
    recurs_every: str | None = None  # what is left is replaced by `amount` then
    recurs_from: datetime | None = None
    rollover_minimum: int = 0
    rollover_maximum: int | None = None  # null: ends of windows do not concern it

    @property
    def ends_at(self) -> datetime | None:
        """When it ends; null: never."""
        ends = [at for at in (self.expires_at, self.voided_at) if at is not None]
        return min(ends) if ends else None


@dataclass(frozen=True, slots=True)
class GrantSeries:
    """The grants that a plan gives a subscription on [start, end): one at its start or, with `every`, one then and
    after each interval. Each lasts an interval `lasts`, or to the end of the subscription, whichever comes first."""

    prefix: str  # of the ids; the instant of each grant follows
    amount: int
    priority: int
    start: datetime
    end: datetime | None
    zone: str
    every: str | None
    lasts: str | None
    rollover_minimum: int = 0
    rollover_maximum: int | None = None

    def grants(self, until: datetime) -> list[QuotaGrant]:
        """Those that begin by `until`, and the next one."""
        made, at = [self._grant(self.start)], self.start
        while self.every is not None and at <= until:
            at = following(self.every, self.start, at, self.zone)
            if self.end is not None and at >= self.end:
                break
            made.append(self._grant(at))
        return made

    def _grant(self, at: datetime) -> QuotaGrant:
        lasts_until = [later(at, self.lasts, self.zone)] if self.lasts is not None else []
        ends = [*lasts_until, *([self.end] if self.end is not None else [])]
        rollover = (self.rollover_minimum, self.rollover_maximum)
        expires_at = min(ends) if ends else None
        name = f"{self.prefix}/{at.isoformat()}"
        return QuotaGrant(name, self.amount, self.priority, at, at, expires_at, None, None, None, *rollover)


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """Everything that an account is judged by. `spans` ascend and do not overlap; `zone` is the customer's."""

    owner: str
    feature: str
    zone: str
    spans: tuple[Span, ...]
    grants: tuple[QuotaGrant, ...] = ()
    series: tuple[GrantSeries, ...] = ()

    @property
    def has_grants(self) -> bool:
        """Whether anything is granted beside limits."""
        return bool(self.grants or self.series)

    @property
    def is_plain(self) -> bool:
        """Whether a window says all: nothing is granted, nothing goes from one window into the next, none rolls."""
        is_simple = all(s.rollover is None and not s.carries and s.window.kind != "rolling" for s in self.spans)
        return is_simple and not self.has_grants
