"""Open the relational store: one database, one object for each aggregate."""

from dataclasses import dataclass

from sqlalchemy import Engine

from store.backfills import Backfills
from store.catalogs import Catalogs
from store.customers import Customers
from store.database import check, connect
from store.migrate import upgrade
from store.runs import Runs
from store.signals import Signals
from store.subscriptions import Subscriptions


@dataclass(frozen=True)
class Store:
    engine: Engine
    customers: Customers
    subscriptions: Subscriptions
    catalogs: Catalogs
    runs: Runs
    signals: Signals
    backfills: Backfills

    def close(self) -> None:
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Connect to `url` (SQLite or PostgreSQL), check the file, bring the schema up to date.

    Raises DatabaseDamaged when SQLite finds its own file inconsistent.
    """
    engine = connect(url)
    try:
        check(engine)
        upgrade(engine)
    except BaseException:
        engine.dispose()
        raise
    return Store(
        engine=engine,
        customers=Customers(engine),
        subscriptions=Subscriptions(engine),
        catalogs=Catalogs(engine),
        runs=Runs(engine),
        signals=Signals(engine),
        backfills=Backfills(engine),
    )
