"""Which customer is on which plan, and when."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, Select, func, literal, or_, select

from rating.core.subscriptions import TERMS, billing_cycles, plan_of_variant, subscriptions_of
from rating.core.timeline import NO_PRICES
from store.changes import Now, keep_versions, record_change, versions_at
from store.customers import refuse
from store.database import chunks, reading, upsert, writing
from store.errors import NotFound
from store.frames import read_frame
from store.subscription_changes import changes_frame
from store.tables import customer_versions, customers, subscription_changes, subscription_versions, subscriptions

_PAYER = pl.Schema({name: TERMS[name] for name in ("customer", "time_zone", "billed_to")})
_OWNED = pl.Schema({name: dtype for name, dtype in TERMS.items() if name not in ("time_zone", "billed_to")})
_OWN = [name for name in _OWNED if name != "subscription"]
_CHANGED = select(subscription_changes.c.subscription)


@dataclass(frozen=True)
class Subscription:
    """What is agreed of a subscription at first. In force on [`starts_at`, `ends_at`); no `ends_at` is an open end, no
    `trial_ends_at` no trial. `interval`, `intervals` and `anchor` are its billing cycle (rating/core/cycles.py)."""

    key: str
    customer: str
    plan: str
    starts_at: datetime
    ends_at: datetime | None = None
    interval: str = "month"
    intervals: int = 1
    anchor: datetime | None = None
    seats: Decimal = Decimal(1)
    trial_ends_at: datetime | None = None


@dataclass(frozen=True)
class Subscriptions:
    engine: Engine
    now: Now

    def put(self, given: Sequence[Subscription], *, plans: Collection[str]) -> None:
        """Add these subscriptions or replace them, all or none; the changes of one stay. `plans` are those of the
        current catalog. What they were before stays known, under the changes before.

        Raises Refused for an unknown customer or plan, an end that is not after the start, a trial that does not end
        between them, a start behind a change, and a key given twice.
        """
        with writing(self.engine) as connection:
            wanted = sorted({subscription.customer for subscription in given})
            known = {
                key
                for some in chunks(wanted)
                for key in connection.scalars(select(customers.c.key).where(customers.c.key.in_(some)))
            }
            changed = _first_changes(connection, [subscription.key for subscription in given])
            refuse(_problems(given, customers=known, plans=plans, changed=changed))
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
        """The plans that a subscription is on, or comes to, that has not ended by `now`; add-ons included."""
        open_or_later = or_(subscriptions.c.ends_at.is_(None), subscriptions.c.ends_at > now)
        query = select(subscriptions.c.plan).where(open_or_later, subscriptions.c.key.not_in(_CHANGED)).distinct()
        with reading(self.engine) as connection:
            unchanged = set(connection.scalars(query))
        return unchanged | set(self._changed(now).select(plan_of_variant()).to_series())

    def prices_in_use(self, *, now: datetime) -> set[str]:
        """The prices that stand in for others on a subscription that has not ended by `now`."""
        used = self._changed(now)["plan"].unique()
        return {price for variant in used for price in prices_of_variant(variant).values()}

    def _changed(self, now: datetime) -> pl.DataFrame:
        """SUBSCRIPTION of those with changes, as far as it has not ended by `now`."""
        with reading(self.engine) as connection:
            terms, changes = _terms_frame(connection, keys=_CHANGED), changes_frame(connection)
        return subscriptions_of(terms, changes).filter((pl.col("ends_at") > now).fill_null(True))

    def subscriptions_frame(self, change: int | None = None, of: Collection[str] | None = None) -> pl.DataFrame:
        """SUBSCRIPTION of every subscription, by key; as of now, or of `change`; `of` a few customers if given."""
        keys = None if of is None else _keys_of(of, change)
        with reading(self.engine) as connection:
            terms, changes = _terms_frame(connection, change, keys), changes_frame(connection, change, keys)
        found = subscriptions_of(terms, changes)
        return found if of is None or change is None else found.filter(pl.col("customer").is_in(list(of)))

    def timeline(self, key: str, change: int | None = None) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """TERMS, SUBSCRIPTION and CYCLE_SPAN of one subscription; as of now, or of `change`. Raises NotFound."""
        keys = select(literal(key))
        with reading(self.engine) as connection:
            terms, changes = _terms_frame(connection, change, keys), changes_frame(connection, change, keys)
        if terms.is_empty():
            raise NotFound("subscription", key)
        return terms, subscriptions_of(terms, changes), billing_cycles(terms, changes)


def prices_of_variant(plan: str) -> dict[str, str]:
    """The prices that stand in for others in a plan as SUBSCRIPTION has it (rating/core/subscriptions.py)."""
    _, _, prices = plan.partition(" ")
    found: dict[str, str] = json.loads(prices or NO_PRICES)
    return found


def _keys_of(customers: Collection[str], change: int | None) -> Select[Any]:
    """The subscriptions that are of these customers; as of `change` also such as were theirs at another time."""
    c = (subscriptions if change is None else subscription_versions).c
    return select(c.key).where(c.customer.in_(customers))


def _terms_frame(connection: Connection, change: int | None = None, keys: Select[Any] | None = None) -> pl.DataFrame:
    """TERMS, as of now or of `change`; of the subscriptions `keys` if given.

    Customers are joined as frames where all are read: for millions of both that is many times faster than in the
    database.
    """
    own = subscriptions if change is None else versions_at(subscription_versions, change, keys)
    owners = None if keys is None else select(own.c.customer).where(own.c.key.in_(keys))
    paying = customers if change is None else versions_at(customer_versions, change, owners)
    owned = {"subscription": own.c.key, **{name: own.c[name] for name in _OWN}}
    payer = {"time_zone": paying.c.time_zone, "billed_to": func.coalesce(paying.c.parent, paying.c.key)}
    if keys is not None:
        columns = {**owned, **payer}
        both = select(*(columns[name].label(name) for name in TERMS)).where(own.c.key.in_(keys))
        return read_frame(connection, both.join_from(own, paying, paying.c.key == own.c.customer), TERMS)
    terms = read_frame(connection, select(*(column.label(name) for name, column in owned.items())), _OWNED)
    known = select(paying.c.key.label("customer"), *(column.label(name) for name, column in payer.items()))
    return terms.join(read_frame(connection, known, _PAYER), on="customer", validate="m:1").select(TERMS.names())


def _first_changes(connection: Connection, keys: Sequence[str]) -> dict[str, datetime]:
    """When the first change takes effect of those subscriptions that have changes."""
    of, at = subscription_changes.c.subscription, subscription_changes.c.effective_at
    query = select(of, func.min(at)).group_by(of)
    return {key: first for some in chunks(keys) for key, first in connection.execute(query.where(of.in_(some)))}


def _altered(connection: Connection, given: Sequence[Subscription]) -> list[Subscription]:
    """Those that are new or different from what is stored."""
    keys = [subscription.key for subscription in given]
    stored = {
        row.key: Subscription(*row)
        for some in chunks(keys)
        for row in connection.execute(select(subscriptions).where(subscriptions.c.key.in_(some)))
    }
    return [subscription for subscription in given if stored.get(subscription.key) != subscription]


def _problems(
    given: Sequence[Subscription], *, customers: set[str], plans: Collection[str], changed: Mapping[str, datetime]
) -> Iterable[str]:
    for subscription in given:
        name = f"subscription {subscription.key!r}"
        if subscription.customer not in customers:
            yield f"{name}: there is no customer {subscription.customer!r}; put the customer first"
        if subscription.plan not in plans:
            yield f"{name}: the catalog has no plan {subscription.plan!r}; {known_plans(plans)}"
        for problem in _in_time(subscription, changed.get(subscription.key)):
            yield f"{name}: {problem}"
    for key, times in Counter(subscription.key for subscription in given).items():
        if times > 1:
            yield f"subscription {key!r} is given {times} times; give it once"


def _in_time(subscription: Subscription, first_change: datetime | None) -> Iterator[str]:
    starts, ends, trial = subscription.starts_at, subscription.ends_at, subscription.trial_ends_at
    if ends is not None and ends <= starts:
        yield f"it ends at {ends.isoformat()}, not after its start at {starts.isoformat()}"
    if trial is not None and trial <= starts:
        yield f"its trial ends at {trial.isoformat()}, not after its start at {starts.isoformat()}"
    if trial is not None and ends is not None and trial > ends:
        yield f"its trial ends at {trial.isoformat()}, after its own end at {ends.isoformat()}"
    if first_change is not None and first_change < starts:
        yield f"it has a change at {first_change.isoformat()}, before that start; end it there and put another one"


def known_plans(plans: Collection[str]) -> str:
    """What to do about a plan that is not there."""
    some = sorted(plans)[:10]
    return f"its plans are {', '.join(some)}{', ...' if len(plans) > 10 else ''}" if some else "apply a catalog first"
