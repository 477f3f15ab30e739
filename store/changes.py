"""The order of all changes of accounts and credits, so that what was known at any time can be read again.

Each change has a number and the instant of its record. Of what a customer or a subscription was, every version is kept
with the number from which on it holds; a reader that knows the changes up to one number reads the newest versions that
are not behind it. Writers come one after the other (store/database.py), so that whoever sees one number sees all below.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    Subquery,
    Table,
    and_,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    union,
)

from store.database import chunks, reading
from store.errors import NotReproducible
from store.quota_tables import customer_states, quota_grants, quota_overrides
from store.tables import changes, customer_versions, subject_versions, subscription_changes, subscription_versions

Now: TypeAlias = Callable[[], datetime]
_NEWEST = select(func.max(changes.c.sequence))
_LAST = 2**63 - 1  # no change has a greater number


@dataclass(frozen=True)
class Changes:
    engine: Engine

    def last(self) -> int:
        """The number of the newest change."""
        with reading(self.engine) as connection:
            return connection.scalar(_NEWEST) or 0

    def at(self, instant: datetime) -> int:
        """The number of the newest change that was recorded by `instant`. Raises NotReproducible before the first."""
        newest = select(func.max(changes.c.sequence)).where(changes.c.recorded_at <= instant)
        with reading(self.engine) as connection:
            found: int | None = connection.scalar(newest)
            if found is not None:
                return found
            first = connection.scalar(select(changes.c.recorded_at).order_by(changes.c.sequence).limit(1))
        raise NotReproducible(
            f"the customers and subscriptions of {instant.isoformat()} are not known: their history begins at "
            f"{first.isoformat() if first else 'the first change'}; ask for that instant or a later one"
        )

    def changed_customers(self, since: int) -> set[str]:
        """The customers who are not, by some change behind number `since`, what they were: themselves, their subjects,
        the terms or the timeline of their subscriptions, a state, what was granted to them, or stands in for their
        plans. Of what went from one to another, both."""
        timeline = select(subscription_changes.c.subscription).where(subscription_changes.c.change > since)
        now_of = versions_at(subscription_versions, _LAST, timeline)
        found = union(
            select(customer_versions.c.key).where(customer_versions.c.change > since),
            *(
                query
                for versions in (subject_versions, subscription_versions)
                for query in (
                    select(versions.c.customer).where(versions.c.change > since),
                    select(versions_at(versions, since, _changed_keys(versions, since)).c.customer),
                )
            ),
            select(now_of.c.customer),
            *(_concerned(table, since, end) for table, end in _QUOTAS),
            select(customer_states.c.customer).where(customer_states.c.change > since),
        )
        with reading(self.engine) as connection:
            return {customer for customer in connection.scalars(found) if customer is not None}


_QUOTAS = ((quota_grants, "void_change"), (quota_overrides, "end_change"))


def _concerned(table: Table, since: int, end: str) -> Select[Any]:
    return select(table.c.customer).where(or_(table.c.change > since, table.c[end] > since))


def _changed_keys(versions: Table, since: int) -> Select[Any]:
    key = next(iter(versions.primary_key.columns))
    return select(key).where(versions.c.change > since)


def record_change(connection: Connection, now: datetime) -> int:
    """Begin a change in this transaction (of `store.database.writing`): its number."""
    newest = select(changes.c.sequence, changes.c.recorded_at).order_by(changes.c.sequence.desc()).limit(1)
    sequence, recorded_at = connection.execute(newest).one()
    connection.execute(insert(changes).values(sequence=sequence + 1, recorded_at=max(now, recorded_at)))
    return int(sequence) + 1


def keep_versions(connection: Connection, current: Table, versions: Table, keys: Sequence[str], change: int) -> None:
    """Copy the rows of `current` with these keys to its table of versions, as they are from `change` on."""
    names = [column.name for column in versions.columns]
    columns = [literal(change).label(name) if name == "change" else current.c[name] for name in names]
    (key,) = current.primary_key.columns
    for some in chunks(keys):
        connection.execute(insert(versions).from_select(names, select(*columns).where(key.in_(some))))


def versions_at(versions: Table, change: int, keys: Select[Any] | None = None) -> Subquery:
    """The rows of a table of versions that hold at `change`: of each key, or of `keys`, the newest that is not behind
    it."""
    key = next(iter(versions.primary_key.columns))
    wanted = true() if keys is None else key.in_(keys)
    newest = select(key.label("key"), func.max(versions.c.change).label("change"))
    newest_of_key = newest.where(versions.c.change <= change, wanted).group_by(key).subquery()
    same = and_(key == newest_of_key.c.key, versions.c.change == newest_of_key.c.change)
    return select(versions).join(newest_of_key, same).subquery()
