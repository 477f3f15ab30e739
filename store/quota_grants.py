"""Quota grants of customers: what they may use of a feature beside what their plans give."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, Row, insert, select, update

from rating.core.quota.schema import QUOTA_GRANT
from store.changes import Now, record_change
from store.database import reading, writing
from store.errors import CreditVoided, IdTaken, NotFound
from store.frames import read_frame
from store.quota_tables import quota_grants


@dataclass(frozen=True)
class QuotaGrantRecord:
    """One grant as it was recorded; `given` is the whole of what was asked for."""

    id: str
    customer: str
    feature: str
    amount: Decimal
    priority: int
    created_at: datetime
    effective_at: datetime
    expires_at: datetime | None
    voided_at: datetime | None
    recurs_every: str | None
    recurs_from: datetime | None
    rollover_minimum: Decimal | None
    rollover_maximum: Decimal | None
    given: dict[str, Any]


@dataclass(frozen=True)
class QuotaGrants:
    engine: Engine
    now: Now

    def add(self, grant: QuotaGrantRecord) -> QuotaGrantRecord:
        """Record a grant; one that is there already with the same `given` is answered as it is. Raises IdTaken."""
        with writing(self.engine) as connection:
            found = _find(connection, grant.id)
            if found is None:
                change = record_change(connection, self.now())
                connection.execute(insert(quota_grants).values(change=change, **vars(grant)))
                return grant
        if (found.customer, found.given) != (grant.customer, grant.given):
            raise IdTaken([f"quota grant {grant.id!r} is there already, and is another one; take another id"])
        return found

    def find(self, id: str) -> QuotaGrantRecord | None:
        """The grant of this id, if there is one."""
        with reading(self.engine) as connection:
            return _find(connection, id)

    def get(self, id: str) -> QuotaGrantRecord:
        """Raises NotFound."""
        found = self.find(id)
        if found is None:
            raise NotFound("quota grant", id)
        return found

    def void(self, id: str, *, at: datetime, is_asked: bool) -> QuotaGrantRecord:
        """Take what is left of a grant at `at`. A grant that is voided stays as it is; raises CreditVoided when another
        instant is asked for explicitly, and NotFound."""
        with writing(self.engine) as connection:
            found = _find(connection, id)
            if found is not None and found.voided_at is None:
                change = record_change(connection, self.now())
                voided = update(quota_grants).where(quota_grants.c.id == id)
                connection.execute(voided.values(voided_at=at, void_change=change))
                found = _find(connection, id)
                assert found is not None
                return found
        if found is None:
            raise NotFound("quota grant", id)
        if is_asked and found.voided_at is not None and found.voided_at != at:
            raise CreditVoided([f"quota grant {id!r} was voided at {found.voided_at.isoformat()} already"])
        return found

    def of_customer(self, customer: str, *, after: str | None, limit: int) -> list[QuotaGrantRecord]:
        """The grants recorded for a customer behind id `after`, by id."""
        query = select(quota_grants).where(quota_grants.c.customer == customer).order_by(quota_grants.c.id)
        if after is not None:
            query = query.where(quota_grants.c.id > after)
        with reading(self.engine) as connection:
            return [_record(row) for row in connection.execute(query.limit(limit))]

    def frame(self, of: Collection[str] | None = None) -> pl.DataFrame:
        """QUOTA_GRANT of all grants, by id; `of` a few customers if given."""
        c = quota_grants.c
        columns = (c.id.label("grant") if name == "grant" else c[name] for name in QUOTA_GRANT)
        query = select(*columns).order_by(c.id)
        if of is not None:
            query = query.where(c.customer.in_(of))
        with reading(self.engine) as connection:
            return read_frame(connection, query, QUOTA_GRANT)


def _find(connection: Connection, id: str) -> QuotaGrantRecord | None:
    row = connection.execute(select(quota_grants).where(quota_grants.c.id == id)).one_or_none()
    return None if row is None else _record(row)


def _record(row: Row[Any]) -> QuotaGrantRecord:
    return QuotaGrantRecord(**{name: row._mapping[name] for name in QuotaGrantRecord.__dataclass_fields__})
