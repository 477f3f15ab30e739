"""What was told long ago goes, a little at a time, so that neither the outbox nor the deliveries grow for ever."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from store.changes import Now
from store.pruning import Pruning

ROWS = 500  # of one transaction
PAUSE_SECONDS = 1.0  # between two of them
REST_SECONDS = 3600.0  # when everything was looked at


@dataclass(frozen=True)
class Kept:
    """For how many days signals, deliveries and the log of tries are kept, and deliveries that were given up."""

    days: int
    dead_days: int


class Pruner:
    """Of one store; not for several threads."""

    def __init__(self, records: Pruning, kept: Kept, now: Now, needed: Callable[[], int | None]) -> None:
        """Signals behind the sequence that `needed` says stay; null: it needs none."""
        self._records, self._kept, self._now, self._needed = records, kept, now, needed
        self._behind = 0
        self.next_at = time.monotonic() + PAUSE_SECONDS

    def step(self) -> None:
        """Let go of some rows, if it is time. Raises DatabaseUnavailable."""
        if time.monotonic() < self.next_at:
            return
        self.next_at = time.monotonic() + PAUSE_SECONDS
        if not self._step(self._now()):
            self.next_at = time.monotonic() + REST_SECONDS

    def _step(self, now: datetime) -> bool:
        """Whether there may be more."""
        records = self._records
        old, very_old = (now - timedelta(days=days) for days in (self._kept.days, self._kept.dead_days))
        first = records.first_since(old)
        if records.deliveries("delivered", first, old, ROWS) or records.attempts(old, ROWS):
            return True
        if records.deliveries("dead", records.first_since(very_old), very_old, ROWS):
            return True
        needed = self._needed()
        pruned = records.signals(self._behind, first if needed is None else min(first, needed + 1), now, ROWS)
        self._behind = pruned.behind or 0
        return pruned.behind is not None
