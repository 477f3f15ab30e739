"""Every identity that was ever accepted, in memory, with the fingerprint of its event.

Sorted runs of (high, low, fingerprint), 24 bytes an event. A new group becomes a run; a run that is not at least four
times as large as the next is merged with it, so that there are few and each event is merged a few times in all. It is a
cache: rebuilt from the usage table and the journal at start.
"""

from dataclasses import dataclass

import numpy as np

from ingest.identity import BodyHash, IdentityHash

RUN_GROWTH = 4


@dataclass(frozen=True)
class _Run:
    high: np.ndarray  # ascending
    low: np.ndarray
    fingerprint: np.ndarray


class IdentityIndex:
    """Not for several threads: the thread that commits owns it."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return sum(len(run.high) for run in self._runs)

    def lookup(self, identity: IdentityHash) -> tuple[np.ndarray, BodyHash]:
        """Whether each identity is known, and the fingerprint of its event (0 where it is not)."""
        high, low = identity
        order = np.argsort(high)
        sorted_high, sorted_low = high[order], low[order]
        known, fingerprint = np.zeros(len(high), bool), np.zeros(len(high), np.int64)
        for run in self._runs:
            rows, places = _find(run, sorted_high, sorted_low)
            known[order[rows]] = True
            fingerprint[order[rows]] = run.fingerprint[places]
        return known, fingerprint

    def add(self, identity: IdentityHash, fingerprint: BodyHash) -> None:
        """Remember events that were accepted; none of them is known."""
        if not len(fingerprint):
            return
        self._runs.append(_sorted(identity[0], identity[1], fingerprint))
        while len(self._runs) > 1 and len(self._runs[-2].high) < RUN_GROWTH * len(self._runs[-1].high):
            newer, older = self._runs.pop(), self._runs.pop()
            columns = ((older.high, newer.high), (older.low, newer.low), (older.fingerprint, newer.fingerprint))
            self._runs.append(_sorted(*(np.concatenate(pair) for pair in columns)))


def _sorted(high: np.ndarray, low: np.ndarray, fingerprint: np.ndarray) -> _Run:
    order = np.argsort(high, kind="stable")  # timsort: two sorted halves are merged in one pass
    return _Run(high[order], low[order], fingerprint[order])


def _find(run: _Run, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the (ascending) query that are in `run`, and their places in it."""
    places = np.searchsorted(run.high, high)
    rows = np.flatnonzero(run.high[np.minimum(places, len(run.high) - 1)] == high)
    places = places[rows]
    found_rows, found_places = [], []
    while len(rows):  # more than once only where several identities share their high half
        same = run.low[places] == low[rows]
        found_rows.append(rows[same])
        found_places.append(places[same])
        rows, places = rows[~same], places[~same] + 1
        more = (places < len(run.high)) & (run.high[np.minimum(places, len(run.high) - 1)] == high[rows])
        rows, places = rows[more], places[more]
    if not found_rows:
        return rows, places
    return np.concatenate(found_rows), np.concatenate(found_places)
