"""A SQLite database: one file, whose commits are on the disk, written by one thread at a time."""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError

from store.address import shown
from store.durability import Durability, OnFailed
from store.errors import DatabaseDamaged, DatabaseFull, DatabaseUnavailable, StoreError

_log = logging.getLogger(__name__)

WAL_BYTES_MAX = 4 << 20
_PRAGMAS = (
    "busy_timeout=10000",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "wal_autocheckpoint=0",  # see `checkpoint`
)
_WAITING_HELPS = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
)


class Sqlite:
    """WAL with synchronous=FULL: at NORMAL a power cut loses commits."""

    def __init__(self, url: URL, on_failed: OnFailed | None) -> None:
        """`on_failed` is told of a failed sync, before whoever asked."""
        self.name = shown(url)
        self.engine: Engine = create_engine(url, execution_options={"database": self})
        event.listen(self.engine, "connect", _set)
        event.listen(self.engine, "begin", _begin)
        self._writer = self.engine.execution_options(writes=True)
        self._durability = Durability(on_failed)

    @property
    def path(self) -> Path | None:
        """The file; null for a database in memory."""
        database = self.engine.url.database
        return None if database in (None, "", ":memory:") else Path(str(database))

    def check(self) -> str:
        """What it is; raises DatabaseDamaged when SQLite finds its own file inconsistent."""
        try:
            with self.engine.connect() as connection:
                found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        except OperationalError as error:
            raise self.raised(error, is_commit=False) or error from error
        except DatabaseError as error:
            found = str(error.orig)
        if found != "ok":
            raise DatabaseDamaged(f"{self.name} is damaged ({found}): restore it from a backup")
        return f"SQLite {sqlite3.sqlite_version}, whole"

    @contextmanager
    def turn(self) -> Iterator[Engine]:
        """The turn of one writer. Raises DatabaseFailed when a sync has failed before."""
        with self._durability.one_at_a_time():
            yield self._writer
            self.checkpoint(wal_bytes_min=WAL_BYTES_MAX)

    def checkpoint(self, *, wal_bytes_min: int = 0) -> None:
        """Move what is in SQLite's log into its file, once the log is so large. SQLite would do it by itself, but would
        tell nobody when the sync of the file fails. Raises DatabaseFailed."""
        if self.path is None or _size(self.path.with_name(f"{self.path.name}-wal")) < wal_bytes_min:
            return
        connection = self.engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.OperationalError as error:
            if self._durability.is_lost(error):
                raise self._durability.fail(self.name) from error
            _log.warning("the log of the database %s cannot be moved into its file yet: %s", self.path, error)
        finally:
            connection.close()

    @contextmanager
    def view(self) -> Iterator[Callable[[Path], None]]:
        """The database as it is now, to be copied to a new file at any time while the block runs, whatever is committed
        meanwhile. The copy is not synced."""
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            cursor.execute("SELECT count(*) FROM sqlite_master").fetchall()  # a snapshot begins with the first read
            yield partial(_copy, connection.driver_connection)
            cursor.execute("ROLLBACK")
        finally:
            connection.close()

    def raised(self, error: DBAPIError, *, is_commit: bool) -> StoreError | None:
        """What to raise for an error of the driver; nothing for a bug. A commit that failed has changed nothing."""
        if not isinstance(error, OperationalError):
            return None
        if self._durability.is_lost(error.orig):
            return self._durability.fail(self.name)
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
            return DatabaseFull(f"there is no room for the database {self.name}: {error.orig}")
        if code is None or code & 0xFF in _WAITING_HELPS:
            return DatabaseUnavailable(f"the database {self.name} cannot be used now: {error.orig}")
        return None

    def disconnect(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()


def _copy(connection: Any, target: Path) -> None:
    with closing(sqlite3.connect(target)) as written:
        connection.backup(written)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _set(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver starts no transaction of its own: `_begin` does
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin(connection: Connection) -> None:
    """A transaction that writes takes the write lock at once: upgrading a read later would fail without waiting."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
