"""What a quota check answers, and the one rule behind it: whether an amount still fits."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Any, Literal, TypeAlias

from rating.core.money import plain

EXACT = Context(prec=76)
"""Quantities have up to 38 digits; Python's default context would round their sums to 28."""

Reason: TypeAlias = Literal[
    "allowed",
    "unlimited",
    "over_soft_limit",
    "in_grace",
    "not_entitled",
    "suspended",
    "exhausted",
    "would_exceed",
    "not_counted",
]
Scope: TypeAlias = Literal["key", "customer", "pool"]
"""Whose limit it is: of a subject alone, of its customer, or shared by a customer and those it pays for."""

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class QuotaAnswer:
    """Whether `amount` more may be used. Quantities are in the meter's unit; the window is [window_start, resets_at).

    `remaining` is limit - used - reserved, never below 0. `scope` and `owner` say whose limit refused or, where it is
    allowed, whose has least room.
    """

    allowed: bool
    reason: Reason
    message: str
    subject: str
    customer: str | None
    feature: str
    amount: Decimal
    limit: Decimal | None = None
    used: Decimal | None = None
    reserved: Decimal | None = None  # held by leases and calls under way
    remaining: Decimal | None = None
    window_start: datetime | None = None
    resets_at: datetime | None = None  # null: never
    kind: Literal["metered", "boolean", "static"] = "metered"
    value: Any = None  # of a static one: its JSON
    scope: Scope | None = None
    owner: str | None = None
    waiting_helps: bool = False  # the next window will hold the amount
    next_grant: str | None = None  # which pays next
    state: str | None = None  # of the customer, with its reason, where it decides

    def in_words(self) -> "QuotaAnswer":
        """The whole answer, where only the verdict was worked out so far."""
        return self


@dataclass(frozen=True)
class Asked:
    """Who asks for how much of what."""

    subject: str
    customer: str
    feature: str
    amount: Decimal


def judge(
    asked: Asked, limit: Decimal, used: Decimal, reserved: Decimal, window: tuple[datetime, datetime]
) -> QuotaAnswer:
    """The answer for an entitled customer: `amount` fits while used + reserved + amount <= limit; an amount of 0 asks
    whether anything is left at all."""
    taken = EXACT.add(used, reserved)
    remaining = max(EXACT.subtract(limit, taken), _NOTHING)
    exhausted = taken >= limit
    fits = not exhausted and EXACT.add(taken, asked.amount) <= limit
    reason: Reason = "allowed" if fits else "exhausted" if exhausted else "would_exceed"
    held = f" and {plain(reserved)} reserved" if reserved else ""
    if reason == "allowed":
        message = f"{plain(remaining)} of {plain(limit)} left"
    elif reason == "exhausted":
        message = f"{plain(used)} used{held} of {plain(limit)}: the limit is used up until {window[1].isoformat()}"
    else:
        message = f"{plain(asked.amount)} is more than the {plain(remaining)} left of {plain(limit)}"
    who = (asked.subject, asked.customer, asked.feature, asked.amount)
    helps = asked.amount <= limit and limit > 0
    return QuotaAnswer(
        fits,
        reason,
        message,
        *who,
        limit,
        used,
        reserved,
        remaining,
        *window,
        owner=asked.customer,
        scope="customer",
        waiting_helps=helps,
    )
