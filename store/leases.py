"""Leases of quotas and what was reported of them. Written in groups: see api/lease_keeper.py."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import Engine, Row, Select, and_, bindparam, delete, exists, select, update
from sqlalchemy.sql.expression import true

from store.database import chunks, reading, upsert, writing
from store.errors import NotFound
from store.quota_tables import lease_reports, leases

State = Literal["open", "released", "expired"]
REMOVED_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Lease:
    """A slice of a quota that a gateway spends by itself; see the table. `given` is what was asked for."""

    id: str
    subject: str
    customer: str
    feature: str
    granted: Decimal
    used: Decimal
    sequence: int
    records: Literal["usage", "nothing"]
    state: State
    made_at: datetime
    expires_at: datetime
    segment_ends_at: datetime | None
    ended_at: datetime | None
    given: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LeaseReport:
    """What a report added to the usage of a lease; `event` is null where it becomes none."""

    lease: str
    sequence: int
    used: Decimal
    delta: Decimal
    at: datetime
    event: dict[str, Any] | None
    recorded: bool


@dataclass(frozen=True, slots=True)
class LeaseChange:
    """What is written together: leases as they are now, new reports, and reports (lease, sequence) that are in the
    log."""

    leases: Sequence[Lease] = ()
    reports: Sequence[LeaseReport] = ()
    recorded: Sequence[tuple[str, int]] = ()


_MARKED = (
    update(lease_reports)
    .where(lease_reports.c.lease == bindparam("of"), lease_reports.c.sequence == bindparam("number"))
    .values(recorded=True)
)


@dataclass(frozen=True)
class Leases:
    engine: Engine

    def write(self, changes: Sequence[LeaseChange]) -> None:
        """All or nothing, in one transaction; of the same lease the last one stands."""
        newest = {lease.id: lease for change in changes for lease in change.leases}
        reports = [_columns(report) for change in changes for report in change.reports]
        recorded = [pair for change in changes for pair in change.recorded]
        with writing(self.engine) as connection:
            upsert(connection, leases, [_columns(lease) for lease in newest.values()])
            if reports:
                connection.execute(lease_reports.insert(), reports)
            if recorded:
                connection.execute(_MARKED, [{"of": lease, "number": sequence} for lease, sequence in recorded])

    def get(self, id: str) -> Lease:
        """Raises NotFound."""
        found = self.find(id)
        if found is None:
            raise NotFound("lease", id)
        return found

    def find(self, id: str) -> Lease | None:
        """The lease, if there is one."""
        with reading(self.engine) as connection:
            row = connection.execute(select(leases).where(leases.c.id == id)).one_or_none()
        return None if row is None else _lease(row)

    def page(
        self, *, customer: str | None, state: State | None, now: datetime, after: str | None, limit: int
    ) -> list[Lease]:
        """By id, behind `after`. A lease whose time is over has expired, whatever its row says."""
        query = select(leases).order_by(leases.c.id).limit(limit)
        if customer is not None:
            query = query.where(leases.c.customer == customer)
        if after is not None:
            query = query.where(leases.c.id > after)
        is_over = leases.c.expires_at <= now
        wanted = {
            None: true(),
            "released": leases.c.state == "released",
            "open": and_(leases.c.state == "open", ~is_over),
            "expired": (leases.c.state == "expired") | and_(leases.c.state == "open", is_over),
        }[state]
        return self._all(query.where(wanted))

    def open(self) -> list[Lease]:
        """All that were neither released nor marked as expired."""
        return self._all(select(leases).where(leases.c.state == "open").order_by(leases.c.id))

    def unrecorded(self, of: str | None = None) -> list[LeaseReport]:
        """The reports that may not be in the log yet, in their order; of one lease if given."""
        query = select(lease_reports).where(~lease_reports.c.recorded)
        query = query if of is None else query.where(lease_reports.c.lease == of)
        query = query.order_by(lease_reports.c.lease, lease_reports.c.sequence)
        with reading(self.engine) as connection:
            return [LeaseReport(**row) for row in connection.execute(query).mappings()]

    def remove_ended(self, before: datetime) -> int:
        """Remove leases that ended before an instant, with their reports, unless one is not in the log yet; how many.
        A few thousand at a time, so that nobody waits long for the database."""
        waits = exists().where(lease_reports.c.lease == leases.c.id, ~lease_reports.c.recorded)
        query = select(leases.c.id).where(leases.c.ended_at < before, ~waits).limit(REMOVED_AT_ONCE)
        with reading(self.engine) as connection:
            ids = list(connection.scalars(query))
        for part in chunks(ids):
            with writing(self.engine) as connection:
                connection.execute(delete(lease_reports).where(lease_reports.c.lease.in_(part)))
                connection.execute(delete(leases).where(leases.c.id.in_(part)))
        return len(ids)

    def _all(self, query: Select[Any]) -> list[Lease]:
        with reading(self.engine) as connection:
            return [_lease(row) for row in connection.execute(query)]


def _lease(row: Row[Any]) -> Lease:
    return Lease(**row._mapping)


def _columns(record: Lease | LeaseReport) -> dict[str, Any]:
    return {column.name: getattr(record, column.name) for column in fields(record)}
