"""Grants of quota that end soon."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Engine, select

from store.database import reading
from store.quota_tables import quota_grants


@dataclass(frozen=True)
class ExpiringGrant:
    """One grant of a customer and when it ends."""

    id: str
    customer: str
    feature: str
    amount: Decimal
    expires_at: datetime


@dataclass(frozen=True)
class ExpiringGrants:
    engine: Engine

    def between(self, after: datetime, until: datetime) -> list[ExpiringGrant]:
        """The grants that end in (`after`, `until`] and were not voided, the first to end first."""
        grant = quota_grants.c
        query = select(grant.id, grant.customer, grant.feature, grant.amount, grant.expires_at)
        query = query.where(grant.expires_at > after, grant.expires_at <= until, grant.voided_at.is_(None))
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(grant.expires_at, grant.id))
            return [ExpiringGrant(**row._mapping) for row in rows]
