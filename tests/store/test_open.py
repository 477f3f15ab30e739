"""The database itself: its schema, its durability settings, and what it refuses to open."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import DatabaseError

from store import Store, open_store
from store.columns import metadata
from store.database import reading
from store.errors import DatabaseDamaged


def test_the_migrations_build_exactly_the_tables(store: Store) -> None:
    with reading(store.engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_opening_twice_changes_nothing(url: str) -> None:
    open_store(url).close()
    again = open_store(url)
    assert again.customers.count() == 0
    again.close()


@pytest.mark.parametrize(
    ("pragma", "expected"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 10_000)],
)
def test_a_commit_of_sqlite_is_on_the_disk_and_references_hold(sqlite_url: str, pragma: str, expected: object) -> None:
    store = open_store(sqlite_url)
    with reading(store.engine) as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == expected
    store.close()


def test_a_damaged_file_is_not_opened(sqlite_url: str, tmp_path: Path) -> None:
    open_store(sqlite_url).close()
    path = tmp_path / "store.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * 8192 + whole[4096 + 8192 :])
    with pytest.raises((DatabaseDamaged, DatabaseError), match=r"damaged|malformed"):
        open_store(sqlite_url)
