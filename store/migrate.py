"""Bring a database to the newest schema. The migrations lie in this package, so there is no file to configure.

A new migration: change store/tables.py, add the next module to store/migrations/versions/, run tests/store.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from store.database import writing

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Apply what is missing, in one transaction where the database allows it (SQLite and PostgreSQL do)."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
