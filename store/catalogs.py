"""Catalog versions: documents by the hash of their content, and the history of which one came into force when."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, insert, select

from store.database import insert_new, reading, writing
from store.errors import NotFound
from store.tables import catalog_applications, catalogs


@dataclass(frozen=True)
class CatalogVersion:
    """One time that a catalog came into force."""

    version: str
    applied_at: datetime
    current: bool


@dataclass(frozen=True)
class Catalogs:
    engine: Engine

    def apply(self, version: str, document: str, *, now: datetime) -> bool:
        """Bring this version into force; False, and nothing written, when it is in force already."""
        with writing(self.engine) as connection:
            if _current(connection) == version:
                return False
            insert_new(connection, catalogs, [{"version": version, "document": document}], unique="version")
            connection.execute(insert(catalog_applications).values(version=version, applied_at=now))
            return True

    def current(self) -> str | None:
        """The document in force, none before the first."""
        with reading(self.engine) as connection:
            version = _current(connection)
        return None if version is None else self.document(version)

    def version_at(self, instant: datetime) -> str | None:
        """The version that was in force at `instant`, none before the first."""
        applied = select(catalog_applications.c.version).where(catalog_applications.c.applied_at <= instant)
        newest = applied.order_by(catalog_applications.c.sequence.desc()).limit(1)
        with reading(self.engine) as connection:
            return connection.scalar(newest)

    def document(self, version: str) -> str:
        """The canonical JSON of a version, in force or not. Raises NotFound."""
        with reading(self.engine) as connection:
            document: str | None = connection.scalar(select(catalogs.c.document).where(catalogs.c.version == version))
        if document is None:
            raise NotFound("catalog version", version)
        return document

    def history(self) -> list[CatalogVersion]:
        """Every time a catalog came into force, newest first; the first of the list is the current one."""
        query = select(catalog_applications).order_by(catalog_applications.c.sequence.desc())
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return [CatalogVersion(row.version, row.applied_at, current=index == 0) for index, row in enumerate(rows)]


def _current(connection: Connection) -> str | None:
    newest = select(catalog_applications.c.version).order_by(catalog_applications.c.sequence.desc()).limit(1)
    return connection.scalar(newest)
