"""What a quota check is compared with, worked out once and kept for as long as it holds, and its answer, put into words
only where somebody reads it.

A check asks for a yes or no a million times for each time that its words are read. So it compares integers of 10^-9,
and an answer keeps these: its Decimals and its message are made, by the one rule `judge`, when they are looked at.
"""

import math
from datetime import datetime
from decimal import Decimal
from typing import Any

from rating.core.quota.answer import EXACT, Asked, QuotaAnswer, Reason, judge
from rating.counters import UNITS, Counters, quantity

_UNITS = Decimal(UNITS)


class Standing:
    """A subject's quota of a feature on [since, until), in which its limit and its window stay.

    What is used of it is in `row` of `counters`, what is held of it under `window_key`.
    """

    __slots__ = (
        "counters",
        "customer",
        "feature",
        "limit",
        "limit_units",
        "row",
        "since",
        "subject",
        "until",
        "window",
        "window_key",
    )

    def __init__(
        self,
        who: tuple[str, str, str],
        limit: Decimal,
        window: tuple[datetime, datetime],
        steady: tuple[datetime, datetime],
        counter: tuple[Counters, int],
    ) -> None:
        self.subject, self.customer, self.feature = who
        self.limit, self.limit_units = limit, units_of_amount(limit)
        self.window, self.window_key = window, (self.customer, self.feature, window[0])
        self.since, self.until = steady
        self.counters, self.row = counter

    def answer(self, amount: Decimal, used: int, reserved: int) -> QuotaAnswer:
        """The answer when `used` and `reserved`, in units of 10^-9, are taken of it."""
        room = self.limit_units - used - reserved
        if room <= 0:
            return LazyAnswer(self, amount, used, reserved, False, "exhausted")
        if units_of_amount(amount) <= room:
            return LazyAnswer(self, amount, used, reserved, True, "allowed")
        return LazyAnswer(self, amount, used, reserved, False, "would_exceed")


def units_of_amount(amount: Decimal) -> int:
    """So many units of 10^-9 it takes; a fraction of one takes it whole."""
    return math.ceil(EXACT.multiply(amount, _UNITS))


class LazyAnswer(QuotaAnswer):
    """The answer that `judge` gives, of which only the verdict is worked out at once."""

    __slots__ = ("_held", "_in_words", "_standing", "_taken")
    __setattr__ = object.__setattr__

    def __init__(
        self, standing: Standing, amount: Decimal, used: int, reserved: int, allowed: bool, reason: Reason
    ) -> None:
        self._standing, self._taken, self._held = standing, used, reserved
        self.allowed, self.reason, self.amount = allowed, reason, amount  # type: ignore[misc]
        self._in_words: QuotaAnswer | None = None

    def in_words(self) -> QuotaAnswer:
        """The whole answer."""
        if self._in_words is None:
            of = self._standing
            asked = Asked(of.subject, of.customer, of.feature, self.amount)
            self._in_words = judge(asked, of.limit, quantity(self._taken), quantity(self._held), of.window)
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
