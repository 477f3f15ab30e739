"""Level changes on their way into the outbox: counting hands them over and goes on, one thread records them.

What waits is recorded in one transaction, so the first commit takes a few milliseconds and the next one takes all that
came meanwhile. A change that cannot be recorded waits and is tried again; after a crash it is found again in the log,
under the same id. There is at most one for each level of a window, so what waits is bounded.
"""

import logging
import time
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread

from rating.core.quota.seam import LevelChange
from store.errors import DatabaseUnavailable

TICK_SECONDS = 1.0  # between two looks at the clock; and two tries
_log = logging.getLogger(__name__)


class Outbox:
    """Records from `start` to `close`. Every method may be called from any thread."""

    def __init__(self, record: Callable[[Sequence[LevelChange]], None], tick: Callable[[], None]) -> None:
        """`tick` is called each second, in the thread that records. Both may raise DatabaseUnavailable."""
        self._record, self._tick = record, tick
        self._lock, self._recording = Lock(), Lock()
        self._waiting: dict[LevelChange, float] = {}  # since when, in monotonic seconds
        self._woken, self._ending = Event(), Event()
        self._thread = Thread(target=self._run, name="outbox", daemon=True)

    @property
    def waiting(self) -> int:
        """How many changes are not recorded yet."""
        return len(self._waiting)

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest of them waits; 0 where none does."""
        with self._lock:
            return time.monotonic() - min(self._waiting.values()) if self._waiting else 0.0

    def put(self, changes: Sequence[LevelChange]) -> None:
        """Have these recorded soon; waits for nothing."""
        with self._lock:
            now = time.monotonic()
            for change in changes:
                self._waiting.setdefault(change, now)
        self._woken.set()

    def record(self) -> None:
        """Record what waits now, in this thread; what cannot be recorded goes on waiting."""
        with self._recording:
            with self._lock:
                changes = list(self._waiting)
            if not changes:
                return
            try:
                self._record(changes)
            except DatabaseUnavailable as error:
                _log.error("%d signals wait to be recorded: %s; trying again", len(changes), error)
                return
            with self._lock:
                for change in changes:
                    del self._waiting[change]

    def start(self) -> None:
        """Begin to record by itself."""
        self._thread.start()

    def close(self) -> None:
        """End; what waits is recorded first, if it can be."""
        self._ending.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.record()

    def _run(self) -> None:
        ticked_at = time.monotonic()
        while not self._ending.is_set():
            self._woken.wait(max(ticked_at + TICK_SECONDS - time.monotonic(), 0.0))
            self._woken.clear()
            try:
                if time.monotonic() - ticked_at >= TICK_SECONDS:
                    ticked_at = time.monotonic()
                    self._tick()
                self.record()
            except DatabaseUnavailable as error:
                _log.error("states of customers wait for the database: %s; trying again", error)
            except Exception:
                _log.exception("signals: a fault of ours; trying again")
                self._ending.wait(TICK_SECONDS)
