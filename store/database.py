"""How the store talks to its database: reading in one snapshot, writing whole transactions, and upserts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Table, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, TimeoutError

from store.address import parse_url
from store.durability import OnFailed
from store.errors import DatabaseUnavailable, StoreError
from store.postgresql import Postgresql
from store.sqlite import Sqlite

CHUNK = 10_000  # keys asked for at once, below the limit of bound parameters (32,766 in SQLite, 65,535 in PostgreSQL)


class Database(Protocol):
    """What differs between SQLite and PostgreSQL."""

    name: str

    def check(self) -> str: ...
    def turn(self) -> AbstractContextManager[Engine]: ...
    def raised(self, error: DBAPIError, *, is_commit: bool) -> StoreError | None: ...
    def disconnect(self) -> None: ...


class Alongside(Protocol):
    """What is to be written together with a change that others make: an entry of the audit log."""

    def write(self, connection: Connection) -> None: ...
    def written(self) -> None: ...


ALONGSIDE: ContextVar[Alongside | None] = ContextVar("alongside", default=None)
"""Of this request."""


@contextmanager
def apart() -> Iterator[None]:
    """What is committed within is not the change that was asked for: nothing is written alongside."""
    before = ALONGSIDE.set(None)
    try:
        yield
    finally:
        ALONGSIDE.reset(before)


def connect(url: str, on_failed: OnFailed | None = None) -> Engine:
    """An engine for `url`; nothing is opened yet. Raises DatabaseUnsuitable.

    `on_failed` is told of a failed sync of SQLite, before whoever asked for it.
    """
    parsed = parse_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    return Sqlite(parsed, on_failed).engine if is_sqlite else Postgresql(parsed).engine


def sqlite_path(engine: Engine) -> Path | None:
    """The file of a SQLite database; null for one in memory, and for any other."""
    database = _database(engine)
    return database.path if isinstance(database, Sqlite) else None


def check(engine: Engine) -> str:
    """What the database is, in words. Raises DatabaseDamaged when SQLite finds its own file inconsistent,
    DatabaseUnavailable, and DatabaseUnsuitable."""
    return _database(engine).check()


def checkpoint(engine: Engine) -> None:
    """Move what is in SQLite's log into its file; nothing to do elsewhere. Raises DatabaseFailed."""
    database = _database(engine)
    if isinstance(database, Sqlite):
        database.checkpoint()


def view(engine: Engine) -> AbstractContextManager[Callable[[Path], None]] | None:
    """See Sqlite.view; null for any other database."""
    database = _database(engine)
    return database.view() if isinstance(database, Sqlite) else None


def disconnect(engine: Engine) -> None:
    """Close every connection that is not in use, and let the next process in."""
    _database(engine).disconnect()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection with one consistent view of the database. Raises DatabaseUnavailable."""
    with _errors(_database(engine)), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction, committed at the end or not at all; writers come one after the other.

    What is ALONGSIDE is written with the first that is committed. Raises DatabaseUnavailable, and then nothing was
    changed; of its classes DatabaseUncertain and DatabaseFailed say that nobody knows.
    """
    database, alongside = _database(engine), ALONGSIDE.get()
    with database.turn() as writer, _errors(database), writer.begin() as connection:
        yield connection
        if alongside is not None:
            alongside.write(connection)
        with _errors(database, is_commit=True):
            connection.commit()
    if alongside is not None:
        alongside.written()


@contextmanager
def _errors(database: Database, *, is_commit: bool = False) -> Iterator[None]:
    """Tell what waiting helps against from what is a bug: a driver calls both an OperationalError."""
    try:
        yield
    except DBAPIError as error:
        known = database.raised(error, is_commit=is_commit)
        if known is None:
            raise
        raise known from error
    except TimeoutError as error:
        raise DatabaseUnavailable(f"every connection to the database {database.name} is busy") from error


def _database(engine: Engine) -> Database:
    found: Database = engine.get_execution_options()["database"]
    return found


def upsert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *, keep: Sequence[str] = ()) -> None:
    """Insert `rows`, or change every column of the rows that exist by primary key, except those in `keep`. All rows
    have the same columns, and no two the same key."""
    if not rows:
        return
    insert, values = _inserted(connection, table, rows)
    changed = {c.name: insert.excluded[c.name] for c in table.columns if not c.primary_key and c.name not in keep}
    connection.execute(insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed), values)


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], *, unique: str) -> None:
    """Insert `rows`, leaving out those whose column `unique` is there already. All rows have the same columns."""
    if rows:
        insert, values = _inserted(connection, table, rows)
        connection.execute(insert.on_conflict_do_nothing(index_elements=[unique]), values)


def _inserted(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> tuple[Any, Any]:
    """An insert and its values: row by row in SQLite; one array a column in PostgreSQL, where a row costs 20 times as
    much as an element."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table), rows
    arrays = {name: bindparam(name, type_=postgresql.ARRAY(table.columns[name].type)) for name in rows[0]}
    elements = select(*(func.unnest(array) for array in arrays.values()))
    columns = {name: [row[name] for row in rows] for name in arrays}
    return postgresql.insert(table).from_select(list(arrays), elements), columns


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
