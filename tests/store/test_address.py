"""What TALLYSTICK_DATABASE_URL may say, and what is answered when it cannot be used; never with its password."""

import sys
from datetime import UTC, datetime

import pytest

from store import open_store
from store.address import parse_url, shown
from store.database import connect
from store.errors import DatabaseInUse, DatabaseUnavailable, DatabaseUnsuitable, StoreError
from tests.postgresql import LOCKED_USER, Server

SECRET = "hunter2"
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "driver", "name"),
    [
        ("sqlite:///a/b.sqlite", "sqlite", "a/b.sqlite"),
        ("sqlite://", "sqlite", "None"),
        (f"postgresql://me:{SECRET}@db:5433/bills", "postgresql+psycopg", "postgresql://db:5433/bills"),
        (f"postgres://me:{SECRET}@db/bills?sslmode=require", "postgresql+psycopg", "postgresql://db/bills"),
        ("postgresql+psycopg:///bills?host=/run/pg", "postgresql+psycopg", "postgresql:///run/pg/bills"),
        ("postgresql:///bills?host=a&host=b", "postgresql+psycopg", "postgresql://a,b/bills"),
    ],
)
def test_an_address_gets_its_driver_and_a_name_without_secrets(given: str, driver: str, name: str) -> None:
    url = parse_url(given)
    assert url.drivername == driver
    assert shown(url) == name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            f"mysql://me:{SECRET}@db/bills",
            r"begins with mysql://, which is not known: write sqlite:///",
        ),
        (f"postgresql+asyncpg://me:{SECRET}@db/bills", r"begins with postgresql\+asyncpg://"),
        (f"me:{SECRET}@db/bills", "is no address of a database: write sqlite:///"),
        (f"postgresql://me:{SECRET}@db:port/bills", "is no address of a database"),
        (f"postgresql://me:{SECRET}@127.0.0.1:1/bills", r"postgresql://127.0.0.1:1/bills is not reached: .*; start it"),
        (f"postgresql://me:{SECRET}@/bills?host=/nowhere", "postgresql:///nowhere/bills is not reached"),
        (f"postgresql://me:{SECRET}@/bills?host=/nowhere&colour=red", 'invalid connection option "colour"'),
    ],
)
def test_what_cannot_be_used_is_said_without_the_password(
    given: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises((DatabaseUnsuitable, DatabaseUnavailable), match=message) as raised:
        open_store(given)
    assert SECRET not in f"{raised.getrepr(style='long', chain=True).reprcrash}{raised.value}{caplog.text}"


def test_a_missing_driver_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseUnsuitable, match=r"pip install 'tallystick\[postgresql\]'"):
        connect("postgresql://db/bills")


def test_a_wrong_password_is_not_repeated(postgresql: Server) -> None:
    postgresql.execute(f"CREATE ROLE {LOCKED_USER} LOGIN PASSWORD 'right'")
    url = postgresql.url(user=f"{LOCKED_USER}:{SECRET}")
    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as raised:
        open_store(url)
    assert SECRET not in str(raised.value)
    assert "no-such" in str(_refused(postgresql.url("no-such")))


def test_a_user_who_may_not_make_tables_is_told_what_to_grant(postgresql: Server) -> None:
    postgresql.execute("CREATE ROLE guest LOGIN")
    with postgresql.database() as url:
        error = _refused(url.replace("postgres@", "guest@"))
    assert isinstance(error, DatabaseUnsuitable)
    assert "GRANT USAGE, CREATE ON SCHEMA" in str(error)


def test_another_encoding_is_refused(postgresql: Server) -> None:
    with postgresql.database("ENCODING 'LATIN1'") as url:
        assert "encoded in LATIN1" in str(_refused(url))


def test_a_second_process_is_told_who_owns_the_database(postgresql_url: str) -> None:
    first = open_store(postgresql_url)
    error = _refused(postgresql_url)
    assert isinstance(error, DatabaseInUse)
    assert "in use by another process (tallystick " in str(error)
    first.close()
    open_store(postgresql_url).close()


def test_two_schemas_of_one_database_are_two_stores(postgresql: Server, postgresql_url: str) -> None:
    name = postgresql_url.split("/")[3].split("?")[0]
    postgresql.execute("CREATE SCHEMA other", database=name)
    first, second = open_store(postgresql_url), open_store(f"{postgresql_url}&options=-csearch_path%3Dother")
    first.catalogs.apply("cat_a", "{}", now=_NOW)
    assert (first.catalogs.current(), second.catalogs.current()) == ("{}", None)
    first.close()
    second.close()


def _refused(url: str) -> StoreError:
    with pytest.raises(StoreError) as raised:
        open_store(url)
    return raised.value
