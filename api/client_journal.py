"""What a client of quotas may spend while the server is away, and the journal that knows of it.

The journal is a line of JSON for each part, appended and synced before anything of it is spent; another line says how
much of it was used in the end, where that is known. What a crash leaves counts as used whole. When the server is back
each part is sent as usage under its own identity, so that it is counted once however often it is sent; then the journal
is cut, and the whole allowance is there again. Needs the standard library alone.
"""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

SOURCE = "lease-client"
PARTS = 10  # into which an allowance is divided at most, unless a caller takes more at once
_UNITS = 10**9


def units_of(amount: int | Decimal) -> int:
    """An amount in units of 10^-9. Raises ValueError for one that is smaller than that, or below zero."""
    units = Decimal(amount).scaleb(9)
    if units != units.to_integral_value() or units < 0:
        raise ValueError(f"{amount} is no amount: it has at most 9 decimals, and is not below zero")
    return int(units)


def digits(units: int) -> str:
    """The same as text, without an exponent."""
    whole, rest = divmod(units, _UNITS)
    return str(whole) if not rest else f"{whole}.{rest:09d}".rstrip("0")


@dataclass
class _Part:
    """A part of the allowance; `left` of it may still be spent, `used` is what it comes to when that is known."""

    id: str
    subject: str
    feature: str
    amount: int
    time: str
    left: int = 0
    used: int | None = None
    is_open: bool = False  # a call of this process still says what it used

    @property
    def pair(self) -> tuple[str, str]:
        return self.subject, self.feature


class Allowance:
    """`units` for each subject and feature until the journal is cut. For several threads."""

    def __init__(self, journal: Path, units: int) -> None:
        self._path, self._units = journal, units
        self._lock = threading.Lock()
        self._parts: dict[str, _Part] = {}
        self._spending: dict[tuple[str, str], _Part] = {}
        self._spoken_for: dict[tuple[str, str], int] = {}
        if journal.exists():
            self._read(journal.read_bytes())
        else:
            self._cut()

    def take(self, subject: str, feature: str, units: int) -> bool:
        """Whether there is so much left; it is spent then."""
        with self._lock:
            part = self._spending.get((subject, feature))
            if part is None or part.left < units:
                part = self._begin(subject, feature, units, at_least=max(units, self._units // PARTS))
                if part is None:
                    return False
                part.left = part.amount
                self._close(subject, feature)
                self._spending[subject, feature] = part
            part.left -= units
            return True

    def take_alone(self, subject: str, feature: str, units: int) -> str | None:
        """The id of a part of its own, to be settled by a call; nothing where there is not so much left."""
        with self._lock:
            part = self._begin(subject, feature, units, at_least=units)
            if part is None:
                return None
            part.is_open = True
            return part.id

    def settle(self, id: str, used: int) -> None:
        """What a call has used."""
        with self._lock:
            self._used(self._parts[id], used)

    def send(self, post: Callable[[dict[str, Any]], object]) -> None:
        """Hand over everything that is known to be used, each under its identity, and cut the journal when nothing is
        left in it. What `post` raises stops it: all of it is sent again then."""
        with self._lock:
            for pair in list(self._spending):
                self._close(*pair)
            known = [part for part in self._parts.values() if not part.is_open]
        for part in known:
            used = part.amount if part.used is None else part.used
            if used:
                post(_usage(part, used))
        with self._lock:
            for part in known:
                del self._parts[part.id]
            if known and not self._parts:
                self._spoken_for.clear()
                self._cut()

    def _begin(self, subject: str, feature: str, units: int, at_least: int) -> _Part | None:
        spoken_for = self._spoken_for.get((subject, feature), 0)
        amount = min(at_least, self._units - spoken_for)
        if amount < units or amount <= 0:
            return None
        part = _Part(uuid4().hex, subject, feature, amount, datetime.now(UTC).isoformat())
        who = {"id": part.id, "subject": subject, "feature": feature}
        self._append({**who, "amount": digits(amount), "time": part.time})
        self._parts[part.id] = part
        self._spoken_for[subject, feature] = spoken_for + amount
        return part

    def _close(self, subject: str, feature: str) -> None:
        part = self._spending.pop((subject, feature), None)
        if part is not None:
            self._used(part, part.amount - part.left)

    def _used(self, part: _Part, used: int) -> None:
        if used != part.amount:
            self._append({"id": part.id, "used": digits(used)})
        part.used, part.is_open = used, False

    def _append(self, line: dict[str, str]) -> None:
        with self._path.open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _cut(self) -> None:
        with self._path.open("wb") as file:
            os.fsync(file.fileno())
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _read(self, content: bytes) -> None:
        """A line that is not whole was never spent of."""
        whole = content[: content.rfind(b"\n") + 1]
        for line in map(json.loads, whole.splitlines()):
            if "used" in line:
                self._parts[line["id"]].used = units_of(Decimal(line["used"]))
            else:
                amount = units_of(Decimal(line["amount"]))
                part = _Part(line["id"], line["subject"], line["feature"], amount, line["time"])
                self._parts[part.id] = part
                self._spoken_for[part.pair] = self._spoken_for.get(part.pair, 0) + amount
        if whole != content:
            os.truncate(self._path, len(whole))


def _usage(part: _Part, used: int) -> dict[str, Any]:
    who = {"id": part.id, "source": SOURCE, "subject": part.subject, "feature": part.feature}
    return {**who, "amount": digits(used), "time": part.time, "was_used": True}
