"""How the store talks to its database: an engine whose commits are on the disk, reading and writing, and upserts."""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, OperationalError

from store.durability import Durability, OnFailed
from store.errors import DatabaseDamaged, DatabaseFull, DatabaseUnavailable

_log = logging.getLogger(__name__)

WAL_BYTES_MAX = 4 << 20
CHUNK = 10_000  # keys asked for at once, below the limit of bound parameters (32,766 in SQLite, 65,535 in PostgreSQL)
_PRAGMAS = (
    "busy_timeout=10000",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "wal_autocheckpoint=0",  # see `checkpoint`
)
_PG_FULL = "53100"
_WAITING_HELPS = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
)


def connect(url: str, on_failed: OnFailed | None = None) -> Engine:
    """An engine for `url`. SQLite is set to WAL with synchronous=FULL: at NORMAL a power cut loses commits.

    `on_failed` is told of a failed sync, before whoever asked.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, execution_options={"durability": Durability(on_failed)})
    event.listen(engine, "connect", _set_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def sqlite_path(engine: Engine) -> Path | None:
    """The file of a SQLite database; null for one in memory, and for any other."""
    database = engine.url.database
    is_file = engine.dialect.name == "sqlite" and database not in (None, "", ":memory:")
    return Path(str(database)) if is_file else None


def check(engine: Engine) -> None:
    """Raise DatabaseDamaged when SQLite finds its own file inconsistent; other databases check themselves."""
    if engine.dialect.name != "sqlite":
        return
    try:
        with reading(engine) as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    except OperationalError:
        raise
    except DatabaseError as error:
        found = str(error.orig)
    if found != "ok":
        raise DatabaseDamaged(f"{engine.url.database} is damaged ({found}): restore it from a backup")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection with one consistent view of the database."""
    with _available(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction, committed at the end or not at all. Raises DatabaseFailed, also after an earlier failure."""
    durability = _durability(engine)
    with nullcontext() if durability is None else durability.one_at_a_time():
        with _available(engine), engine.execution_options(writes=True).begin() as connection:
            yield connection
        if durability is not None:
            checkpoint(engine, wal_bytes_min=WAL_BYTES_MAX)


def checkpoint(engine: Engine, *, wal_bytes_min: int = 0) -> None:
    """Move what is in SQLite's log into its file, once the log is so large. SQLite would do it by itself, but would
    tell nobody when the sync of the file fails. Raises DatabaseFailed."""
    path, durability = sqlite_path(engine), _durability(engine)
    if path is None or durability is None or _size(path.with_name(f"{path.name}-wal")) < wal_bytes_min:
        return
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    except sqlite3.OperationalError as error:
        if durability.is_lost(error):
            raise durability.fail(_name(engine)) from error
        _log.warning("the log of the database %s cannot be moved into its file yet: %s", path, error)
    finally:
        connection.close()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _durability(engine: Engine) -> Durability | None:
    found: Durability | None = engine.get_execution_options().get("durability")
    return found


@contextmanager
def _available(engine: Engine) -> Iterator[None]:
    """Tell what waiting helps against from what is a bug: a driver calls both an OperationalError."""
    try:
        yield
    except OperationalError as error:
        durability = _durability(engine)
        if durability is not None and durability.is_lost(error.orig):
            raise durability.fail(_name(engine)) from error
        code = getattr(error.orig, "sqlite_errorcode", None)
        if (code is not None and code & 0xFF == sqlite3.SQLITE_FULL) or getattr(error.orig, "sqlstate", "") == _PG_FULL:
            raise DatabaseFull(f"there is no room for the database {_name(engine)}: {error.orig}") from error
        if code is None or code & 0xFF in _WAITING_HELPS:
            raise DatabaseUnavailable(f"the database {_name(engine)} cannot be used now: {error.orig}") from error
        raise


def _name(engine: Engine) -> str:
    return str(engine.url.database)


def upsert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *, keep: Sequence[str] = ()) -> None:
    """Insert `rows`, or change every column of the rows that exist by primary key, except those in `keep`."""
    if not rows:
        return
    insert = _insert(connection, table)
    changed = {c.name: insert.excluded[c.name] for c in table.columns if not c.primary_key and c.name not in keep}
    connection.execute(insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed), rows)


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *, unique: str) -> None:
    """Insert `rows`, leaving out those whose column `unique` is there already."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(index_elements=[unique]), rows)


def _insert(connection: Connection, table: Table) -> Any:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]


def _set_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver starts no transaction of its own: `_begin_sqlite` does
    for pragma in (
        "busy_timeout=10000",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "wal_autocheckpoint=0",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that writes takes the write lock at once: upgrading a read later would fail without waiting."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
