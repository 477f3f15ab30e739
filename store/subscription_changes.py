"""What was agreed of subscriptions after they began: changes of plan, seats, state and prices, and of add-ons.

Changes are recorded and never altered: what one says is taken back by another at the same instant, and what was known
at any time before can be read again. What they mean together is rating/core/timeline.py.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, Row, Select, func, insert, select

from rating.core.subscriptions import PLAN_ITEM
from rating.core.timeline import CHANGE
from store.changes import Now, record_change
from store.customers import refuse
from store.database import reading, writing
from store.errors import IdTaken, NotFound
from store.frames import read_frame
from store.tables import changes, subscription_changes, subscriptions

_table = subscription_changes


@dataclass(frozen=True, kw_only=True)
class AskedChange:
    """What is to hold from `effective_at` on; what is None stays as it was. Without `item` it is of all items.

    `prices` are prices of the catalog that others stand in for; `interval`, `intervals` and `anchor` are together a
    billing cycle (rating/core/cycles.py); `given` is the whole of what was asked for.
    """

    id: str
    effective_at: datetime
    item: str | None = None
    plan: str | None = None
    seats: Decimal | None = None
    state: str | None = None
    prices: Mapping[str, str] | None = None
    interval: str | None = None
    intervals: int | None = None
    anchor: datetime | None = None
    given: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class SubscriptionChange(AskedChange):
    """A change as it was recorded, as number `sequence`."""

    subscription: str
    sequence: int
    recorded_at: datetime


@dataclass(frozen=True)
class SubscriptionChanges:
    engine: Engine
    now: Now

    def add(self, key: str, asked: Sequence[AskedChange], *, plans: Collection[str]) -> list[SubscriptionChange]:
        """Record changes of a subscription, all or none; one that is there already with the same `given` is answered
        as it is. `plans` are those of the current catalog.

        Raises NotFound, IdTaken, and Refused for a plan or an item that is not there, and for an instant before the
        subscription begins.
        """
        with writing(self.engine) as connection:
            starts_at = connection.scalar(select(subscriptions.c.starts_at).where(subscriptions.c.key == key))
            if starts_at is None:
                raise NotFound("subscription", key)
            known = _known(connection, key, asked)
            new = [change for change in asked if change.id not in known]
            refuse(_problems(asked, new, starts_at, _plans_of_items(connection, key), plans))
            if new:
                _record(connection, key, new, record_change(connection, self.now()))
                known = _known(connection, key, asked)
        return [known[change.id] for change in asked]

    def page(
        self, key: str, *, after: int = 0, limit: int | None = None, change: int | None = None
    ) -> list[SubscriptionChange]:
        """The changes of a subscription behind sequence `after`, in the order of their record; all that are known now,
        or as of `change`."""
        query = _up_to(select(_table), change).where(_table.c.subscription == key, _table.c.sequence > after)
        with reading(self.engine) as connection:
            return [_change(row) for row in connection.execute(query.order_by(_table.c.sequence).limit(limit))]


def changes_frame(connection: Connection, change: int | None = None, keys: Select[Any] | None = None) -> pl.DataFrame:
    """CHANGE of what was recorded, in that order; as of now or of `change`, of the subscriptions `keys` if given."""
    query = _up_to(select(*(_table.c[name] for name in CHANGE)), change).order_by(_table.c.sequence)
    return read_frame(connection, query if keys is None else query.where(_table.c.subscription.in_(keys)), CHANGE)


def _up_to(query: Select[Any], change: int | None) -> Select[Any]:
    return query if change is None else query.where(_table.c.change <= change)


def _known(connection: Connection, key: str, asked: Sequence[AskedChange]) -> dict[str, SubscriptionChange]:
    """Those of `asked` that are recorded, by id. Raises IdTaken."""
    rows = connection.execute(select(_table).where(_table.c.id.in_([change.id for change in asked])))
    found = {row.id: _change(row) for row in rows}
    taken = [
        f"change {change.id!r} is there already, and is another one; take another id"
        for change in asked
        if (same := found.get(change.id)) and (same.subscription, same.given) != (key, change.given)
    ]
    if taken:
        raise IdTaken(taken)
    return found


def _plans_of_items(connection: Connection, key: str) -> dict[str, datetime]:
    """Since when each item of a subscription beside its plan has a plan."""
    first = select(_table.c.item, func.min(_table.c.effective_at).label("since")).group_by(_table.c.item)
    rows = connection.execute(first.where(_table.c.subscription == key, _table.c.plan.is_not(None)))
    return {row.item: row.since for row in rows}


def _problems(
    asked: Sequence[AskedChange],
    new: Sequence[AskedChange],
    starts_at: datetime,
    items: Mapping[str, datetime],
    plans: Collection[str],
) -> Iterator[str]:
    for change_id, times in Counter(change.id for change in asked).items():
        if times > 1:
            yield f"change {change_id!r} is given {times} times; give it once"
    since = dict(items)
    for change in new:
        if change.item is not None and change.plan is not None:
            since[change.item] = min(change.effective_at, since.get(change.item, change.effective_at))
    for change in new:
        at = change.effective_at.isoformat()
        if change.effective_at < starts_at:
            yield f"a change at {at} is before the subscription begins, at {starts_at.isoformat()}; put that first"
        if change.plan is not None and change.plan not in plans:
            yield f"the catalog has no plan {change.plan!r}"
        if change.item not in (None, PLAN_ITEM):
            begins = since.get(str(change.item))
            if begins is None or begins > change.effective_at:
                yield f"there is no item {change.item!r} at {at}; give the plan that it is to have"


def _record(connection: Connection, key: str, new: Sequence[AskedChange], change: int) -> None:
    recorded_at = connection.scalar(select(changes.c.recorded_at).where(changes.c.sequence == change))
    last = connection.scalar(select(func.max(_table.c.sequence))) or 0
    rows = [
        {
            **vars(asked),
            "prices": None if asked.prices is None else json.dumps(asked.prices, sort_keys=True, ensure_ascii=False),
            "subscription": key,
            "sequence": sequence,
            "recorded_at": recorded_at,
            "change": change,
        }
        for sequence, asked in enumerate(new, start=last + 1)
    ]
    connection.execute(insert(_table), rows)


def _change(row: Row[Any]) -> SubscriptionChange:
    values = {name: value for name, value in row._mapping.items() if name != "change"}
    prices = None if row.prices is None else json.loads(row.prices)
    return SubscriptionChange(**{**values, "prices": prices})
