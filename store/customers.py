"""Customers and the subjects whose usage they pay for."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl
from sqlalchemy import Connection, Engine, delete, func, insert, or_, select

from rating.core.quota.schema import FAMILY
from rating.core.schema import SUBJECT
from store.changes import Now, keep_versions, record_change, versions_at
from store.database import chunks, reading, upsert, writing
from store.errors import NotFound, Refused, SubjectTaken
from store.frames import read_frame
from store.tables import customer_versions, customers, subject_versions, subjects


@dataclass(frozen=True)
class Customer:
    """`subjects` are the values of `subject` on its usage events; `time_zone` is where its periods begin. `parent` is
    the customer who pays for it, None where it pays itself."""

    key: str
    name: str
    time_zone: str
    created_at: datetime
    subjects: tuple[str, ...]
    parent: str | None = None


@dataclass(frozen=True)
class Customers:
    engine: Engine
    now: Now

    def put(self, given: Sequence[Customer]) -> None:
        """Add these customers or replace them, subjects included, all or none; `created_at` stays the first.
        What they were before stays known, under the changes before.

        Raises Refused for an unknown time zone, a parent that cannot be one, or a customer named twice, SubjectTaken
        for a subject of two customers.
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
            refuse(_wrong_parents(connection, given))
            upsert(connection, subjects, rows)
            _keep_versions(connection, before, given, self.now())

    def get(self, key: str) -> Customer:
        """Raises NotFound."""
        found = self._select([key])
        if not found:
            raise NotFound("customer", key)
        return found[0]

    def page(self, *, after: str | None, limit: int, holding: str = "") -> list[Customer]:
        """The customers behind key `after`, in the order of their keys; those that have the text `holding` in their
        key, their name or one of their subjects, in whatever case."""
        query = select(customers.c.key).order_by(customers.c.key).limit(limit)
        if after is not None:
            query = query.where(customers.c.key > after)
        if holding:
            of_subjects = select(subjects.c.customer).where(subjects.c.subject.icontains(holding, autoescape=True))
            texts = [column.icontains(holding, autoescape=True) for column in (customers.c.key, customers.c.name)]
            query = query.where(or_(*texts, customers.c.key.in_(of_subjects)))
        with reading(self.engine) as connection:
            keys = list(connection.scalars(query))
        return self._select(keys)

    def count(self) -> int:
        with reading(self.engine) as connection:
            return connection.scalar(select(func.count()).select_from(customers)) or 0

    def payer_of(self, subject: str) -> str | None:
        """The customer of a subject now; null for nobody's."""
        with reading(self.engine) as connection:
            found: str | None = connection.scalar(select(subjects.c.customer).where(subjects.c.subject == subject))
        return found

    def subjects_frame(self, change: int | None = None, of: Collection[str] | None = None) -> pl.DataFrame:
        """Every subject with its customer: schema SUBJECT, sorted by subject. As it is now, or as of `change`; `of` a
        few customers if given."""
        known = subjects if change is None else versions_at(subject_versions, change)
        query = select(known.c.subject, known.c.customer).where(known.c.customer.is_not(None))
        if of is not None:
            query = query.where(known.c.customer.in_(of))
        with reading(self.engine) as connection:
            return read_frame(connection, query, SUBJECT).sort("subject")

    def payers_frame(self) -> pl.DataFrame:
        """Every subject with its `customer` and that customer's `time_zone`, sorted by subject."""
        query = select(subjects.c.subject, subjects.c.customer, customers.c.time_zone).join_from(subjects, customers)
        with reading(self.engine) as connection:
            return read_frame(connection, query, pl.Schema({**SUBJECT, "time_zone": pl.String()})).sort("subject")

    def family_frame(self) -> pl.DataFrame:
        """FAMILY of the customers that another pays for, and of those that pay for others, by key."""
        c = customers.c
        parents = select(c.parent).where(c.parent.is_not(None))
        query = select(c.key.label("customer"), c.time_zone, c.parent).where(
            or_(c.parent.is_not(None), c.key.in_(parents))
        )
        with reading(self.engine) as connection:
            return read_frame(connection, query.order_by(c.key), FAMILY)

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
    """What customers were: `rows` are name, time zone and parent by key, `payers` customers by subject."""

    rows: dict[str, tuple[str, str, str | None]]
    payers: dict[str, str]

    @classmethod
    def of(cls, connection: Connection, keys: Sequence[str]) -> "_Before":
        rows: dict[str, tuple[str, str, str | None]] = {}
        payers: dict[str, str] = {}
        for some in chunks(keys):
            c = customers.c
            known = select(c.key, c.name, c.time_zone, c.parent).where(c.key.in_(some))
            rows.update({key: (name, zone, parent) for key, name, zone, parent in connection.execute(known)})
            owned = select(subjects.c.subject, subjects.c.customer).where(subjects.c.customer.in_(some))
            payers.update(map(tuple, connection.execute(owned)))
        return cls(rows, payers)


def _keep_versions(connection: Connection, before: _Before, given: Sequence[Customer], now: datetime) -> None:
    """Keep what is different from `before` as new versions; the same again is no change."""
    altered = [c.key for c in given if before.rows.get(c.key) != (c.name, c.time_zone, c.parent)]
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
        "parent": customer.parent,
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


def _wrong_parents(connection: Connection, given: Sequence[Customer]) -> Iterator[str]:
    """What is wrong with the parents of these customers, or with these as parents, now that they are stored."""
    child, parent = customers.alias(), customers.alias()
    pairs = select(child.c.key, child.c.parent, parent.c.key, parent.c.parent).order_by(child.c.key)
    met = pairs.outerjoin_from(child, parent, child.c.parent == parent.c.key).where(child.c.parent.is_not(None))
    wrong = met.where(or_(parent.c.key.is_(None), parent.c.parent.is_not(None)))
    keys = [customer.key for customer in given if customer.parent is not None]
    of_either = (
        row
        for some in chunks(keys)
        for row in connection.execute(wrong.where(or_(child.c.key.in_(some), parent.c.key.in_(some))))
    )
    for key, named, found, grandparent in sorted(set(map(tuple, of_either))):
        if found is None:
            yield f"customer {key!r}: there is no customer {named!r} to be its parent; put it first"
        elif named == key:
            yield f"customer {key!r} cannot be its own parent; leave the parent out"
        else:
            yield f"customer {key!r}: its parent {named!r} has a parent itself, {grandparent!r}; name that one"


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
