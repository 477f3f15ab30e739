"""What a SQLite database may still be trusted with after a failed sync: nothing, by this process.

The kernel tells of a failed write once. A later commit over the same part of a file may then be called synced, and be
gone after a power cut (seen on ext4). So writers go one at a time, the first failed sync is remembered before the next
of them begins, and all that come after it are refused. The next start copies what is there into a new file
(rewriting.py).
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from store.errors import DatabaseFailed

OnFailed = Callable[[DatabaseFailed], None]

_LOST = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)


class Durability:
    """Of one database file; for all threads of its one process."""

    def __init__(self, on_failed: OnFailed | None) -> None:
        """`on_failed` is told of the first failed sync, before whoever asked for it."""
        self._on_failed = on_failed
        self._writing = Lock()
        self.failure: DatabaseFailed | None = None

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """The turn of one writer. Raises DatabaseFailed when a sync has failed before."""
        with self._writing:
            if self.failure is not None:
                raise self.failure
            yield

    def is_lost(self, error: BaseException | None) -> bool:
        """Whether an error of SQLite means that a sync has failed."""
        return getattr(error, "sqlite_errorcode", None) in _LOST

    def fail(self, name: str) -> DatabaseFailed:
        """Remember that a sync has failed, and give what to raise."""
        if self.failure is None:
            self.failure = DatabaseFailed(f"a sync of the database {name} failed: start the process again")
            if self._on_failed is not None:
                self._on_failed(self.failure)
        return self.failure
