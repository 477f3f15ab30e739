"""What is left of an account: the sums of usage of its segments burnt down in a plain loop, in exact whole numbers.

The limit of a window is a grant among others, at the priority of its entitlement. Usage asks them in the order of
credits (rating/core/credits/order.py): priority, the earliest expiry, creation, id. What none pays is owed, and paid
first by what comes later: a grant that begins, a limit that rises. At the end of a window it is forgotten or carried.
What is burnt of a limit stays burnt when it changes inside the window; what is above a lower one is owed. In a rolling
window the limit has paid what the tiles in it used, and what an earlier tile used or owed leaves with it.

Grants alone have no window: what is used of them counts from where the plan ends, or the first of them begins, to where
none is in force. The window of the plan waits meanwhile: they neither have used nor pay what it owes. A plan that goes
on in that window takes along what was used of them, and what is owed of it; another window does not, but for what is
carried.

A segment whose usage is below zero has more room itself, and leaves nothing to those behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from rating.core.quota.segments import Segment
from rating.core.quota.terms import QuotaGrant, Span

PLAN = ""
"""What the limit of a window is called among grants: no grant has this id."""

_Order: TypeAlias = tuple[int, datetime, datetime, str]
_Waiting: TypeAlias = tuple[list[tuple[datetime, int]], list[tuple[datetime, int]]]  # debts and uses
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an account stands at the start of `segment`, in units of 10^-9."""

    segment: Segment
    available: int | None  # what grants have left less what is owed; null: unlimited
    owed: int
    window_used_before: int  # in the window, by the segments before
    order: tuple[tuple[str, int], ...]  # the grants (PLAN: the limit) and what is left of each, the first to burn first
    rolled: int = 0  # what the window has more than its limit, from the one before

    @property
    def is_entitled(self) -> bool:
        """Whether anything gives the feature."""
        return self.segment.span is not None or bool(self.order)

    def left_after(self, used: int) -> tuple[tuple[str, int], ...]:
        """`order` after `used` of the segment."""
        left = []
        for name, amount in self.order:
            taken = min(max(used, 0), amount)
            used -= taken
            left.append((name, amount - taken))
        return tuple(left)


def burn_down(segments: Sequence[Segment], sums: Mapping[datetime, int]) -> Standing:
    """The standing at the start of the last of `segments`; `sums` is what was used by the start of a segment."""
    account = _Account()
    for place, segment in enumerate(segments):
        account.begin(segment)
        if place + 1 < len(segments):
            account.use(segment, sums.get(segment.start, 0))
    return account.standing(segments[-1])


