"""Totals never fall while events come, segments move to the table, files are merged and rating runs.

Each answer is one of the totals that the log has had, at some moment between question and answer: what was acknowledged
before the question is in it.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import orjson
import pytest

from api.engine import Engine
from api.usage import UsageQuery
from store.customers import Customer
from store.subscriptions import Subscription
from tests.api.conftest import CATALOG, NOW, event
from tests.ingest.test_concurrency import restless

__all__ = ["restless"]

BATCH, WRITERS, READERS = 20, 3, 2


class Acknowledged:
    """How many events were acknowledged, and how many were sent."""

    def __init__(self) -> None:
        self.sent = self.answered = 0
        self._lock = threading.Lock()

    def post(self, engine: Engine, keys: list[str]) -> None:
        with self._lock:
            self.sent += len(keys)
        body = orjson.dumps([event(key, data={"model": "big", "input_tokens": 1}) for key in keys])
        verdict = engine.log.submit(body, "application/cloudevents-batch+json").result(60)
        assert verdict.accepted == len(keys), verdict
        with self._lock:
            self.answered += len(keys)


def until(is_done: threading.Event, step: Callable[[], object]) -> int:
    """Do it again and again; how often."""
    times = 0
    while not is_done.is_set():
        step()
        times += 1
    return times


def one_round(engine: Engine, seconds: float, number: int) -> int:
    """Number of totals that were looked at."""
    told, is_done = Acknowledged(), threading.Event()
    before = usage(engine)

    def read() -> int:
        seen, looks = before, 0
        while not is_done.is_set():
            least = before + told.answered
            found = usage(engine)
            most = before + told.sent
            assert max(seen, least) <= found <= most, f"{found} after {seen}; {least} to {most} were there"
            seen, looks = found, looks + 1
        return looks

    def write(writer: int) -> None:
        step = 0
        while not is_done.is_set():
            told.post(engine, [f"{number}/{writer}/{step}/{place}" for place in range(BATCH)])
            step += 1

    with ThreadPoolExecutor(WRITERS + READERS + 3) as pool:
        readers = [pool.submit(read) for _ in range(READERS)]
        others = [pool.submit(write, writer) for writer in range(WRITERS)]
        others += [
            pool.submit(until, is_done, engine.log.flush),
            pool.submit(until, is_done, engine.log.maintain),
            pool.submit(until, is_done, lambda: rated(engine)),
        ]
        time.sleep(seconds)
        is_done.set()
        for other in others:
            other.result(60)
        looks = sum(reader.result(60) for reader in readers)
    assert usage(engine) == before + told.sent == before + told.answered
    return looks


def usage(engine: Engine) -> int:
    total: Decimal = engine.usage(UsageQuery("tokens"))["quantity"].sum()
    used = engine.quota.check("acme", "tokens", Decimal(1), NOW).used
    assert used is not None
    assert used >= total, "a check is never behind a query before it"
    return int(total)


def rated(engine: Engine) -> None:
    assert engine.rate("2026-10").status == "done"


@pytest.fixture
def selling(engine: Engine) -> Engine:
    """With the catalog in force, and `acme` on the plan `pro`."""
    engine.apply_catalog(orjson.dumps(CATALOG), format="json")
    engine.put_customers([Customer("acme", "Acme", "UTC", NOW, ("acme",))])
    engine.put_subscriptions([Subscription("acme-pro", "acme", "pro", datetime(2026, 1, 1, tzinfo=UTC))])
    return engine


@pytest.mark.usefixtures("restless")
def test_totals_never_fall_while_the_log_is_busy(selling: Engine) -> None:
    assert one_round(selling, 3, 0) > 4


@pytest.mark.long
@pytest.mark.usefixtures("restless")
def test_totals_never_fall_for_many_rounds(selling: Engine) -> None:
    for number in range(60):
        one_round(selling, 5, number)
