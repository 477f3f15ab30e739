"""What a quota check is compared with, worked out once and kept for as long as it holds, and its answer, put into words
only where somebody reads it.

A check asks for a yes or no a million times for each time that its words are read. So it compares integers of 10^-9,
and an answer keeps these: its Decimals and its message are made, by the rules `judge` and `judge_accounts`, when they
are looked at. Between two instants at which what may be used changes this is the same for quotas of all kinds: what is
available, less what is used and held.
"""

import math
from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from rating.core.quota.answer import EXACT, Asked, QuotaAnswer, Reason, judge
from rating.core.quota.judging import AccountView, judge_accounts, reason_of
from rating.counters import UNITS, Counters, quantity
from rating.segment_sums import SegmentSums

STANDINGS_MAX = 1 << 17
"""So many subjects and features are checked in a microsecond; the others take ten and more."""
_UNITS = Decimal(UNITS)


class Held(Protocol):
    """What is held, of what: see Holds."""

    def units(self, of: Any) -> int:
        """All of it in units of 10^-9, from any thread."""
        ...


class Standing:
    """A subject's quota of a feature on [since, until), in which `available`, in units of 10^-9, is to be used; null:
    unlimited. `extra` may be used above.

    What is used of it is in `row` of `counters`, what is held of it under `key` of `holds`.
    """

    __slots__ = ("available", "counters", "extra", "holds", "is_soft", "key", "row", "since", "until", "who")
    who: tuple[str, str, str]  # subject, customer, feature
    available: int | None
    is_soft: bool
    extra: int
    since: datetime
    until: datetime | None  # null: never
    counters: Counters
    row: int
    holds: Held
    key: Any

    def used_at_once(self) -> int | None:
        """What is used, from any thread; null: it is moved just now, or this is no more the standing."""
        return self.counters.units_at_once(self.row)

    def in_words(self, asked: Asked, used: int, reserved: int) -> QuotaAnswer:
        """The whole answer when `used` and `reserved` are taken of it."""
        raise NotImplementedError

    def answer(self, amount: Decimal, used: int) -> QuotaAnswer:
        """The same, of which only the verdict is worked out at once."""
        reserved = self.holds.units(self.key)
        room = None if self.available is None else self.available - used - reserved
        reason = reason_of(room, units_of_amount(amount), self.is_soft, self.extra)
        return LazyAnswer(self, amount, used, reserved, reason != "exhausted" and reason != "would_exceed", reason)


class MonthStanding(Standing):
    """Of a hard limit of calendar months."""

    __slots__ = ("limit", "window")

    def __init__(
        self,
        who: tuple[str, str, str],
        limit: Decimal,
        window: tuple[datetime, datetime],
        steady: tuple[datetime, datetime],
        counter: tuple[Counters, int],
        holds: Held,
    ) -> None:
        self.who, self.limit, self.window = who, limit, window
        self.available, self.is_soft, self.extra = units_of_amount(limit), False, 0
        self.since, self.until = steady
        self.counters, self.row = counter
        self.holds, self.key = holds, (who[1], who[2], window[0])

    def in_words(self, asked: Asked, used: int, reserved: int) -> QuotaAnswer:
        """See Standing."""
        return judge(asked, self.limit, quantity(used), quantity(reserved), self.window)


class AccountStanding(Standing):
    """Of the one account that says what a subject may use, while its segment is at hand."""

    __slots__ = ("_of", "_sums", "_turn")

    def __init__(self, who: tuple[str, str, str], view: AccountView, sums: SegmentSums, row: int, holds: Held) -> None:
        self.who, self._of = who, (view.scope, view.owner, view.standing)
        self.available, self.is_soft, self.extra = view.standing.available, view.is_soft, view.extra
        self.since, self.until = view.standing.segment.start, view.standing.segment.end
        self.counters, self.row = sums.counters, row
        self.holds, self.key = holds, (view.scope, view.owner, who[2])
        self._sums, self._turn = sums, sums.turns[row]

    def used_at_once(self) -> int | None:
        """See Standing."""
        used = self.counters.units_at_once(self.row)
        return used if self._sums.turns[self.row] == self._turn else None

    def in_words(self, asked: Asked, used: int, reserved: int) -> QuotaAnswer:
        """See Standing."""
        return judge_accounts(asked, [AccountView(*self._of, used, reserved)])


class Standings:
    """Those that are known, by subject and feature. Any thread may ask; one at a time changes them."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Standing] = {}
        self._left_out: frozenset[str] = frozenset()

    def forget(self) -> None:
        """All of them: they may be others now."""
        self._known = {}

    def leave_out(self, customers: Collection[str]) -> None:
        """Keep none of customers of whom more must be asked."""
        self._left_out = frozenset(customers)
        self._known = {}

    def keep(self, standing: Standing) -> None:
        """For the checks to come."""
        subject, customer, feature = standing.who
        if customer not in self._left_out:
            if len(self._known) >= STANDINGS_MAX:
                self._known.clear()
            self._known[subject, feature] = standing

    def answer(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer | None:
        """The answer of a standing, beside a thread that counts. Null: there is none, or it is moved just now."""
        known = self._known
        standing = known.get((subject, feature))
        if standing is None or now < standing.since or (standing.until is not None and now >= standing.until):
            return None
        used = standing.used_at_once()
        if used is None or known is not self._known:
            return None
        return standing.answer(amount, used)


def units_of_amount(amount: Decimal) -> int:
    """So many units of 10^-9 it takes; a fraction of one takes it whole."""
    return math.ceil(EXACT.multiply(amount, _UNITS))


class LazyAnswer(QuotaAnswer):
    """The answer of a standing, of which only the verdict is worked out at once."""

    __slots__ = ("_in_words", "held", "standing", "taken")
    __setattr__ = object.__setattr__

    def __init__(
        self, standing: Standing, amount: Decimal, taken: int, held: int, allowed: bool, reason: Reason
    ) -> None:
        self.standing, self.taken, self.held = standing, taken, held
        self.allowed, self.reason, self.amount = allowed, reason, amount  # type: ignore[misc]
        self._in_words: QuotaAnswer | None = None

    def in_words(self) -> QuotaAnswer:
        """The whole answer."""
        if self._in_words is None:
            asked = Asked(*self.standing.who, self.amount)
            self._in_words = self.standing.in_words(asked, self.taken, self.held)
        return self._in_words

    def __eq__(self, other: object) -> bool:
        return self.in_words() == (other.in_words() if isinstance(other, LazyAnswer) else other)

    def __hash__(self) -> int:
        return hash(self.in_words())

    def __repr__(self) -> str:
        return repr(self.in_words())


def _read_in_words(name: str) -> Any:
    return property(lambda answer: getattr(answer.in_words(), name))


for _name in set(QuotaAnswer.__slots__) - {"allowed", "reason", "amount"}:
    setattr(LazyAnswer, _name, _read_in_words(_name))
