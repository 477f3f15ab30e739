"""The history of one account of a quota, walked from its beginning, change by change."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Protocol

from tests.oracle.quota_records import NEVER, Customer, Entitlement, Grant, Owner, Stands
from tests.oracle.quota_windows import EPOCH, window

LIMIT = ""  # the limit of a window among grants


class Known(Protocol):
    """What a walk asks for."""

    customers: dict[str, Customer]

    def says(self, owner: Owner, at: datetime) -> Entitlement | None: ...
    def grants(self, owner: Owner, until: datetime) -> Iterator[Grant]: ...
    def used(self, owner: Owner, start: datetime, end: datetime, *, is_shared: bool) -> int: ...


class Walk:
    """The history of one account, from its beginning."""

    def __init__(self, quotas: Known, owner: Owner) -> None:
        self.quotas, self.owner = quotas, owner
        self.zone = quotas.customers[owner.customer].zone
        self.left: dict[str, int] = {}
        self.grants: dict[str, Grant] = {}
        self.says: Entitlement | None = None  # now
        self.said: Entitlement | None = None  # when last anything did
        self.window: tuple[datetime | None, datetime | None] = (None, None)
        self.more = 0  # rolled over into the window
        self.burnt: list[tuple[datetime, int]] = []  # of the limit
        self.owed: list[tuple[datetime, int]] = []
        self.uses: list[tuple[datetime, int]] = []
        self.said_until: datetime | None = None  # the end of the last change in which a plan or an override did
        self.kept: tuple[list[tuple[datetime, int]], list[tuple[datetime, int]]] | None = None  # uses and owed of them

    def to(self, now: datetime) -> Stands:
        at: datetime | None = self._beginning()
        used, following = 0, at
        while following is not None and following <= now:
            if at is not None and following != at:
                self._burn(at, used)
            at = following
            self._change(at)
            following = self._next(at)
            is_shared = bool(self.says and self.says.get("shared"))
            used = self.quotas.used(self.owner, at, following or NEVER, is_shared=is_shared)
        if at is None or at > now:
            return Stands(False, 0, 0, (None, None), None, [])
        return self._stands(used if self._is_entitled() else 0)

    def _is_entitled(self) -> bool:
        return self.says is not None or bool(self.grants)

    def _edges(self) -> set[datetime]:
        """Where plans, overrides and grants begin and end."""
        customer, feature = self.quotas.customers[self.owner.customer], self.owner.feature
        spans = [(o.start, o.end) for o in customer.overrides if o.feature == feature]
        spans += [(p.start, p.end) for p in customer.plans]
        edges = {edge for pair in spans for edge in pair if edge is not None}
        before = {edge: self.quotas.says(self.owner, edge - timedelta(microseconds=1)) for edge in edges}
        edges = {edge for edge in edges if self.quotas.says(self.owner, edge) != before[edge]}
        for grant in self.quotas.grants(self.owner, NEVER):
            edges |= {grant.start, grant.end}
        return edges - {NEVER}

    def _beginning(self) -> datetime | None:
        return min(self._edges(), default=None)

    def _next(self, at: datetime) -> datetime | None:
        later = {edge for edge in self._edges() if edge > at}
        if self.says is not None and self.window[1] is not None:
            later.add(self.window[1])
        return min(later, default=None)

    def _change(self, at: datetime) -> None:
        for id in [id for id, grant in self.grants.items() if grant.end == at]:
            del self.grants[id], self.left[id]
        if self.says is not None:
            self.said_until = at
        self.says = self.quotas.says(self.owner, at)
        self._keep_apart()
        if self.says is not None:
            self._turn(at, self.says)
        for grant in self.quotas.grants(self.owner, at):
            if grant.start == at:
                self.grants[grant.id], self.left[grant.id] = grant, grant.amount
        self.left.pop(LIMIT, None)
        if self.says is not None and self.says["limit"] is not None:
            self._limit(self.says["limit"])
        owed, self.owed = sorted(self.owed), []
        for when, amount in owed:
            self._pay(when, amount)

    def _keep_apart(self) -> None:
        """What was used of plans, and is owed of it, is not of the grants that are alone behind them."""
        if self.kept is not None and not (self.says is None and self.grants):
            self.uses, self.owed = self.kept[0] + self.uses, self.kept[1] + self.owed
            self.kept = None
        if self.kept is None and self.says is None:
            self.kept, self.uses, self.owed = (self.uses, self.owed), [], []

    def _turn(self, at: datetime, says: Entitlement) -> None:
        found = window(says["window"], at, self.zone, says.get("anchor"))
        if says["window"] == "lifetime":
            found = (self._first_entitled(), None)
        before, self.said = self.said, says
        reaches = self.said_until is not None and self.said_until > (found[0] or EPOCH)
        if before is not None and says["window"] == before["window"] == "rolling" and reaches:
            for kept in (self.burnt, self.owed, self.uses):
                kept[:] = [pair for pair in kept if pair[0] >= (found[0] or EPOCH)]
        elif found != self.window:
            self._reset(found, before)
        self.window = found

    def _reset(self, found: tuple[datetime | None, datetime | None], before: Entitlement | None) -> None:
        self.more = 0
        if before is None or not before.get("carry"):
            self.owed = []
        if before is not None:
            if before.get("rollover") and self.window[1] == found[0] and LIMIT in self.left:
                low, high = before["rollover"]
                self.more = min(high, max(low, self.left[LIMIT]))
            for id, grant in self.grants.items():
                if grant.most is not None and self.said_until is not None and grant.start < self.said_until:
                    self.left[id] = min(grant.most, self.left[id])
        self.burnt, self.uses = [], []

    def _first_entitled(self) -> datetime:
        return min(edge for edge in self._edges() if self.quotas.says(self.owner, edge) is not None)

    def _limit(self, limit: int) -> None:
        """What was burnt of it stays burnt; what was above a lower one is owed, the last first."""
        left = limit + self.more - sum(amount for _, amount in self.burnt)
        while left < 0:
            when, amount = self.burnt.pop()
            above = min(amount, -left)
            self.owed.append((when, above))
            if amount > above:
                self.burnt.append((when, amount - above))
            left += above
        self.left[LIMIT] = left

    def _burn(self, at: datetime, amount: int) -> None:
        if self._is_entitled():
            self.uses.append((at, amount))
            if self.says is None or self.says["limit"] is not None:
                self._pay(at, amount)

    def _pay(self, at: datetime, amount: int) -> None:
        for id in self._in_order():
            paid = min(amount, self.left[id])
            self.left[id] -= paid
            amount -= paid
            if id == LIMIT and paid:
                self.burnt.append((at, paid))
        if amount:
            self.owed.append((at, amount))

    def _in_order(self) -> list[str]:
        def place(id: str) -> tuple[Any, ...]:
            if id == LIMIT:
                start, end = self.window
                return 100, (end or NEVER).replace(microsecond=0), start or NEVER, id
            grant = self.grants[id]
            return grant.priority, (grant.expires or NEVER).replace(microsecond=0), grant.created, id

        return sorted(self.left, key=place)

    def _stands(self, used: int) -> Stands:
        before, has_no_limit = sum(n for _, n in self.uses), self.says is not None and self.says["limit"] is None
        available = sum(self.left.values()) - sum(n for _, n in self.owed)
        limit, left = None if has_no_limit else before + available, [(id, self.left[id]) for id in self._in_order()]
        window_now = self.window if self.says is not None else (None, None)
        return Stands(self._is_entitled(), before + used, limit, window_now, self.says, left)
