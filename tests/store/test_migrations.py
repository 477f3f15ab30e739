"""A database of an earlier version is brought up to date with what it holds; one of a newer version is refused."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, Table, insert, select, text, update

from store import open_store
from store.columns import metadata
from store.database import connect, disconnect, reading, writing
from store.errors import DatabaseUnsuitable
from store.migrate import MIGRATIONS, newest_revision, revision_of, upgrade

NOW = datetime(2026, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)
REVISIONS = sorted(script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())
VALUES = {
    "VARCHAR": "7",
    "TEXT": "a",
    "JSON": ["a", {"b": "1.50"}],
    "INTEGER": 7,
    "BIGINT": 2**40,
    "BOOLEAN": True,
}


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    opened = connect(url)
    yield opened
    disconnect(opened)


@pytest.mark.parametrize("revision", REVISIONS)
def test_each_version_is_brought_to_the_newest_and_keeps_its_rows(engine: Engine, revision: str) -> None:
    upgrade(engine, revision)
    assert revision_of(engine) == revision
    with writing(engine) as connection:
        then = MetaData()
        then.reflect(connection)
        tables = [table for table in then.sorted_tables if table.name != "alembic_version"]
        for table in tables:
            connection.execute(insert(table).values(_row(table)))
        before = {table.name: _rows(connection, table) for table in tables}
    upgrade(engine)
    assert revision_of(engine) == newest_revision()
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert {table.name: _rows(connection, table) for table in tables} == before


def test_the_versions_follow_one_another() -> None:
    scripts = {s.revision: s.down_revision for s in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    assert [scripts[later] for _, later in pairwise(REVISIONS)] == REVISIONS[:-1]


def test_a_database_of_a_newer_version_is_left_alone(url: str, engine: Engine) -> None:
    upgrade(engine)
    with writing(engine) as connection:
        connection.execute(update(Table("alembic_version", MetaData(), autoload_with=connection)), {"version_num": "x"})
    disconnect(engine)
    with pytest.raises(DatabaseUnsuitable, match=r"has schema x.* a newer version has used it"):
        open_store(url)
    assert revision_of(engine) == "x"


def test_a_migration_that_fails_leaves_nothing_behind(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(engine, "0002")

    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("alembic.op.create_index", failing)
    with pytest.raises(RuntimeError, match="in the middle"):
        upgrade(engine)
    assert revision_of(engine) == "0002"
    monkeypatch.undo()
    upgrade(engine)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM credit_grants")).scalar_one() == 0


def _row(table: Table) -> dict[str, object]:
    """A value for each column that was there then."""
    return {column.name: VALUES.get(re.split(r"[( ]", str(column.type))[0], NOW) for column in table.columns}


def _rows(connection: Connection, table: Table) -> list[tuple[object, ...]]:
    """All rows, of the columns that were there then, read as now."""
    now = metadata.tables[table.name].columns
    return [tuple(row) for row in connection.execute(select(*(now[column.name] for column in table.columns)))]
