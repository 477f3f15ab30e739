"""What a repair could not save: the ranges of sequences that neither journal nor usage table has, kept for ever.

A start refuses any other gap.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rating.disk import Disk

LOSSES_FILE = "losses.json"


@dataclass(frozen=True)
class Loss:
    """Events that were accepted and are gone, from `first_sequence` to `last_sequence` (both included).

    At the end of the journal nobody knows how many there were: then `last_sequence` is null, and the next events get
    these sequences again.
    """

    first_sequence: int
    last_sequence: int | None

    def covers(self, first_sequence: int, last_sequence: int) -> bool:
        """Whether all of a range is lost."""
        return (
            self.last_sequence is not None
            and self.first_sequence <= first_sequence
            and last_sequence <= self.last_sequence
        )


def read_losses(journal: Path) -> list[Loss]:
    """The losses of all repairs, in order; none when there was no repair."""
    path = journal / LOSSES_FILE
    return [Loss(**loss) for loss in json.loads(path.read_bytes())] if path.exists() else []


def write_losses(disk: Disk, journal: Path, losses: Iterable[Loss]) -> None:
    """Put `losses` in the place of those that were listed, durably."""
    ordered = sorted(set(losses), key=lambda loss: (loss.first_sequence, loss.last_sequence or 0))
    disk.publish(journal / LOSSES_FILE, [json.dumps([asdict(loss) for loss in ordered], indent=1).encode()])


def is_lost(losses: Sequence[Loss], first_sequence: int, last_sequence: int) -> bool:
    """Whether a gap in the sequences is one that a repair has listed."""
    return any(loss.covers(first_sequence, last_sequence) for loss in losses)


def lost_events(losses: Sequence[Loss], last_sequence: int) -> int:
    """How many sequences up to `last_sequence` have no event."""
    return sum(
        loss.last_sequence - loss.first_sequence + 1
        for loss in losses
        if loss.last_sequence is not None and loss.last_sequence <= last_sequence
    )
