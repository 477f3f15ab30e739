"""PostgreSQL: what each session is set to, and what becomes of changes when a connection or the server is lost."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from store import Store, open_store
from store.customers import Customer
from store.database import reading, writing
from store.errors import DatabaseInUse, DatabaseUnavailable, DatabaseUncertain, Refused
from store.postgresql import READERS_MAX
from store.signals import Signal
from store.tables import customers
from tests.postgresql import Server, started
from tests.recording import record_signals

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND application_name <> ''"


def customer(key: str) -> Customer:
    return Customer(key, key, "UTC", NOW, ())


def name_of(url: str) -> str:
    return url.split("/")[3].split("?")[0]


@pytest.fixture
def opened(postgresql_url: str) -> Iterator[Store]:
    store = open_store(postgresql_url)
    yield store
    store.close()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("synchronous_commit", "on"),
        ("transaction_isolation", "repeatable read"),
        ("TimeZone", "UTC"),
        ("lock_timeout", "10s"),
        ("idle_session_timeout", "0"),
        ("client_encoding", "UTF8"),
    ],
)
def test_each_session_is_durable_and_of_one_view(
    postgresql: Server, postgresql_url: str, setting: str, expected: str
) -> None:
    """Whatever the database was set to by others."""
    for wrong in ("synchronous_commit = off", "TimeZone = 'Asia/Tokyo'", "idle_session_timeout = '1h'"):
        postgresql.execute(f"ALTER DATABASE {name_of(postgresql_url)} SET {wrong}")
    store = open_store(postgresql_url)
    for how in (reading, writing):
        with how(store.engine) as connection:
            assert connection.exec_driver_sql(f"SHOW {setting}").scalar_one() == expected
    store.close()


def test_a_stronger_commit_is_left_as_it_is(postgresql: Server, postgresql_url: str) -> None:
    postgresql.execute(f"ALTER DATABASE {name_of(postgresql_url)} SET synchronous_commit = remote_apply")
    store = open_store(postgresql_url)
    with writing(store.engine) as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "remote_apply"
    store.close()


def test_text_sorts_by_its_bytes_whatever_the_language(postgresql: Server) -> None:
    with postgresql.database("LOCALE_PROVIDER icu ICU_LOCALE 'en-US'") as url:
        store = open_store(url)
        store.customers.put([customer(key) for key in ("a", "B", "b", "é", "A", "~", "-a")])
        assert [c.key for c in store.customers.page(after=None, limit=9)] == ["-a", "A", "B", "a", "b", "~", "é"]
        assert [c.key for c in store.customers.page(after="B", limit=2)] == ["a", "b"]
        store.close()


def test_what_postgresql_cannot_hold_is_refused(opened: Store) -> None:
    with pytest.raises(Refused, match="NUL"):
        opened.customers.put([customer("nul \x00")])
    with pytest.raises(Refused, match="cannot hold"):
        opened.customers.put([customer("".join(chr(0x4E00 + i * 7919 % 20_000) for i in range(9_000)))])
    assert opened.customers.count() == 0


def test_signals_are_numbered_in_the_order_of_their_commits(opened: Store) -> None:
    """A reader that goes on from the last number it saw must have seen everything below."""
    seen: list[int] = []

    def read(_: int) -> None:
        seen.extend(s.sequence for s in opened.signals.after(seen[-1] if seen else 0, limit=1000))

    def record(number: int) -> None:
        record_signals(opened, [Signal(f"{number}-{i}", "quota", "acme", NOW, {}) for i in range(5)])

    with ThreadPoolExecutor(8) as writers, ThreadPoolExecutor(1) as reader:
        for number in range(60):
            writers.submit(record, number)
            reader.submit(read, number)
    read(0)
    assert seen == [s.sequence for s in opened.signals.after(0, limit=1000)]
    assert len(seen) == 300


def test_a_reader_sees_one_view(opened: Store) -> None:
    with reading(opened.engine) as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM customers").scalar_one()
        opened.customers.put([customer("new")])
        assert connection.exec_driver_sql("SELECT count(*) FROM customers").scalar_one() == before == 0
    assert opened.customers.count() == 1


def test_lost_connections_are_made_again(postgresql: Server, postgresql_url: str, opened: Store) -> None:
    opened.customers.put([customer("a")])
    postgresql.execute(CUT.format(name_of(postgresql_url)))
    assert opened.customers.count() == 1
    opened.customers.put([customer("b")])
    assert opened.customers.count() == 2


def test_a_process_that_lost_the_database_to_another_cannot_write(
    postgresql: Server, postgresql_url: str, opened: Store
) -> None:
    postgresql.execute(CUT.format(name_of(postgresql_url)))
    second = open_store(postgresql_url)
    with pytest.raises(DatabaseInUse):
        opened.customers.put([customer("a")])
    assert opened.customers.count() == 0
    second.close()
    opened.customers.put([customer("a")])
    assert opened.customers.count() == 1


def test_a_reader_that_gets_no_connection_may_ask_again(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.postgresql.WAIT_SECONDS", 0.1)
    store = open_store(postgresql_url)
    with ExitStack() as busy:
        for _ in range(READERS_MAX):
            busy.enter_context(reading(store.engine))
        with pytest.raises(DatabaseUnavailable, match=r"every connection to the database .* is busy"):
            store.customers.count()
        store.customers.put([customer("written all the same")])
    assert store.customers.count() == 1
    store.close()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may kill."""
    with started() as server:
        yield server


def test_the_death_of_the_server_loses_nothing_that_was_committed(own_server: Server) -> None:
    """Killed before a transaction, within it, and while it is committed; each time back, and written to again."""
    store = open_store(own_server.url())
    store.customers.put([customer("before")])
    own_server.kill()
    with pytest.raises(DatabaseUnavailable, match="cannot be used now") as raised:
        store.customers.put([customer("away")])
    assert not isinstance(raised.value, DatabaseUncertain)
    with pytest.raises(DatabaseUnavailable):
        store.customers.count()
    own_server.start()
    store.customers.put([customer("again")])

    with pytest.raises(DatabaseUnavailable) as raised:
        rename_all(store, "torn", own_server.kill, "more")
    assert not isinstance(raised.value, DatabaseUncertain)
    own_server.start()
    assert {c.name for c in store.customers.page(after=None, limit=9)} == {"before", "again"}

    with pytest.raises(DatabaseUncertain, match="send the same again"):
        rename_all(store, "unknown", own_server.kill)
    own_server.start()
    assert {c.name for c in store.customers.page(after=None, limit=9)} == {"before", "again"}
    store.customers.put([customer("last")])
    assert [c.key for c in store.customers.page(after=None, limit=9)] == ["again", "before", "last"]
    store.close()


def rename_all(store: Store, *steps: str | Callable[[], None]) -> None:
    """One transaction: each step is a new name of all customers, or is called."""
    with writing(store.engine) as connection:
        for step in steps:
            if callable(step):
                step()
            else:
                connection.execute(update(customers).values(name=step))
