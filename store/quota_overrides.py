"""Overrides of quotas: what stands in for the plans of a customer, or limits one of its subjects alone."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, Row, and_, insert, select, update

from rating.core.quota.schema import OVERRIDE
from store.changes import Now, record_change
from store.database import reading, writing
from store.errors import NotFound
from store.quota_tables import quota_overrides


@dataclass(frozen=True)
class QuotaOverride:
    """One override as it was recorded, in force on [effective_at, expires_at) until `ended_at`. A `subject` has a limit
    of its own; `window` is WindowRule by its fields, and `given` the whole of what was asked for."""

    customer: str
    subject: str | None
    feature: str
    is_unlimited: bool
    limit: Decimal | None
    enforcement: str | None
    grace: Decimal | None
    window: dict[str, Any] | None
    effective_at: datetime
    expires_at: datetime | None
    reason: str
    given: dict[str, Any]
    id: str = ""
    ended_at: datetime | None = None


@dataclass(frozen=True)
class QuotaOverrides:
    engine: Engine
    now: Now

    def put(self, override: QuotaOverride) -> QuotaOverride:
        """Let it stand in from now on, in the place of the one before: that ends where this one takes effect. The same
        again changes nothing."""
        now = self.now()
        with writing(self.engine) as connection:
            before = _open(connection, override.customer, override.feature, override.subject, now)
            if before is not None and before.given == override.given:
                return before
            change = record_change(connection, now)
            if before is not None:
                _end(connection, before, max(now, override.effective_at), change)
            values = {**vars(override), "id": f"override-{change}"}
            connection.execute(insert(quota_overrides).values(change=change, **values))
            found = _open(connection, override.customer, override.feature, override.subject, now)
            assert found is not None
            return found

    def end(self, customer: str, feature: str, subject: str | None) -> QuotaOverride:
        """Let the plans say it again from now on. Raises NotFound."""
        now = self.now()
        with writing(self.engine) as connection:
            found = _open(connection, customer, feature, subject, now)
            if found is None:
                raise NotFound("override", f"{customer}/{feature}" if subject is None else f"{subject}/{feature}")
            return _end(connection, found, now, record_change(connection, now))

    def of_customer(self, customer: str) -> list[QuotaOverride]:
        """All overrides of a customer, ended ones too, in the order in which they were put."""
        query = select(quota_overrides).where(quota_overrides.c.customer == customer)
        with reading(self.engine) as connection:
            return [_record(row) for row in connection.execute(query.order_by(quota_overrides.c.change))]

    def frame(self, of: Collection[str] | None = None) -> pl.DataFrame:
        """OVERRIDE of all that ever hold, in the order in which they were put; `of` a few customers if given."""
        query = select(quota_overrides).order_by(quota_overrides.c.change)
        if of is not None:
            query = query.where(quota_overrides.c.customer.in_(of))
        with reading(self.engine) as connection:
            found = [_row(_record(row)) for row in connection.execute(query)]
        held = [row for row in found if row["expires_at"] is None or row["expires_at"] > row["effective_at"]]
        return pl.DataFrame(held, schema=OVERRIDE, orient="row")


def _open(
    connection: Connection, customer: str, feature: str, subject: str | None, now: datetime
) -> QuotaOverride | None:
    """The newest override that was not ended and has not expired."""
    c = quota_overrides.c
    of_whom = c.subject.is_(None) if subject is None else c.subject == subject
    query = select(quota_overrides).where(and_(c.customer == customer, c.feature == feature, of_whom))
    newest = connection.execute(query.where(c.ended_at.is_(None)).order_by(c.change.desc()).limit(1)).one_or_none()
    found = None if newest is None else _record(newest)
    return found if found is not None and (found.expires_at is None or found.expires_at > now) else None


def _end(connection: Connection, override: QuotaOverride, at: datetime, change: int) -> QuotaOverride:
    ended = update(quota_overrides).where(quota_overrides.c.id == override.id)
    connection.execute(ended.values(ended_at=at, end_change=change))
    row = connection.execute(select(quota_overrides).where(quota_overrides.c.id == override.id)).one()
    return _record(row)


def _record(row: Row[Any]) -> QuotaOverride:
    return QuotaOverride(**{name: row._mapping[name] for name in QuotaOverride.__dataclass_fields__})


def _row(override: QuotaOverride) -> dict[str, Any]:
    """OVERRIDE: it ends where it expires or is ended, whichever comes first."""
    ends = [at for at in (override.expires_at, override.ended_at) if at is not None]
    rule = override.window or {}
    anchor = rule.get("anchor")
    return {
        "override": override.id,
        **{name: getattr(override, name) for name in ("customer", "subject", "feature", "enforcement", "grace")},
        "limit": None if override.is_unlimited else override.limit,
        "window": rule.get("kind"),
        **{name: rule.get(name) for name in ("every", "step", "time_zone")},
        "anchor": None if anchor is None else datetime.fromisoformat(anchor),
        "effective_at": override.effective_at,
        "expires_at": min(ends) if ends else None,
    }
