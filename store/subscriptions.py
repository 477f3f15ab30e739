"""Which customer is on which plan, and when."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Engine, or_, select

from rating.core.schema import SUBSCRIPTION
from store.changes import Now, keep_versions, record_change, versions_at
from store.customers import refuse
from store.database import chunks, reading, upsert, writing
from store.errors import NotFound
from store.tables import customer_versions, customers, subscription_versions, subscriptions


@dataclass(frozen=True)
class Subscription:
    """In force on [`starts_at`, `ends_at`); no `ends_at` is an open end."""

    key: str
    customer: str
    plan: str
    starts_at: datetime
    ends_at: datetime | None = None


@dataclass(frozen=True)
class Subscriptions:
    engine: Engine
    now: Now

    def put(self, given: Sequence[Subscription], *, plans: Collection[str]) -> None:
        """Add these subscriptions or replace them, all or none. `plans` are those of the current catalog.
        What they were before stays known, under the changes before.

        Raises Refused for an unknown customer or plan, an end that is not after the start, and a key given twice.
        """
        with writing(self.engine) as connection:
            wanted = sorted({subscription.customer for subscription in given})
            known = {
                key
                for some in chunks(wanted)
                for key in connection.scalars(select(customers.c.key).where(customers.c.key.in_(some)))
            }
            refuse(_problems(given, customers=known, plans=plans))
            altered = _altered(connection, given)
            upsert(connection, subscriptions, [vars(subscription) for subscription in altered])
            if altered:
                change = record_change(connection, self.now())
                keys = [subscription.key for subscription in altered]
                keep_versions(connection, subscriptions, subscription_versions, keys, change)

    def get(self, key: str) -> Subscription:
        """Raises NotFound."""
        with reading(self.engine) as connection:
            row = connection.execute(select(subscriptions).where(subscriptions.c.key == key)).one_or_none()
        if row is None:
            raise NotFound("subscription", key)
        return Subscription(*row)

    def page(self, *, customer: str | None, after: str | None, limit: int) -> list[Subscription]:
        """The subscriptions behind key `after`, in the order of their keys; of one customer if given."""
        query = select(subscriptions).order_by(subscriptions.c.key).limit(limit)
        if after is not None:
            query = query.where(subscriptions.c.key > after)
        if customer is not None:
            query = query.where(subscriptions.c.customer == customer)
        with reading(self.engine) as connection:
            return [Subscription(*row) for row in connection.execute(query)]

    def plans_in_use(self, *, now: datetime) -> set[str]:
        """The plans with a subscription that has not ended by `now`."""
        open_or_later = or_(subscriptions.c.ends_at.is_(None), subscriptions.c.ends_at > now)
        with reading(self.engine) as connection:
            return set(connection.scalars(select(subscriptions.c.plan).where(open_or_later).distinct()))

    def subscriptions_frame(self, change: int | None = None) -> pl.DataFrame:
        """Every subscription with the time zone of its customer: schema SUBSCRIPTION, sorted by key. As it is now, or
        as of `change`."""
        known = subscriptions if change is None else versions_at(subscription_versions, change)
        owner = customers if change is None else versions_at(customer_versions, change)
        s = known.c
        columns = select(s.key, s.customer, s.plan, owner.c.time_zone, s.starts_at, s.ends_at)
        query = columns.join_from(known, owner, s.customer == owner.c.key)
        with reading(self.engine) as connection:
            rows = [tuple(row) for row in connection.execute(query)]
        return pl.DataFrame(rows, schema=SUBSCRIPTION, orient="row").sort("subscription")


def _altered(connection: Connection, given: Sequence[Subscription]) -> list[Subscription]:
    """Those that are new or different from what is stored."""
    keys = [subscription.key for subscription in given]
    stored = {
        row.key: Subscription(*row)
        for some in chunks(keys)
        for row in connection.execute(select(subscriptions).where(subscriptions.c.key.in_(some)))
    }
    return [subscription for subscription in given if stored.get(subscription.key) != subscription]


def _problems(given: Sequence[Subscription], *, customers: set[str], plans: Collection[str]) -> Iterable[str]:
    for subscription in given:
        name = f"subscription {subscription.key!r}"
        if subscription.customer not in customers:
            yield f"{name}: there is no customer {subscription.customer!r}; put the customer first"
        if subscription.plan not in plans:
            yield f"{name}: the catalog has no plan {subscription.plan!r}; {_known(plans)}"
        if subscription.ends_at is not None and subscription.ends_at <= subscription.starts_at:
            starts, ends = subscription.starts_at.isoformat(), subscription.ends_at.isoformat()
            yield f"{name}: it ends at {ends}, not after its start at {starts}"
    for key, times in Counter(subscription.key for subscription in given).items():
        if times > 1:
            yield f"subscription {key!r} is given {times} times; give it once"


def _known(plans: Collection[str]) -> str:
    some = sorted(plans)[:10]
    return f"its plans are {', '.join(some)}{', ...' if len(plans) > 10 else ''}" if some else "apply a catalog first"
