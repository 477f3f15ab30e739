"""A PostgreSQL database: owned by one process, written by one thread of it at a time.

The sequence of signals must grow in the order of commits, or a reader would pass over one that is committed late; and a
process knows which catalog is in force without asking. So only one process may write. It holds an advisory lock, and
writes on the very connection that holds it: when the connection is lost the lock is lost with it, nothing can be
committed until both are there again, and of two processes never both write. Any number of connections read, each
transaction in one snapshot.

What it gives up: writers of one process wait for each other, as they do with SQLite; and a pooler that gives each
transaction another connection cannot stand in between.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from store.address import SETTING, shown
from store.errors import (
    DatabaseFull,
    DatabaseInUse,
    DatabaseUnavailable,
    DatabaseUncertain,
    DatabaseUnsuitable,
    Refused,
    StoreError,
)

READERS_MAX = 10
WAIT_SECONDS = 30  # for a connection that others of this process use
OWNED_SECONDS = 3  # for the lock: that of a process that was killed goes when the server notices
VERSION_MIN = 14
INSTALL = "pip install 'tallystick[postgresql]'"

_FULL, _READ_ONLY, _DENIED, _LOCKED = "53100", "25006", ("42501", "3F000"), "55P03"
_TOO_LARGE = "54"  # class "program limit exceeded": a key that no index can hold
_NETWORK = {  # a server that is gone without a word is noticed within half a minute
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_SESSION = """
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')
UNION ALL SELECT set_config('TimeZone', 'UTC', false)
UNION ALL SELECT set_config('lock_timeout', '10s', false)
UNION ALL SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'
UNION ALL SELECT set_config('tcp_keepalives_idle', '10', false)
UNION ALL SELECT set_config('tcp_keepalives_interval', '5', false)
UNION ALL SELECT set_config('tcp_keepalives_count', '3', false)
"""
"""A commit is on the server's disk; and a client that is gone without a word loses its lock."""

_LOCK = "hashtext('tallystick'), hashtext(current_schema()::text)"
_HOLDER = f"""
SELECT coalesce(nullif(application_name, ''), 'unknown') || ', there since ' || backend_start::timestamp(0) || ' UTC'
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (classid::bigint, objid::bigint) = (SELECT a::bigint & x'ffffffff'::bigint, b::bigint & x'ffffffff'::bigint
    FROM (SELECT {_LOCK}) AS lock (a, b))
"""
_ABOUT = text("""
SELECT current_setting('server_version_num')::integer / 10000 AS major, current_setting('server_version') AS version,
    current_setting('server_encoding') AS encoding, current_schema() AS schema, pg_backend_pid() AS pid,
    array_to_string(ARRAY(SELECT name FROM unnest(ARRAY['fsync', 'full_page_writes']) AS name
        WHERE current_setting(name) = 'off'), ', ') AS unsafe
""")


