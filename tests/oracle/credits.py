"""The second opinion on prepaid credits: one instant after the other, one burn after the other, one grant after the
other, in plain loops over `decimal.Decimal`. It shares no code with the engine.

Grants, burns, resets and refunds are mappings with the fields of rating/core/credits/schema.py; absent is null.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import Any

NONE = Decimal(0)
Row = Mapping[str, Any]


@dataclass
class Outcome:
    paid: dict[int, Decimal] = field(default_factory=dict)
    credited: dict[int, Decimal] = field(default_factory=dict)
    left: dict[str, Decimal] = field(default_factory=dict)
    entries: list[tuple[str, str, datetime, int | None, Decimal]] = field(default_factory=list)


class Book:
    def __init__(self, grants: Sequence[Row], keys: Sequence[str]) -> None:
        self.grants = sorted(grants, key=lambda grant: [*(_sortable(grant, key) for key in keys), grant["grant"]])
        self.out = Outcome(left={grant["grant"]: NONE for grant in grants})
        self.payments: dict[int, list[tuple[Row, Decimal]]] = {}
        self.owed: list[Row] = []
        self.rest: dict[int, Decimal] = {}

    def note(self, kind: str, grant: Row, at: datetime, amount: Decimal, burn: int | None = None) -> None:
        if amount != 0 or kind == "refund" or (kind == "rollover" and self.out.left[grant["grant"]] != 0):
            self.out.entries.append((grant["grant"], kind, at, burn, amount))
        self.out.left[grant["grant"]] += amount
        assert self.out.left[grant["grant"]] >= 0

    def pay(self, burn: Row, at: datetime) -> None:
        for grant in self.grants:
            rest, left = self.rest[burn["burn"]], self.out.left[grant["grant"]]
            if rest <= 0 or left <= 0 or not _may_pay(grant, burn):
                continue
            taken, covered = _take(grant, rest, left)
            if taken > 0:
                self.note("burn", grant, at, -taken, burn["burn"])
                self.rest[burn["burn"]] -= covered
                self.out.paid[burn["burn"]] += covered
                self.payments.setdefault(burn["burn"], []).append((grant, covered))

    def refund(self, refund: Row, at: datetime) -> None:
        wanted = refund["amount"]
        payments = self.payments.get(refund["burn"], [])
        for place in reversed(range(len(payments))):
            grant, covered = payments[place]
            back = min(wanted, covered)
            if back > 0:
                cost = _cost(grant, covered) - _cost(grant, covered - back)
                payments[place] = (grant, covered - back)
                self.note("refund", grant, at, cost, refund["burn"])
                self.out.credited[refund["refund"]] += back
                wanted -= back


def _sortable(grant: Row, key: str) -> Any:
    value = grant.get(key)
    if value is not None and key == "expires_at":
        value = value.replace(microsecond=0)
    return (value is None, value if value is not None else 0)


def _may_pay(grant: Row, burn: Row) -> bool:
    if (grant["customer"], grant["unit"]) != (burn["customer"], burn["unit"]):
        return False
    if grant.get("subscription") not in (None, burn.get("subscription")):
        return False
    limits = ((grant.get("meters"), burn.get("meter")), (grant.get("prices"), burn.get("price")))
    return all(names is None or name in names for names, name in limits)


def _cost(grant: Row, covered: Decimal) -> Decimal:
    if grant.get("increment") is None:
        return covered
    increment = Decimal(grant["increment"])
    steps = (covered / increment).to_integral_value(ROUND_CEILING)
    return steps * increment * Decimal(grant.get("factor") or 1)


def _take(grant: Row, rest: Decimal, left: Decimal) -> tuple[Decimal, Decimal]:
    if grant.get("increment") is None:
        return min(rest, left), min(rest, left)
    one = grant["increment"] * (grant.get("factor") or 1)
    steps = min(
        (rest / grant["increment"]).to_integral_value(ROUND_CEILING), (left / one).to_integral_value(ROUND_FLOOR)
    )
    return steps * one, min(rest, steps * grant["increment"])


def burn(
    grants: Sequence[Row],
    burns: Sequence[Row],
    until: datetime,
    *,
    order: Sequence[str] = ("priority", "expires_at", "created_at"),
    carries: bool = False,
    resets: Sequence[Row] = (),
    refunds: Sequence[Row] = (),
) -> Outcome:
    with localcontext(prec=120):
        return _burn(grants, burns, until, order, carries, resets, refunds)


def _burn(
    grants: Sequence[Row],
    burns: Sequence[Row],
    until: datetime,
    order: Sequence[str],
    carries: bool,
    resets: Sequence[Row],
    refunds: Sequence[Row],
) -> Outcome:
    book = Book(grants, order)
    book.rest = {b["burn"]: b["amount"] for b in burns}
    book.out.paid = {b["burn"]: NONE for b in burns}
    book.out.credited = {r["refund"]: NONE for r in refunds}
    asked = sorted(burns, key=lambda b: (b["time"], b["sequence"], b["burn"]))
    instants = {b["time"] for b in burns} | {r["at"] for r in resets} | {r["at"] for r in refunds}
    for grant in grants:
        instants |= {t for t in (grant["effective_at"], *_ends(grant), *_recurrences(grant, until)) if t is not None}
    for at in sorted(t for t in instants if t <= until):
        _change(book, at, until, resets, refunds)
        if carries:
            for b in [b for b in book.owed if book.rest[b["burn"]] > 0]:
                book.pay(b, at)
        for b in (b for b in asked if b["time"] == at):
            book.pay(b, at)
            book.owed.append(b)
    return book.out


def _ends(grant: Row) -> list[datetime]:
    return [grant[key] for key in ("expires_at", "voided_at") if grant.get(key) is not None]


def _recurrences(grant: Row, until: datetime) -> list[datetime]:
    if grant.get("recurs_every") is None:
        return []
    step = timedelta(days=int(grant["recurs_every"][:-1]) * {"d": 1, "w": 7}[grant["recurs_every"][-1]])
    at, found = grant["recurs_from"], []
    while at > grant["effective_at"]:
        at -= step
    while at <= until:
        found.append(at)
        at += step
    return found


def _change(book: Book, at: datetime, until: datetime, resets: Sequence[Row], refunds: Sequence[Row]) -> None:
    for refund in sorted((r for r in refunds if r["at"] == at), key=lambda r: r["refund"]):
        book.refund(refund, at)
    live = [grant for grant in book.grants if not _ends(grant) or min(_ends(grant)) > grant["effective_at"]]
    for grant in live:
        ends = _ends(grant)
        if ends and min(ends) <= at:
            voids = grant.get("expires_at") is None or min(ends) < grant["expires_at"]
            book.note("void" if voids else "expiry", grant, at, -book.out.left[grant["grant"]])
    for reset in (r for r in resets if r["at"] == at):
        for grant in (g for g in live if g["customer"] == reset["customer"] and _is_open(g, at)):
            if grant.get("rollover_maximum") is not None:
                left = book.out.left[grant["grant"]]
                kept = min(grant["rollover_maximum"], max(left, grant.get("rollover_minimum") or NONE))
                book.note("rollover", grant, at, kept - left)
        if not reset["keeps_overage"]:
            book.owed = [b for b in book.owed if b["customer"] != reset["customer"]]
    for grant in (g for g in live if _is_open(g, at) and at in _recurrences(g, until)):
        book.note("expiry", grant, at, -book.out.left[grant["grant"]])
        book.note(grant["kind"], grant, at, grant["amount"])
    for grant in (g for g in live if g["effective_at"] == at):
        book.note(grant["kind"], grant, at, grant["amount"])


def _is_open(grant: Row, at: datetime) -> bool:
    return bool(grant["effective_at"] < at and (not _ends(grant) or at < min(_ends(grant))))
