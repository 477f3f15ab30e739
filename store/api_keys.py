"""API keys and subject tokens, as they are kept: everything but their secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine, bindparam, func, insert, or_, select, update

from store.access_tables import api_keys
from store.database import reading, writing
from store.errors import NotFound, Refused

KEYS_MAX = 100_000
KeyKind = Literal["key", "token"]


@dataclass(frozen=True)
class KeyRecord:
    """One key or token; see the table. `scopes` are as they were given."""

    id: str
    kind: KeyKind
    name: str
    scopes: tuple[str, ...]
    subject: str | None
    customer: str | None
    secret_hash: str
    secret_before_hash: str | None
    secret_before_until: datetime | None
    limit_requests: int | None
    limit_seconds: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    made_by: str | None


_COLUMNS = [api_keys.c[field.name] for field in fields(KeyRecord)]


@dataclass(frozen=True)
class ApiKeys:
    engine: Engine

    def all(self) -> list[KeyRecord]:
        """Oldest first, those that were revoked too."""
        with reading(self.engine) as connection:
            rows = connection.execute(select(*_COLUMNS).order_by(api_keys.c.created_at, api_keys.c.id))
            return [_record(row) for row in rows]

    def get(self, key_id: str) -> KeyRecord:
        """Raises NotFound."""
        with reading(self.engine) as connection:
            row = connection.execute(select(*_COLUMNS).where(api_keys.c.id == key_id)).one_or_none()
        if row is None:
            raise NotFound("key", key_id)
        return _record(row)

    def add(self, record: KeyRecord) -> None:
        """Raises Refused when there are as many as may be."""
        with writing(self.engine) as connection:
            if (connection.scalar(select(func.count()).select_from(api_keys)) or 0) >= KEYS_MAX:
                raise Refused([f"there are {KEYS_MAX} keys and tokens; let tokens live longer, and use them again"])
            connection.execute(insert(api_keys).values(**{**vars(record), "scopes": list(record.scopes)}))

    def change(self, key_id: str, **values: Any) -> None:
        """Set some columns of a key that is there."""
        with writing(self.engine) as connection:
            connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(**values))

    def revoke(self, key_id: str, at: datetime, *, used_at: datetime | None) -> None:
        """With the tokens that it made; `used_at` is when it was used last."""
        concerned = or_(api_keys.c.id == key_id, api_keys.c.made_by == key_id) & api_keys.c.revoked_at.is_(None)
        with writing(self.engine) as connection:
            connection.execute(update(api_keys).where(concerned).values(revoked_at=at))
            connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=used_at))

    def note_used(self, used: Mapping[str, datetime]) -> None:
        """When keys were used last, by id."""
        if used:
            of = update(api_keys).where(api_keys.c.id == bindparam("of")).values(last_used_at=bindparam("at"))
            with writing(self.engine) as connection:
                connection.execute(of, [{"of": key_id, "at": at} for key_id, at in used.items()])


def _record(row: Any) -> KeyRecord:
    return KeyRecord(**{**row._mapping, "scopes": tuple(row.scopes)})
