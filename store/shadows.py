"""The catalog that is rated beside the one in force, to be looked at before it is switched to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, Update, insert, select, update

from store.changes import Now
from store.database import insert_new, reading, writing
from store.errors import NotFound
from store.tables import catalogs, shadow_catalogs


@dataclass(frozen=True)
class Shadow:
    """Beside the catalog in force since `set_at`; `plans` says by which plan of it those of a plan are rated."""

    version: str
    plans: dict[str, str]
    set_at: datetime


@dataclass(frozen=True)
class Shadows:
    engine: Engine
    now: Now

    def put(self, version: str, document: str, plans: Mapping[str, str]) -> Shadow:
        """Set the catalog that is rated beside the one in force, in place of another."""
        shadow = Shadow(version, dict(plans), self.now())
        with writing(self.engine) as connection:
            connection.execute(_current().values(ended_at=shadow.set_at))
            insert_new(connection, catalogs, [{"version": version, "document": document}], unique="version")
            connection.execute(insert(shadow_catalogs).values(**vars(shadow)))
        return shadow

    def get(self) -> Shadow:
        """Raises NotFound where there is none."""
        columns = (shadow_catalogs.c.version, shadow_catalogs.c.plans, shadow_catalogs.c.set_at)
        with reading(self.engine) as connection:
            row = connection.execute(select(*columns).where(shadow_catalogs.c.ended_at.is_(None))).one_or_none()
        if row is None:
            raise NotFound("shadow catalog", "current")
        return Shadow(*row)

    def end(self) -> None:
        """Rate no catalog beside the one in force any more. Raises NotFound where there is none."""
        self.get()
        with writing(self.engine) as connection:
            connection.execute(_current().values(ended_at=self.now()))


def _current() -> Update:
    return update(shadow_catalogs).where(shadow_catalogs.c.ended_at.is_(None))
