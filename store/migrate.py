"""Bring a database to the newest schema. The migrations lie in this package, so there is no file to configure.

A new migration: change store/tables.py or quota_tables.py, add the next module to store/migrations/versions/, run
tests/store.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from store.columns import metadata
from store.database import reading, writing
from store.errors import DatabaseUnsuitable
from store.postgresql import in_byte_order

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Apply what is missing, in one transaction (SQLite and PostgreSQL allow it).

    Raises DatabaseUnsuitable when a newer version of this program has been there.
    """
    config = _config()
    with writing(engine) as connection:
        _refuse_newer(connection, engine)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        if connection.dialect.name == "postgresql":
            in_byte_order(connection, sorted(metadata.tables))


def revision_of(engine: Engine) -> str | None:
    """The last migration that was applied; null for a database without any."""
    with reading(engine) as connection:
        return _revision(connection)


def newest_revision() -> str:
    """The last migration that this program has."""
    found = _scripts().get_current_head()
    assert found is not None
    return found


def _refuse_newer(connection: Connection, engine: Engine) -> None:
    found = _revision(connection)
    if found is not None and found not in {script.revision for script in _scripts().walk_revisions()}:
        raise DatabaseUnsuitable(
            f"the database {engine.url.database} has schema {found}, this program knows {newest_revision()} and older: "
            "a newer version has used it; run that one, or restore a backup from before"
        )


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
