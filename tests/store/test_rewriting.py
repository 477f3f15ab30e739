"""A SQLite file after an unclean end: copied and synced before it is trusted."""

import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from rating.disk import Disk
from store import Store, open_store
from store.customers import Customer
from store.database import writing
from store.errors import DatabaseFailed, DatabaseUnavailable

NOW = datetime(2026, 10, 1, tzinfo=UTC)


class NotingDisk(Disk):
    """Notes the files that are synced and given their names."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def sync_file(self, path: Path) -> None:
        self.steps.append(f"sync {path.name}")
        super().sync_file(path)

    def rename(self, source: Path, target: Path) -> None:
        self.steps.append(f"{source.name} -> {target.name}")
        super().rename(source, target)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


@pytest.fixture
def crashed(path: Path) -> Iterator[Store]:
    """A store with a customer whose process ended without closing it."""
    store = open_store(f"sqlite:///{path}")
    store.customers.put([Customer(key="acme", name="Acme", time_zone="UTC", subjects=("a",), created_at=NOW)])
    yield store
    store.engine.dispose()


def reopened(path: Path) -> tuple[Store, list[str]]:
    disk = NotingDisk()
    return open_store(f"sqlite:///{path}", disk=disk), disk.steps


def test_after_a_crash_the_database_is_copied_and_synced_before_it_is_used(path: Path, crashed: Store) -> None:
    before = os.stat(path).st_ino
    again, steps = reopened(path)
    assert steps[:2] == ["sync records.db.rewritten", "records.db.rewritten -> records.db"]
    assert os.stat(path).st_ino != before
    assert again.customers.count() == 1
    again.close()


def test_after_a_clean_end_nothing_is_copied(path: Path, crashed: Store) -> None:
    crashed.close()
    again, steps = reopened(path)
    assert not [step for step in steps if "rewritten" in step]
    assert again.customers.count() == 1
    again.engine.dispose()  # ends without a word: the mark of the first end must not count for this one
    _, steps = reopened(path)
    assert "sync records.db.rewritten" in steps


def test_a_copy_that_was_not_finished_is_made_again(path: Path, crashed: Store) -> None:
    path.with_name("records.db.rewritten").write_bytes(b"half")
    again, _ = reopened(path)
    assert again.customers.count() == 1
    again.close()


def test_a_failed_sync_ends_trust_in_the_database(path: Path) -> None:
    told: list[Exception] = []
    store = open_store(f"sqlite:///{path}", on_failed=told.append)
    original = sqlite3.OperationalError("disk I/O error")
    original.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    with pytest.raises(DatabaseFailed), writing(store.engine):
        raise OperationalError("COMMIT", None, original)
    assert isinstance(told[0], DatabaseUnavailable)
    store.close()
    _, steps = reopened(path)
    assert "sync records.db.rewritten" in steps, "no mark of a clean end was left"


def test_a_run_that_was_recorded_survives_the_copy(path: Path, crashed: Store) -> None:
    crashed.catalogs.apply("cat_1", "{}", now=NOW)
    again, _ = reopened(path)
    assert again.catalogs.current() == "{}"
    again.close()


def test_after_a_failed_sync_nothing_more_is_written(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    original = sqlite3.OperationalError("disk I/O error")
    original.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    with pytest.raises(DatabaseFailed), writing(store.engine):
        raise OperationalError("COMMIT", None, original)
    with pytest.raises(DatabaseFailed):
        store.customers.put([Customer(key="acme", name="Acme", time_zone="UTC", subjects=("a",), created_at=NOW)])
    assert store.customers.count() == 0
    store.close()
    assert not path.with_name("records.db.clean").exists()
