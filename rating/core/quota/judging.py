"""The answer of several accounts at once: each that there is must allow, and the tightest is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from rating.core.money import plain
from rating.core.quota.answer import EXACT, Asked, QuotaAnswer, Reason, Scope
from rating.core.quota.burn_down import Standing
from rating.core.quota.terms import UNITS, Span

_UNITS = Decimal(UNITS)


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account at an instant; `used` by its segment, and `reserved`, are in units of 10^-9."""

    scope: Scope
    owner: str
    standing: Standing
    used: int
    reserved: int

    @property
    def room(self) -> int | None:
        """What is left, below zero where more was used; null: unlimited."""
        available = self.standing.available
        return None if available is None else available - self.used - self.reserved

    @property
    def span(self) -> Span | None:
        """What its plans or an override give."""
        return self.standing.segment.span

    @property
    def is_soft(self) -> bool:
        """Whether it is a limit that refuses nothing."""
        return self.span is not None and self.span.enforcement == "soft"

    @property
    def extra(self) -> int:
        """What may be used above the limit."""
        return self.span.grace if self.span is not None and self.span.enforcement == "grace" else 0

    @property
    def limit(self) -> int | None:
        """What may be used in the window, all in all."""
        available = self.standing.available
        return None if available is None else self.standing.window_used_before + available


def judge_accounts(asked: Asked, views: Sequence[AccountView], more: int = 0) -> QuotaAnswer:
    """Whether `asked` fits in all of the accounts that are entitled; `more` may be used above each limit."""
    entitled = [view for view in views if view.standing.is_entitled]
    if not entitled:
        why = f"no plan of {asked.customer} includes {asked.feature}"
        return QuotaAnswer(False, "not_entitled", why, asked.subject, asked.customer, asked.feature, asked.amount)
    amount = int(EXACT.multiply(asked.amount, _UNITS).to_integral_value(ROUND_CEILING, EXACT))
    judged = [(view, _reason(view, amount, more)) for view in entitled]
    refusing = [pair for pair in judged if pair[1] in ("exhausted", "would_exceed")]
    view, reason = min(refusing or judged, key=lambda pair: _tightness(pair[0]))
    return _answer(asked, view, reason, amount, more)


def quantity_of(units: int) -> Decimal:
    """Units of 10^-9 -> the quantity, exactly."""
    return Decimal(units).scaleb(-9, EXACT)


def _tightness(view: AccountView) -> tuple[bool, int]:
    return view.room is None, view.room or 0


def reason_of(room: int | None, amount: int, is_soft: bool, extra: int) -> Reason:
    """Whether `amount` fits in `room`, null: unlimited, or in what may be used above it."""
    if room is None:
        return "unlimited"
    if room > 0 and amount <= room:
        return "allowed"
    if is_soft:
        return "over_soft_limit"
    with_grace = room + extra
    if with_grace <= 0:
        return "exhausted"
    return "in_grace" if amount <= with_grace else "would_exceed"


def _reason(view: AccountView, amount: int, more: int) -> Reason:
    return reason_of(view.room, amount, view.is_soft, view.extra + more)


def _answer(asked: Asked, view: AccountView, reason: Reason, amount: int, more: int) -> QuotaAnswer:
    standing, segment = view.standing, view.standing.segment
    left = standing.left_after(view.used)
    return QuotaAnswer(
        reason not in ("exhausted", "would_exceed"),
        reason,
        _message(asked, view, reason, more),
        asked.subject,
        asked.customer,
        asked.feature,
        asked.amount,
        limit=None if view.limit is None else quantity_of(view.limit),
        used=quantity_of(standing.window_used_before + view.used),
        reserved=quantity_of(view.reserved),
        remaining=None if view.room is None else quantity_of(max(view.room, 0)),
        window_start=segment.window_start,
        resets_at=segment.window_end,
        scope=view.scope,
        owner=view.owner,
        waiting_helps=_waiting_helps(view, amount, more),
        next_grant=next((name or None for name, amount_left in left if amount_left > 0), None),
    )


def _message(asked: Asked, view: AccountView, reason: Reason, more: int) -> str:
    if view.room is None or view.limit is None:
        return "there is no limit"
    limit, used = plain(quantity_of(view.limit)), plain(quantity_of(view.standing.window_used_before + view.used))
    left, whose = plain(quantity_of(max(view.room, 0))), "" if view.scope == "customer" else f" ({view.scope} limit)"
    held = f" and {plain(quantity_of(view.reserved))} reserved" if view.reserved else ""
    end = view.standing.segment.window_end
    until = f" until {end.isoformat()}" if end is not None else ""
    if reason == "allowed":
        return f"{left} of {limit} left{whose}"
    if reason == "over_soft_limit":
        return f"{used} used{held} of {limit}: the limit is soft{whose}"
    above = plain(quantity_of(view.extra + more))
    if reason == "in_grace":
        return f"{used} used{held} of {limit}: up to {above} more are allowed{whose}"
    with_grace = f" and {above} more" if view.extra + more else ""
    if reason == "exhausted":
        return f"{used} used{held} of {limit}{with_grace}: the limit is used up{until}{whose}"
    room = plain(quantity_of(max(view.room + view.extra + more, 0)))
    return f"{plain(asked.amount)} is more than the {room} left of {limit}{with_grace}{whose}"


def _waiting_helps(view: AccountView, amount: int, more: int) -> bool:
    """Whether the next window will hold the amount."""
    if view.standing.segment.window_end is None or view.span is None or view.span.limit is None:
        return False
    owed = max(-(view.room or 0), 0) if view.span.carries else 0
    usable = view.span.limit + view.extra + more - owed
    return usable > 0 and amount <= usable
