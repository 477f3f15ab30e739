"""Which runs become one, and the rows of that one, piece by piece.

Runs are merged `FAN_IN` neighbours at a time when they are of like size, so each identity is merged once for every
factor of `FAN_IN` that the index grows, and there are at most three runs of a size.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.identity_index.records import PIECE, Records, concatenated
from ingest.identity_index.run import Run

FAN_IN = 4
RUNS_MAX = 20  # only rebuilding can leave sizes in an order in which no four neighbours are alike


def due(counts: Sequence[int], smallest: int) -> slice | None:
    """Of runs with `counts` identities, oldest first, those that should become one now; null when none.

    A run of fewer than `smallest` counts as that many. The smallest come first, and the oldest of these: where merges
    have waited there are more than four of a size, and none must be left alone between larger ones.
    """
    sizes = [max(count, smallest) for count in counts]
    windows = [sizes[start : start + FAN_IN] for start in range(len(sizes) - FAN_IN + 1)]
    alike = [start for start, window in enumerate(windows) if max(window) < FAN_IN * min(window)]
    if not alike and len(sizes) <= RUNS_MAX:
        return None
    start = min(alike or range(len(windows)), key=lambda start: sum(windows[start]))
    return slice(start, start + FAN_IN)


def merged(runs: Sequence[Run]) -> Iterator[Records]:
    """The identities of all `runs`, ascending by high half, about `PIECE` at a time. Raises RunDamaged."""
    pieces = sum(len(run) for run in runs) // PIECE + 1
    cursors = [_Cursor(run) for run in runs]
    for piece in range(1, pieces + 1):
        bound = np.uint64(2**64 // pieces * piece) if piece < pieces else None
        rows = concatenated([cursor.below(bound) for cursor in cursors])
        if len(rows):
            yield rows[np.argsort(rows.high, kind="stable")]  # timsort: sorted stretches are merged in one pass


class _Cursor:
    """Reads a run from front to back."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._block = 0
        self._rest = run.read(0, 0)

    def below(self, bound: np.uint64 | None) -> Records:
        """The rows not yet taken whose high half is less than `bound`; all when it is null."""
        fences = self._run.fences
        end = len(fences) if bound is None else max(int(np.searchsorted(fences, bound)), self._block)
        rows = concatenated([self._rest, self._run.read(self._block, end)])
        taken = len(rows) if bound is None else int(np.searchsorted(rows.high, bound))
        self._block, self._rest = end, rows[taken:]
        return rows[:taken]