class Postgresql:
    """`engine` reads; `turn` gives the engine that writes, which has one connection."""

    def __init__(self, url: URL) -> None:
        """Raises DatabaseUnsuitable when the driver is not installed. Connects to nothing."""
        self.name = shown(url)
        self.engine = self._connecting(url, pool_size=READERS_MAX, execution_options={"database": self})
        self._writer = self._connecting(url, pool_size=1)
        event.listen(self.engine, "connect", _set)
        event.listen(self._writer, "connect", self._set_and_own)

    def _connecting(self, url: URL, **more: Any) -> Engine:
        name = f"tallystick {socket.gethostname()}:{os.getpid()}"
        known = {**_NETWORK, "client_encoding": "utf8", "application_name": name}
        try:
            return create_engine(
                url,
                isolation_level="REPEATABLE READ",
                pool_pre_ping=True,
                max_overflow=0,
                pool_timeout=WAIT_SECONDS,
                hide_parameters=True,
                connect_args={name: value for name, value in known.items() if name not in url.query},
                **more,
            )
        except ImportError as error:
            raise DatabaseUnsuitable(f"the driver of PostgreSQL is not installed ({error}): {INSTALL}") from None

    def check(self) -> str:
        """What the server is; raises DatabaseUnavailable when it is not reached, DatabaseUnsuitable."""
        try:
            with self.engine.connect() as connection:
                found = connection.execute(_ABOUT).one()
                pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]  # psycopg's
        except DBAPIError as error:
            known = self.raised(error, is_commit=False)
            problem = _one_line(error.orig)
            if known is None:
                raise DatabaseUnsuitable(f"the database {self.name} cannot be used: {problem}") from None
            if type(known) is not DatabaseUnavailable:
                raise known from None
            cure = f"start it, or correct {SETTING}"
            raise DatabaseUnavailable(f"the database {self.name} is not reached: {problem}; {cure}") from None
        if found.major < VERSION_MIN:
            raise self._unsuitable(f"PostgreSQL {found.version}; use {VERSION_MIN} or newer")
        if found.pid != pid:
            raise self._unsuitable("behind a pooler, where a lock would have no holder; connect to the server itself")
        if found.encoding != "UTF8":
            raise self._unsuitable(f"encoded in {found.encoding}; create one with ENCODING 'UTF8' TEMPLATE template0")
        if found.schema is None:
            raise self._unsuitable("without a schema to create tables in; see search_path")
        if found.unsafe:
            raise self._unsuitable(
                f"on a server with {found.unsafe} switched off: a power cut would lose or damage it; switch it on"
            )
        return f"PostgreSQL {found.version}"

    @contextmanager
    def turn(self) -> Iterator[Engine]:
        """The engine of the writer; that it has one connection makes other writers wait."""
        yield self._writer

    def raised(self, error: DBAPIError, *, is_commit: bool) -> StoreError | None:
        """What to raise for an error of the driver; nothing for a bug."""
        problem, state = _one_line(error.orig), getattr(error.orig, "sqlstate", None) or ""
        if is_commit and error.connection_invalidated:
            return DatabaseUncertain(
                f"the connection to {self.name} was lost while a change was being committed ({problem}): it may be "
                "there; send the same again"
            )
        if state == _FULL:
            return DatabaseFull(f"there is no room for the database {self.name}: {problem}")
        if state in _DENIED:
            return self._unsuitable(
                f"not open to its user ({problem}); make the user its owner, or GRANT USAGE, CREATE ON SCHEMA"
            )
        if isinstance(error, DataError) or state.startswith(_TOO_LARGE):
            return Refused([f"PostgreSQL cannot hold or look up this value: {problem}"])
        if isinstance(error, OperationalError) or error.connection_invalidated or state == _READ_ONLY:
            return DatabaseUnavailable(f"the database {self.name} cannot be used now: {problem}")
        return None

    def disconnect(self) -> None:
        """Close every connection that is not in use, and let the next process in."""
        self.engine.dispose()
        self._writer.dispose()

    def _unsuitable(self, reason: str) -> DatabaseUnsuitable:
        return DatabaseUnsuitable(f"the database {self.name} is {reason}")

    def _set_and_own(self, connection: Any, record: object) -> None:
        _set(connection, record)
        try:
            connection.autocommit = True
            holder = _take_lock(connection)
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        if holder is not None:
            connection.close()
            raise DatabaseInUse(
                f"the database {self.name} is in use by another process ({holder}): stop it, or give this one a "
                "database or a schema of its own"
            )


def in_byte_order(connection: Connection, tables: list[str]) -> None:
    """Let the text columns of `tables` sort by their bytes, as in SQLite: the order of pages, and of what a run reads,
    must not depend on the language of a server."""
    wrong = text("""
        SELECT table_name, string_agg(
            format('ALTER COLUMN %I TYPE %s COLLATE "C"', column_name, data_type), ', ' ORDER BY ordinal_position)
        FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = ANY(:tables)
            AND data_type IN ('character varying', 'text') AND collation_name IS DISTINCT FROM 'C'
        GROUP BY table_name ORDER BY table_name
    """)
    for table, changes in connection.execute(wrong, {"tables": tables}).all():
        connection.exec_driver_sql(f'ALTER TABLE "{table}" {changes}')


def _set(connection: Any, _record: object) -> None:
    """Settings of a new connection; within a transaction they would go with it."""
    try:
        connection.autocommit = True
        connection.execute(_SESSION)
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise


def _take_lock(connection: Any) -> str | None:
    """Own the database until the connection ends; who owns it instead, if somebody does."""
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{OWNED_SECONDS}s'")
            connection.execute(f"SELECT pg_advisory_lock({_LOCK})")
    except Exception as error:
        if getattr(error, "sqlstate", None) != _LOCKED:
            raise
        found = connection.execute(_HOLDER).fetchone()
        return str(found[0]) if found else "which has just ended"
    return None


def _one_line(error: BaseException | None) -> str:
    return " ".join(str(error).split())
