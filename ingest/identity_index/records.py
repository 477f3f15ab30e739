"""Identities with the fingerprints of their events, as columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PIECE = 1 << 16
"""Rows that are worked on at once: their columns fit into a cache."""

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Records:
    """One row is one accepted event: the two halves of its identity hash, and its fingerprint. 24 bytes."""

    high: Words
    low: Words
    fingerprint: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.high)

    def __getitem__(self, rows: slice | npt.NDArray[np.intp]) -> "Records":
        return Records(self.high[rows], self.low[rows], self.fingerprint[rows])


def concatenated(parts: Sequence[Records]) -> Records:
    """The rows of `parts` (at least one), one behind the other."""
    if len(parts) == 1:
        return parts[0]
    return Records(
        np.concatenate([part.high for part in parts]),
        np.concatenate([part.low for part in parts]),
        np.concatenate([part.fingerprint for part in parts]),
    )


def pieces(records: Records) -> Iterator[Records]:
    """The rows, `PIECE` at a time."""
    for at in range(0, len(records), PIECE):
        yield records[at : at + PIECE]


def in_order(records: Records) -> Records:
    """The rows by ascending high half; those that share it are in any order."""
    return records[np.argsort(records.high)]
