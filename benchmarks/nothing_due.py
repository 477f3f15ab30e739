"""`rate --due` where nothing is due, of a million subscriptions on SQLite, of which one was put since the last close;
beside looking at all of them."""

import sqlite3
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from api.engine import Engine
from api.settings import Settings
from benchmarks.bill_accounts import catalog
from benchmarks.measuring import Figure, figure, progress
from rating.core.service_periods import Due, service_periods
from store.customers import Customer
from store.runs import Run
from store.subscriptions import Subscription

SECONDS_MAX = 1.0
_SUBSCRIPTIONS = 1_000_000
_NOW, _CLOSED = datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 10, 5, tzinfo=UTC)
_NEXT = datetime(2026, 11, 1, tzinfo=UTC)
_TABLES = ("customers", "customer_versions", "subscriptions", "subscription_versions")


def measure_nothing_due(quick: bool) -> Figure:
    """The same number of subscriptions for `quick`: that is what the promise is about."""
    del quick
    with tempfile.TemporaryDirectory() as name:
        progress(f"recording {_SUBSCRIPTIONS:,} subscriptions ...")
        settings = Settings(data=Path(name))
        _record_first(settings)
        _multiply(settings.data / "tallystick.sqlite")
        engine = Engine.open(settings, now=lambda: _NOW)
        try:
            seconds, all_of_them = _measured(engine)
        finally:
            engine.close()
    progress(f"nothing due of {_SUBSCRIPTIONS:,}: {seconds:.3f} s; looking at all of them {all_of_them:.2f} s")
    return figure(seconds, "s", all_of_them, f"<= {SECONDS_MAX:g} s", seconds <= SECONDS_MAX)


def _record_first(settings: Settings) -> None:
    """A catalog, one customer with a subscription, and the close that the next one comes behind."""
    engine = Engine.open(settings, now=lambda: _CLOSED)
    try:
        engine.apply_catalog(catalog().canonical_json(), format="json")
        _put(engine, "first")
        run = Run("run_last", "due", catalog().version, -1, -1, "bench", _CLOSED, kind="final")
        closed = {"due_after": datetime(2026, 10, 1, tzinfo=UTC), "due_until": _CLOSED}
        engine.store.runs.start(Run(**{**vars(run), **closed, "last_change": engine.store.changes.last()}))
        report = {"next_due": _NEXT.isoformat()}
        engine.store.runs.finish(
            Run(**{**vars(run), "status": "done", "finished_at": _CLOSED, "digest": "", "report": report})
        )
    finally:
        engine.close()


def _put(engine: Engine, key: str) -> None:
    engine.put_customers([Customer(key, key, "UTC", _CLOSED, (key,))])
    engine.put_subscriptions([Subscription(key, key, "plan", datetime(2026, 1, 1, tzinfo=UTC))])


def _multiply(database: Path) -> None:
    """As many rows as the first one has, with other keys."""
    connection = sqlite3.connect(database)
    with connection:
        for table in _TABLES:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            named = [f"'c' || n AS {name}" if name in ("key", "customer") else name for name in columns]
            connection.execute(
                f"WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?) "
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(named)} FROM {table}, counted "
                f"WHERE {table}.key = 'first'",
                (_SUBSCRIPTIONS,),
            )
    connection.close()


def _measured(engine: Engine) -> tuple[float, float]:
    """Seconds of a close that finds nothing due, the most of several, and of looking at every subscription."""
    _put(engine, "late")
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        assert engine.close_due(None, None) == []
        seconds.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    accounts = engine.rating.sources.accounts()
    assert accounts.subscriptions.height == _SUBSCRIPTIONS + 2
    found = service_periods(accounts.subscriptions, Due(_CLOSED, datetime(2026, 10, 19, tzinfo=UTC)))
    assert found.is_empty()
    return max(seconds), time.perf_counter() - begun
