"""Customers and the subjects whose usage they pay for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl
from sqlalchemy import Connection, Engine, delete, func, insert, select

from rating.core.schema import SUBJECT
from store.changes import Now, keep_versions, record_change, versions_at
from store.database import chunks, reading, upsert, writing
from store.errors import NotFound, Refused, SubjectTaken
from store.tables import customer_versions, customers, subject_versions, subjects


@dataclass(frozen=True)
class Customer:
    """`subjects` are the values of `subject` on its usage events; `time_zone` is where its periods begin."""

    key: str
    name: str
    time_zone: str
    created_at: datetime
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class Customers:
    engine: Engine
    now: Now

    def put(self, given: Sequence[Customer]) -> None:
        """Add these customers or replace them, subjects included, all or none; `created_at` stays the first.
        What they were before stays known, under the changes before.

        Raises Refused for an unknown time zone or a customer named twice, SubjectTaken for a subject of two customers.
        """
        refuse(_problems(given))
        keys = [customer.key for customer in given]
        rows = [{"subject": s, "customer": customer.key} for customer in given for s in customer.subjects]
        with writing(self.engine) as connection:
            before = _Before.of(connection, keys)
            for some in chunks(keys):
                connection.execute(delete(subjects).where(subjects.c.customer.in_(some)))
            _refuse_taken(connection, rows)
            upsert(connection, customers, [_row(customer) for customer in given], keep=("created_at",))
            upsert(connection, subjects, rows)
            _keep_versions(connection, before, given, self.now())

    def get(self, key: str) -> Customer:
        """Raises NotFound."""
        found = self._select([key])
        if not found:
            raise NotFound("customer", key)
        return found[0]

    def page(self, *, after: str | None, limit: int) -> list[Customer]:
        """The customers behind key `after`, in the order of their keys."""
        query = select(customers.c.key).order_by(customers.c.key).limit(limit)
        if after is not None:
            query = query.where(customers.c.key > after)
        with reading(self.engine) as connection:
            keys = list(connection.scalars(query))
        return self._select(keys)

    def count(self) -> int:
        with reading(self.engine) as connection:
            return connection.scalar(select(func.count()).select_from(customers)) or 0

    def of_subject(self, subject: str) -> str | None:
        """The customer who pays for `subject`, if any."""
        with reading(self.engine) as connection:
            return connection.scalar(select(subjects.c.customer).where(subjects.c.subject == subject))

    def subjects_frame(self, change: int | None = None) -> pl.DataFrame:
        """Every subject with its customer: schema SUBJECT, sorted by subject. As it is now, or as of `change`."""
        known = subjects if change is None else versions_at(subject_versions, change)
        query = select(known.c.subject, known.c.customer).where(known.c.customer.is_not(None))
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return pl.DataFrame([tuple(row) for row in rows], schema=SUBJECT, orient="row").sort("subject")

    def payers_frame(self) -> pl.DataFrame:
        """Every subject with its `customer` and that customer's `time_zone`, sorted by subject."""
        query = select(subjects.c.subject, subjects.c.customer, customers.c.time_zone).join_from(subjects, customers)
        with reading(self.engine) as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        return pl.DataFrame(rows, schema={**SUBJECT, "time_zone": pl.String()}, orient="row").sort("subject")

    def _select(self, keys: Sequence[str]) -> list[Customer]:
        with reading(self.engine) as connection:
            rows = connection.execute(
                select(customers).where(customers.c.key.in_(keys)).order_by(customers.c.key)
            ).all()
            owned = connection.execute(select(subjects).where(subjects.c.customer.in_(keys)).order_by("subject")).all()
        by_customer: dict[str, list[str]] = {}
        for subject, customer in owned:
            by_customer.setdefault(customer, []).append(subject)
        return [Customer(**row._mapping, subjects=tuple(by_customer.get(row.key, ()))) for row in rows]


def refuse(problems: Iterable[str]) -> None:
    """Raise Refused when there is any problem."""
    found = list(problems)
    if found:
        raise Refused(found)


def is_time_zone(name: str) -> bool:
    """Whether `name` is an IANA time zone, like Europe/Madrid."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@dataclass(frozen=True)
class _Before:
    """What customers were: `rows` are name and time zone by key, `payers` customers by subject."""

    rows: dict[str, tuple[str, str]]
    payers: dict[str, str]

    @classmethod
    def of(cls, connection: Connection, keys: Sequence[str]) -> "_Before":
        rows: dict[str, tuple[str, str]] = {}
        payers: dict[str, str] = {}
        for some in chunks(keys):
            known = select(customers.c.key, customers.c.name, customers.c.time_zone).where(customers.c.key.in_(some))
            rows.update({key: (name, zone) for key, name, zone in connection.execute(known)})
            owned = select(subjects.c.subject, subjects.c.customer).where(subjects.c.customer.in_(some))
            payers.update(map(tuple, connection.execute(owned)))
        return cls(rows, payers)


def _keep_versions(connection: Connection, before: _Before, given: Sequence[Customer], now: datetime) -> None:
    """Keep what is different from `before` as new versions; the same again is no change."""
    altered = [c.key for c in given if before.rows.get(c.key) != (c.name, c.time_zone)]
    after = {subject: customer.key for customer in given for subject in customer.subjects}
    paid = [subject for subject, payer in after.items() if before.payers.get(subject) != payer]
    left = [subject for subject in before.payers if subject not in after]
    if not altered and not paid and not left:
        return
    change = record_change(connection, now)
    keep_versions(connection, customers, customer_versions, altered, change)
    keep_versions(connection, subjects, subject_versions, paid, change)
    if left:
        connection.execute(insert(subject_versions), [{"subject": s, "change": change} for s in left])


def _row(customer: Customer) -> dict[str, object]:
    return {
        "key": customer.key,
        "name": customer.name,
        "time_zone": customer.time_zone,
        "created_at": customer.created_at,
    }


def _problems(given: Sequence[Customer]) -> Iterable[str]:
    unknown = {zone for zone in {customer.time_zone for customer in given} if not is_time_zone(zone)}
    for customer in given:
        if customer.time_zone in unknown:
            yield f"customer {customer.key!r}: {customer.time_zone!r} is no IANA time zone (like Europe/Madrid)"
    for key, times in Counter(customer.key for customer in given).items():
        if times > 1:
            yield f"customer {key!r} is given {times} times; give it once"
    for subject, times in Counter(s for customer in given for s in customer.subjects).items():
        if times > 1:
            yield f"subject {subject!r} is given {times} times; a subject belongs to one customer"


def _refuse_taken(connection: Connection, rows: Sequence[dict[str, str]]) -> None:
    wanted = {row["subject"]: row["customer"] for row in rows}
    taken = [
        row
        for some in chunks(list(wanted))
        for row in connection.execute(select(subjects).where(subjects.c.subject.in_(some)).order_by("subject"))
    ]
    if taken:
        raise SubjectTaken(
            f"subject {s!r} of {wanted[s]!r} belongs to customer {owner!r}; take it from there first"
            for s, owner in taken
        )
