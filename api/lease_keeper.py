"""The thread that writes leases: what waits when it comes shares one transaction, and is answered then.

The problem: a commit that is on the disk takes some 2 ms, and a lease or a report may not be answered before. The
choice: like the log's writer, one thread takes all that waits; a group of 64 costs little more than one. What cannot be
written fails whole: nobody of the group is answered as written.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from ingest.errors import Overloaded
from store.leases import LeaseChange

GROUP_MAX = 1_000
WAITING_MAX = 10_000
LAZY_SECONDS = 1.0


class LeaseKeeper:
    """Runs from `start` to `stop`."""

    def __init__(self, write: Callable[[Sequence[LeaseChange]], None]) -> None:
        self._write = write
        self._waiting: deque[tuple[LeaseChange, Future[None]]] = deque()
        self._lazily: deque[tuple[str, LeaseChange]] = deque()
        self._later: Counter[str] = Counter()  # leases of which something is to be written later
        self._changed = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join()

    def write(self, change: LeaseChange) -> None:
        """Return when `change` is durable. Raises DatabaseUnavailable (see store.database.writing) and Overloaded."""
        future: Future[None] = Future()
        with self._changed:
            if self._is_stopping or len(self._waiting) >= WAITING_MAX:
                raise Overloaded(f"{len(self._waiting)} leases wait to be written; send it again after a moment")
            self._waiting.append((change, future))
            self._changed.notify()
        future.result()

    def write_later(self, lease: str, change: LeaseChange) -> None:
        """Write it with the next group, or after a second: what it says of a lease is found out again if it is lost."""
        with self._changed:
            self._lazily.append((lease, change))
            self._later[lease] += 1
            if len(self._lazily) == 1:
                self._changed.notify()

    def flush(self, lease: str) -> None:
        """Return when all is durable that was to be written later of a lease. Raises as `write`."""
        if lease in self._later:
            self.write(LeaseChange())

    def _run(self) -> None:
        while group := self._next_group():
            lazily, waiting = group
            try:
                self._write([*(change for _, change in lazily), *(change for change, _ in waiting)])  # the newest last
            except BaseException as error:
                self._put_back(lazily)
                for _, future in waiting:
                    future.set_exception(error)
            else:
                with self._changed:
                    self._later -= Counter(lease for lease, _ in lazily)
                for _, future in waiting:
                    future.set_result(None)

    def _next_group(self) -> "tuple[list[tuple[str, LeaseChange]], list[tuple[LeaseChange, Future[None]]]] | None":
        """Those that share the next transaction: what was to be written later, and what waits. Null when it is time to
        end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._lazily or self._is_stopping)
            self._changed.wait_for(lambda: self._waiting or self._is_stopping, LAZY_SECONDS)
            lazily = [self._lazily.popleft() for _ in range(min(GROUP_MAX, len(self._lazily)))]
            waiting = [self._waiting.popleft() for _ in range(min(GROUP_MAX, len(self._waiting)))]
            return (lazily, waiting) if lazily or waiting else None

    def _put_back(self, lazily: Sequence[tuple[str, LeaseChange]]) -> None:
        """Nobody waits for these, so they are tried again; at the end the next start finds them out."""
        with self._changed:
            if not self._is_stopping:
                self._lazily.extendleft(reversed(lazily))
