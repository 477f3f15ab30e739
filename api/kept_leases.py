"""The leases that are in memory: those that are open, and those with reports that may not be in the log."""

import heapq
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from api.slices import Slice
from store.leases import Lease, LeaseReport

STRIPES = 1024


@dataclass
class Kept:
    """A lease, what it holds, and its reports that may not be in the log (`waiting`). Changed by one thread at a time:
    see `KeptLeases.alone`."""

    lease: Lease
    slice: Slice
    waiting: list[LeaseReport] = field(default_factory=list)
    is_uncertain: bool = False  # the database may have more than is here


class KeptLeases:
    """By id, by when they expire, and by whether something waits. For several threads."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._expiring: list[tuple[datetime, str]] = []  # a heap; some have been renewed since
        self._unsent: set[str] = set()
        self._lock = threading.Lock()
        self._stripes = [threading.RLock() for _ in range(STRIPES)]

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, id: str) -> bool:
        return id in self._kept

    @contextmanager
    def alone(self, id: str) -> Iterator[None]:
        """One thread at a time for each lease (and for some others by chance)."""
        with self._stripes[hash(id) % STRIPES]:
            yield

    def get(self, id: str) -> Kept | None:
        """The lease, if it is here."""
        return self._kept.get(id)

    def put(self, kept: Kept) -> None:
        """Keep it; whoever puts an open one sees to `watch`."""
        with self._lock:
            self._kept[kept.lease.id] = kept
            if kept.waiting:
                self._unsent.add(kept.lease.id)

    def settle(self, kept: Kept) -> None:
        """Forget a lease that has ended when nothing of it waits any more."""
        with self._lock:
            if not kept.waiting:
                self._unsent.discard(kept.lease.id)
                if kept.lease.state != "open":
                    self._kept.pop(kept.lease.id, None)

    def forget(self, id: str) -> None:
        """There is no such lease."""
        with self._lock:
            self._kept.pop(id, None)
            self._unsent.discard(id)

    def watch(self, expires_at: datetime, id: str) -> None:
        """Name it in `overdue` from then on."""
        with self._lock:
            heapq.heappush(self._expiring, (expires_at, id))

    def overdue(self, now: datetime) -> list[tuple[datetime, str]]:
        """When leases were to expire whose time may be over, each named once for each `watch`."""
        overdue = []
        with self._lock:
            while self._expiring and self._expiring[0][0] <= now:
                overdue.append(heapq.heappop(self._expiring))
        return overdue

    def unsent(self) -> list[str]:
        """Those with something that waits."""
        with self._lock:
            return list(self._unsent)

    def waiting(self) -> list[Kept]:
        """The same, themselves."""
        return [kept for id in self.unsent() if (kept := self._kept.get(id)) is not None]
