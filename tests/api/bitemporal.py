"""What tests of earlier answers share: a clock that goes on, and data directories as an older release left them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, update

from api.engine import Engine
from store.database import writing
from store.tables import (
    changes,
    customer_versions,
    rating_runs,
    subject_versions,
    subscription_versions,
)
from tests.api.conftest import NOW


@dataclass
class Ticking:
    """A clock by which every question is a millisecond later than the one before."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        self.at += timedelta(milliseconds=1)
        return self.at


def forget_history(engine: Engine, run: dict[str, Any]) -> None:
    """Leave what an upgrade of a directory from before the history of accounts leaves: what is there now is the first
    version, and of the run no change is known."""
    customers, subscriptions = engine.store.customers, engine.store.subscriptions
    known = [customers.get(customer.key) for customer in customers.page(after=None, limit=100)]
    paid = subscriptions.page(customer=None, after=None, limit=100)
    with writing(engine.store.engine) as connection:
        for table in (customer_versions, subject_versions, subscription_versions, changes):
            connection.execute(delete(table))
        connection.execute(insert(changes).values(sequence=0, recorded_at=engine.now()))
        for c in known:
            row = {"key": c.key, "change": 0, "name": c.name, "time_zone": c.time_zone, "parent": c.parent}
            connection.execute(insert(customer_versions).values(row))
            for subject in c.subjects:
                connection.execute(insert(subject_versions).values(subject=subject, change=0, customer=c.key))
        for s in paid:
            connection.execute(insert(subscription_versions).values(change=0, **vars(s)))
        connection.execute(update(rating_runs).where(rating_runs.c.id == run["id"]).values(last_change=None))