@dataclass
class _Account:
    """What grants and the limit have left, and what is owed, while time goes on."""

    lefts: dict[str, int] = field(default_factory=dict)
    grants: dict[str, QuotaGrant] = field(default_factory=dict)
    window: tuple[datetime | None, datetime | None] | None = None
    span: Span | None = None  # the last one that entitled
    rolled: int = 0  # what the window has more than its limit
    burnt: list[tuple[datetime, int]] = field(default_factory=list)  # of the limit, by the segment that used it
    debts: list[tuple[datetime, int]] = field(default_factory=list)  # the same of what is owed, the oldest first
    uses: list[tuple[datetime, int]] = field(default_factory=list)  # what segments used in the window
    waiting: _Waiting | None = None  # of a window, while no plan entitles

    def begin(self, segment: Segment) -> None:
        """Make the changes at the start of a segment: ends, rollovers, recurrences, beginnings; then pay debts."""
        for grant in segment.ends:
            self.grants.pop(grant.id, None)
            self.lefts.pop(grant.id, None)
        self._set_aside(segment)
        if segment.span is not None:
            self._turn(segment, segment.span)
        for grant in (*segment.recurs, *segment.begins):
            self.grants[grant.id] = grant
            self.lefts[grant.id] = grant.amount
        self._set_limit(segment)
        self._pay_debts(segment)

    def _set_aside(self, segment: Segment) -> None:
        """Let the window of a plan wait where none entitles, and take it up again where one does."""
        if self.waiting is not None and (segment.span is not None or not self.grants):
            debts, uses = self.waiting
            self.waiting, self.debts, self.uses = None, debts + self.debts, uses + self.uses
        if self.waiting is None and segment.span is None:
            self.waiting, self.debts, self.uses = (self.debts, self.uses), [], []

    def use(self, segment: Segment, amount: int) -> None:
        """Burn what a segment used."""
        if segment.span is None and not self.grants:
            return
        self.uses.append((segment.start, amount))
        if segment.span is not None and segment.span.limit is None:
            return
        rest = self._pay(segment, segment.start, max(amount, 0))
        if rest:
            self.debts.append((segment.start, rest))

    def standing(self, segment: Segment) -> Standing:
        order = tuple((name, self.lefts[name]) for name in self._order(segment))
        owed = sum(amount for _, amount in self.debts)
        is_unlimited = segment.span is not None and segment.span.limit is None
        available = None if is_unlimited else sum(left for _, left in order) - owed
        rolled = self.rolled if PLAN in self.lefts else 0
        return Standing(segment, available, owed, sum(amount for _, amount in self.uses), order, rolled)

    def _turn(self, segment: Segment, span: Span) -> None:
        """Begin another window, where the segment is in another one."""
        window = (segment.window_start, segment.window_end)
        before, self.span = self.span, span
        is_rolling = span.window.kind == "rolling"
        if before is not None and is_rolling and before.window == span.window and _reaches(before, segment):
            self._roll(segment)
        elif window != self.window:
            self._reset(segment, before)
        self.window = window

    def _roll(self, segment: Segment) -> None:
        """Let go what a rolling window has left behind."""
        assert segment.window_start is not None
        for kept in (self.burnt, self.debts, self.uses):
            kept[:] = [(at, amount) for at, amount in kept if at >= segment.window_start]

    def _reset(self, segment: Segment, before: Span | None) -> None:
        if before is None or not before.carries:
            self.debts = []
        for name, grant in self.grants.items():
            was_there = before is not None and (before.end is None or grant.effective_at < before.end)
            if grant.rollover_maximum is not None and was_there:
                self.lefts[name] = _rolled(self.lefts[name], grant.rollover_minimum, grant.rollover_maximum)
        is_next = self.window is not None and self.window[1] == segment.window_start
        kept = before.rollover if before is not None and is_next and PLAN in self.lefts else None
        self.rolled = _rolled(self.lefts[PLAN], *kept) if kept is not None else 0
        self.burnt, self.uses = [], []

    def _set_limit(self, segment: Segment) -> None:
        """What the limit has left; what was burnt above it is owed."""
        if segment.span is None or segment.span.limit is None:
            self.lefts.pop(PLAN, None)
            return
        left = segment.span.limit + self.rolled - sum(amount for _, amount in self.burnt)
        while left < 0:
            at, amount = self.burnt.pop()
            above = min(amount, -left)
            left += above
            self.debts.append((at, above))
            if amount > above:
                self.burnt.append((at, amount - above))
        self.lefts[PLAN] = left

    def _pay_debts(self, segment: Segment) -> None:
        debts, self.debts = sorted(self.debts), []
        for at, amount in debts:
            rest = self._pay(segment, at, amount)
            if rest:
                self.debts.append((at, rest))

    def _pay(self, segment: Segment, at: datetime, amount: int) -> int:
        """Take `amount`, used at `at`, of what is left in order; what is not paid."""
        for name in self._order(segment) if amount else ():
            taken = min(amount, self.lefts[name])
            self.lefts[name] -= taken
            amount -= taken
            if name == PLAN and taken:
                self.burnt.append((at, taken))
        return amount

    def _order(self, segment: Segment) -> list[str]:
        return sorted(self.lefts, key=lambda name: self._place(segment, name))

    def _place(self, segment: Segment, name: str) -> _Order:
        if name == PLAN:
            assert segment.span is not None
            return segment.span.priority, _second(segment.window_end), segment.window_start or _NEVER, name
        grant = self.grants[name]
        return grant.priority, _second(grant.expires_at), grant.created_at, name


def _reaches(before: Span, segment: Segment) -> bool:
    """Whether a span that is over reaches into the window of a segment."""
    return before.end is None or (segment.window_start is not None and before.end > segment.window_start)


def _rolled(left: int, minimum: int, maximum: int) -> int:
    return min(maximum, max(left, minimum))


def _second(at: datetime | None) -> datetime:
    return _NEVER if at is None else at.replace(microsecond=0)
