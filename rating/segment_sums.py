"""What the accounts of one feature used, by segment: of the segment at hand a row of arrays, so that a million accounts
are no objects; of other segments, whose sums few accounts need, a dictionary.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rating.counters import UNITS, Counters, Rows, Units

Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
FIRST, LAST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
"""Before and behind all instants, in microseconds."""
_ROOM = 1024


class SegmentSums:
    """A row is an account, and its segment at hand [start, end) in microseconds; an `end` of 0 says that none is known.
    One thread at a time moves them."""

    def __init__(self, rows: int) -> None:
        self.counters = Counters(rows)  # of the segment at hand; their thresholds are the next levels
        self.start, self.end = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        self.others: dict[int, dict[int, int]] = {}  # by row and the start of a segment
        self._turns = np.zeros(rows, np.int32)  # another number says that more has changed than the sum at hand
        self.turns = memoryview(self._turns)  # type: ignore[arg-type]

    def grow(self, rows: int) -> None:
        """Have so many rows, and room for some more."""
        if rows <= len(self.start):
            return
        more = max(rows - len(self.start), len(self.start) // 8, _ROOM)
        self.counters.grow(more)
        self.start, self.end = (np.append(words, np.zeros(more, np.int64)) for words in (self.start, self.end))
        self._turns = np.append(self._turns, np.zeros(more, np.int32))
        self.turns = memoryview(self._turns)  # type: ignore[arg-type]

    def adopt(self, old: "SegmentSums", rows: Rows, own: Rows) -> None:
        """Take over `rows` of others as `own` rows."""
        self.start[own], self.end[own] = old.start[rows], old.end[rows]
        self.counters.adopt(old.counters, rows, own)
        place = dict(zip(rows.tolist(), own.tolist(), strict=True)) if old.others else {}
        self.others.update({place[row]: sums for row, sums in old.others.items() if row in place})

    def is_at(self, row: int, start: int) -> bool:
        """Whether the segment at hand is the one that begins at `start`."""
        return bool(self.start[row] == start and self.end[row] != 0)

    def used(self, row: int, start: int) -> int:
        """What the segment used that begins at `start`."""
        if self.is_at(row, start):
            return self.counters.units(row)
        return self.others.get(row, {}).get(start, 0)

    def add(self, row: int, start: int, units: int) -> None:
        """Count `units` in the segment that begins at `start`."""
        if self.is_at(row, start):
            self.counters.put(row, self.counters.units(row) + units)
        else:
            self._turns[row] += 1
            sums = self.others.setdefault(row, {})
            sums[start] = sums.get(start, 0) + units

    def turn(self, row: int, start: int, end: int, least: int | None) -> None:
        """From now on the segment [start, end) is at hand, and `least` is at how many units its next level is."""
        if not self.is_at(row, start):
            self._turns[row] += 1
            sums = self.others.pop(row, {})
            if self.end[row] != 0 and self.counters.is_counted(row):
                sums[int(self.start[row])] = self.counters.units(row)
            self.start[row], used = start, sums.pop(start, 0)
            self.counters.put(row, used)
            if sums:
                self.others[row] = sums
        self.end[row] = end
        self.counters.expect(row, least)

    def begin(self, rows: Rows, start: Times, end: Times, thresholds: Units) -> None:
        """The same for many rows that have used nothing yet, and whose sums of before matter no more; thresholds are
        in whole units."""
        self._turns[rows] += 1
        self.start[rows] = start
        self.counters.empty(rows, thresholds)
        self.end[rows] = end

    def forget(self, row: int, before: int) -> None:
        """Let go the sums of segments that begin before an instant."""
        if row in self.others:
            kept = {start: used for start, used in self.others.pop(row).items() if start >= before}
            if kept:
                self.others[row] = kept

    def items(self, row: int) -> Iterator[tuple[int, int]]:
        """The start of each segment that is known, and what it used."""
        if self.end[row] != 0 and self.counters.is_counted(row):
            yield int(self.start[row]), self.counters.units(row)
        yield from self.others.get(row, {}).items()

    def counted(self) -> list[int]:
        """The rows in which anything was counted, ascending."""
        at_hand: list[int] = self.counters.counted().tolist()
        return sorted({*at_hand, *self.others})

    def strangers(self, rows: Rows, at: int) -> Rows:
        """Those of `rows`, each once, whose segment at hand does not hold `at`, and which need no other sums."""
        away = np.unique(rows[(at < self.start[rows]) | (self.end[rows] <= at)])
        return np.array([row for row in away.tolist() if row not in self.others], np.int64) if self.others else away

    def add_quietly(self, rows: Rows, times: Times, units: Units, at: int) -> Mask:
        """Count what only moves the sums of segments at hand at `at`, and reaches no level. True where it was not
        counted: all that a row is to count, or nothing."""
        if units.dtype == object:
            return np.ones(len(rows), bool)
        each, places = np.unique(rows, return_inverse=True)
        loud: Mask = (at < self.start[each]) | (self.end[each] <= at)
        loud[places[(times < self.start[rows]) | (self.end[rows] <= times) | (units < 0)]] = True
        whole, rest = np.zeros(len(each), np.int64), np.zeros(len(each), np.int64)
        np.add.at(whole, places, units // UNITS)
        np.add.at(rest, places, units % UNITS)
        loud |= self.counters.would_reach(each, whole, rest)
        left: Mask = loud[places]
        self.counters.add(rows[~left], units[~left])
        return left
