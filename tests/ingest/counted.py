"""Which events count, in plain Python: the oracle of the state machine. What was accepted is a list, and the rules of
docs/ingest.md and docs/backfills.md are applied to it each time anew: there is no state to go stale.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ingest.backfill_range import BackfillRange

Key = tuple[str, str]
Body = dict[str, Any]


@dataclass(eq=False)
class Record:
    """An accepted event: `place` is where it stands among those of its log, `backfill` the one that it is staged in."""

    body: Body
    place: int
    backfill: "Backfill | None" = None
    corrects: "Record | None" = None
    is_void: bool = False
    is_corrected: bool = False

    @property
    def key(self) -> Key:
        return self.body["source"], self.body["id"]

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(self.body["time"])

    def root(self) -> "Record":
        """The event that it corrects, perhaps over several corrections."""
        return self if self.corrects is None else self.corrects.root()


@dataclass(eq=False)
class Backfill:
    """`hidden` and `refused` are settled when it is committed."""

    id: str
    range: BackfillRange
    opened_at: int
    staged: dict[Key, Record] = field(default_factory=dict)
    hidden: set[Record] = field(default_factory=set)
    refused: set[Record] = field(default_factory=set)

    def takes(self, record: Record) -> bool:
        """Whether it puts an event that was there before out of force."""
        is_in = self.range.start <= record.time < self.range.end
        return record in self.hidden or (is_in and (record.backfill is not None or record.place <= self.opened_at))


@dataclass
class Counted:
    """`log` is in the order of acceptance; `committed` are the backfills in force, in the order of their commits."""

    log: list[Record] = field(default_factory=list)
    committed: list[Backfill] = field(default_factory=list)

    def accept(self, body: Body, corrects: Record | None = None, *, is_void: bool = False) -> Record:
        """A new event of the log."""
        if corrects is not None:
            corrects.is_corrected = True
        self.log.append(Record(body, len(self.log) + 1, corrects=corrects, is_void=is_void))
        return self.log[-1]

    def known(self, key: Key) -> list[Record]:
        """Everything that was accepted with this identity, and is not forgotten."""
        staged = (backfill.staged[key] for backfill in self.committed if key in backfill.staged)
        return [*(record for record in self.log if record.key == key), *staged]

    def counts(self, record: Record) -> bool:
        """Whether an event counts now."""
        if record.is_corrected or record.is_void or not self.is_in_force(record):
            return False
        if record.backfill is not None and record in record.backfill.refused:
            return False
        return not any(later.takes(record) for later in self._behind(record.backfill))

    def is_in_force(self, record: Record) -> bool:
        """Whether the backfill, if any, that it is of or corrects is committed."""
        backfill = record.root().backfill
        return backfill is None or backfill in self.committed

    def kept(self) -> dict[Key, Record]:
        """Those that count, by identity: each once."""
        found = [record for record in self._all() if self.counts(record)]
        by_key = {record.key: record for record in found}
        assert len(by_key) == len(found), "an identity counts twice"
        return by_key

    def commit(self, backfill: Backfill) -> None:
        """Settle what of the backfill counts, and let it."""
        since = [record for record in self.log if record.place > backfill.opened_at]
        backfill.hidden = {record for record in since if record.key in backfill.staged}
        for record in since:  # in their order: a replacement may be replaced
            if record.corrects is not None and backfill.takes(record.corrects):
                backfill.hidden.add(record)
        backfill.refused = {staged for key, staged in backfill.staged.items() if self._stands_elsewhere(key, backfill)}
        self.committed.append(backfill)

    def _stands_elsewhere(self, key: Key, backfill: Backfill) -> bool:
        over = [other for other in self.committed if other.range.overlaps(backfill.range)]
        for record in self.known(key):
            is_out = record.backfill is not None and record in record.backfill.refused
            later = [other for other in self._behind(record.backfill) if other in over]
            if not is_out and not backfill.takes(record) and not any(other.takes(record) for other in later):
                return True
        return False

    def _behind(self, backfill: Backfill | None) -> list[Backfill]:
        return self.committed if backfill is None else self.committed[self.committed.index(backfill) + 1 :]

    def _all(self) -> Iterator[Record]:
        yield from self.log
        for backfill in self.committed:
            yield from backfill.staged.values()
