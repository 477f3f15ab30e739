"""Users of the dashboard, and their sessions."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, bindparam, delete, insert, select, update

from store.access_tables import sessions, users
from store.database import reading, upsert, writing
from store.errors import NotFound, Refused


@dataclass(frozen=True)
class UserRecord:
    """One user; see the table."""

    name: str
    role: str
    password_hash: str
    created_at: datetime
    removed_at: datetime | None


@dataclass(frozen=True)
class SessionRecord:
    """One login; `token_hash` is the SHA-256 of what the browser has."""

    token_hash: str
    user: str
    created_at: datetime
    used_at: datetime


_USER = [users.c[field.name] for field in fields(UserRecord)]
_SESSION = [sessions.c[field.name] for field in fields(SessionRecord)]


@dataclass(frozen=True)
class Users:
    engine: Engine

    def all(self) -> list[UserRecord]:
        """By name, those that were removed too."""
        with reading(self.engine) as connection:
            return [UserRecord(**row) for row in connection.execute(select(*_USER).order_by(users.c.name)).mappings()]

    def add(self, record: UserRecord) -> None:
        """Also one that was removed before. Raises Refused when the name is taken."""
        taken = select(users.c.name).where(users.c.name == record.name, users.c.removed_at.is_(None))
        with writing(self.engine) as connection:
            if connection.scalar(taken) is not None:
                raise Refused([f"there is a user {record.name!r}; change its role or its password"])
            upsert(connection, users, [vars(record)])

    def change(self, name: str, **values: Any) -> None:
        """Set some columns; the sessions of the user end. Raises NotFound."""
        is_one = (users.c.name == name) & users.c.removed_at.is_(None)
        with writing(self.engine) as connection:
            if connection.scalar(select(users.c.name).where(is_one)) is None:
                raise NotFound("user", name)
            connection.execute(update(users).where(is_one).values(**values))
            connection.execute(delete(sessions).where(sessions.c.user == name))

    def sessions(self) -> list[SessionRecord]:
        """Those that have not ended, as far as was noted."""
        with reading(self.engine) as connection:
            return [SessionRecord(**row) for row in connection.execute(select(*_SESSION)).mappings()]

    def add_session(self, record: SessionRecord) -> None:
        with writing(self.engine) as connection:
            connection.execute(insert(sessions).values(**vars(record)))

    def end_sessions(self, hashes: list[str]) -> None:
        with writing(self.engine) as connection:
            connection.execute(delete(sessions).where(sessions.c.token_hash.in_(hashes)))

    def note_used(self, used: Mapping[str, datetime]) -> None:
        """When sessions were used last, by hash."""
        if used:
            of = update(sessions).where(sessions.c.token_hash == bindparam("of")).values(used_at=bindparam("at"))
            with writing(self.engine) as connection:
                connection.execute(of, [{"of": token_hash, "at": at} for token_hash, at in used.items()])
