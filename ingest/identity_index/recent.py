"""The newest identities in memory: rows in the order of acceptance, and an open-addressed table that finds them.

Work is done for all rows of a call at once: each round looks at one slot of every row that is still undecided. With a
quarter of the slots taken at most, a handful of rounds is enough, and most strangers are told by the first.
"""

import numpy as np
import numpy.typing as npt

from ingest.identity_index.records import Records, Words

SLOTS_PER_ROW = 4


class RecentIdentities:
    """Up to `capacity` identities of the events from `first_sequence` on. One thread adds, any may look."""

    def __init__(self, first_sequence: int, capacity: int) -> None:
        self.first_sequence = first_sequence
        self.last_sequence = first_sequence - 1
        self.capacity = capacity
        self._count = 0
        self._rows = Records(np.empty(capacity, np.uint64), np.empty(capacity, np.uint64), np.empty(capacity, np.int64))
        slot_bits = (SLOTS_PER_ROW * capacity - 1).bit_length()
        self._shift = np.uint64(64 - slot_bits)
        self._last_slot = (1 << slot_bits) - 1
        self._slots = np.zeros(self._last_slot + 1, np.int32)  # 0 is free, otherwise a row + 1

    def __len__(self) -> int:
        return self._count

    @property
    def memory_bytes(self) -> int:
        """What the arrays take."""
        return 24 * self.capacity + self._slots.nbytes

    @property
    def room(self) -> int:
        """How many identities can still be added."""
        return self.capacity - self._count

    def records(self) -> Records:
        """All of them, in the order of acceptance."""
        return self._rows[: self._count]

    def add(self, records: Records, last_sequence: int) -> None:
        """Add identities that are not here and differ from each other, of the events up to `last_sequence`."""
        assert len(records) <= self.room
        rows = slice(self._count, self._count + len(records))
        for column, added in zip(_columns(self._rows), _columns(records), strict=True):
            column[rows] = added
        self._count += len(records)
        self.last_sequence = last_sequence
        marks, slots = np.arange(rows.start + 1, rows.stop + 1, dtype=np.int32), self._first_slots(records)
        while len(marks):
            is_free = self._slots[slots] == 0
            self._slots[slots[is_free]] = marks[is_free]  # of several for one slot the last one has it
            left = self._slots[slots] != marks
            marks, slots = marks[left], (slots[left] + 1) & self._last_slot

    def find(self, records: Records) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
        """Which rows of `records` are here (their fingerprints are not looked at), and the fingerprints they have."""
        rows, slots = np.arange(len(records)), self._first_slots(records)
        found: list[npt.NDArray[np.intp]] = []
        places: list[npt.NDArray[np.int32]] = []
        while len(rows):
            marks = self._slots[slots]
            taken = np.flatnonzero(marks)
            rows, slots, there = rows[taken], slots[taken], marks[taken] - 1
            is_same = self._rows.high[there] == records.high[rows]
            is_same &= self._rows.low[there] == records.low[rows]
            found.append(rows[is_same])
            places.append(there[is_same])
            rows, slots = rows[~is_same], (slots[~is_same] + 1) & self._last_slot
        if not found:
            return rows, np.zeros(0, np.int64)
        return np.concatenate(found), self._rows.fingerprint[np.concatenate(places)]

    def _first_slots(self, records: Records) -> npt.NDArray[np.int64]:
        return (records.high >> self._shift).view(np.int64)


def _columns(records: Records) -> tuple[Words, Words, npt.NDArray[np.int64]]:
    return records.high, records.low, records.fingerprint
