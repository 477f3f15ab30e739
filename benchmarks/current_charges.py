"""What a customer's open billing period comes to by now, asked over HTTP: the slowest of a hundred questions.

A server has the period's events of many customers, of whom each question takes another one; between the questions new
events come in. Answers are checked against a rating run of the same state. The baseline is a question whose events are
looked up in the files of the log (the first ones, before the server has them in memory).
"""

import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import orjson
import polars as pl

from api.engine import Engine
from api.settings import Settings
from benchmarks.measuring import Figure, Load, figure, get, progress, request, send
from benchmarks.servers import tallystick
from benchmarks.usage import ARROW, CATALOG, JSON_BATCH, arrow_bodies, events, json_bodies
from ingest.errors import Overloaded
from rating.core.periods import month_of
from store.customers import Customer
from store.subscriptions import Subscription

TARGET_MS = 100
QUESTIONS, CHECKED, NEW_EVENTS = 500, 25, 100
_PERIOD = timedelta(days=20)
"""Of the open period so much has passed: it begins on an anniversary, so that it is the same on any day."""
_PART, _BODY = 1_000_000, 20_000
_MONTH = timedelta(days=31)  # of `events`
_TICK = timedelta(microseconds=1)
_OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)


def measure_current_charges(quick: bool) -> dict[str, Figure]:
    count, customers = (200_000, 2_000) if quick else (10_000_000, 100_000)
    figures = _measured("current_charges", count, customers)
    if quick:
        return figures
    return {**figures, **_measured("current_charges_large_customers", count, 100)}


def _measured(key: str, count: int, customers: int) -> dict[str, Figure]:
    with tempfile.TemporaryDirectory() as name:
        data, now = Path(name) / "data", datetime.now(UTC)
        progress(f"ingesting {count:,} events of {customers:,} customers ...")
        _fill(data, count, customers, now)
        with tallystick(data) as url:
            first = send(url, [_question(0)], connections=1)
            _until_in_memory(url, first.latencies[0], 10 + count / 500_000)
            load = _asked(url, count, customers, now, QUESTIONS // 3 if count < 1_000_000 else QUESTIONS)
            _check(url, customers)
    cold, p50, p99 = (1_000 * seconds for seconds in (first.latencies[0], load.quantile(0.5), load.quantile(0.99)))
    progress(
        f"{count:,} events, {customers:,} customers: p50 {p50:.1f} ms, p99 {p99:.1f} ms, first {cold:.0f} ms; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    return {
        f"{key}_p50": figure(p50, "ms", cold, f"< {TARGET_MS} ms", p50 < TARGET_MS),
        key: figure(p99, "ms", cold, f"p99 < {TARGET_MS} ms", p99 < TARGET_MS),
    }


def _fill(data: Path, count: int, customers: int, now: datetime) -> None:
    """A data directory with the accounts, and the events of the open period so far."""
    keys = [f"cust-{n}" for n in range(customers)]
    start = now - _PERIOD
    engine = Engine.open(Settings(data=data))
    engine.apply_catalog(orjson.dumps(CATALOG), format="json")
    engine.put_customers([Customer(key, key, "UTC", now, (key,)) for key in keys])
    engine.put_subscriptions([Subscription(key, key, "plan", start, anchor=start) for key in keys])
    for first in range(0, count, _PART):
        for body in arrow_bodies(_recent(min(_PART, count - first), customers, first, now), _BODY):
            _submit(engine, body)
    engine.log.flush()
    engine.log.maintain()
    engine.close()


def _submit(engine: Engine, body: bytes) -> None:
    while True:
        try:
            verdict = engine.log.submit(body, ARROW).result()
        except Overloaded:
            time.sleep(0.2)
        else:
            assert verdict.rejected == 0, verdict.events[:3]
            return


def _recent(count: int, customers: int, first: int, now: datetime) -> pl.DataFrame:
    """Events of the time from the beginning of the period until now."""
    passed = (pl.col("time") - _OCTOBER).dt.total_microseconds()
    since = (passed * (_PERIOD / _MONTH)).cast(pl.Int64).cast(pl.Duration("us"))
    return events(count, subjects=customers, seed=first, first=first).with_columns(time=pl.lit(now - _PERIOD) + since)


def _question(customer: int) -> bytes:
    return get(f"/v1/customers/cust-{customer}/charges/current")


def _until_in_memory(url: str, first: float, seconds: float) -> None:
    """Ask until an answer takes half as long as the first one, and then a few more."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and send(url, [_question(1)], connections=1).latencies[0] > first / 2:
        time.sleep(0.1)
    send(url, [_question(2)] * 20, connections=1)


def _asked(url: str, count: int, customers: int, now: datetime, questions: int) -> Load:
    """The questions, one after the other; behind each tenth some events are new."""
    rng = np.random.default_rng(5)
    more = json_bodies(_recent(questions * NEW_EVENTS // 10, customers, count, now), NEW_EVENTS)
    latencies: list[float] = []
    for body in more:
        send(url, [request("/v1/events", body, JSON_BATCH)], connections=1)
        asked = [_question(int(n)) for n in rng.integers(0, customers, 10)]
        latencies += send(url, asked, connections=1).latencies
    return Load(sum(latencies), latencies, [])


def _check(url: str, customers: int) -> None:
    """Answers are, line by line, what rating runs of all customers have of the open periods."""
    with httpx2.Client(base_url=url, timeout=600) as client:
        found = [_answer(client, n * (customers // CHECKED)) for n in range(CHECKED)]
        ends = {datetime.fromisoformat(period["to"]) - _TICK for one in found for period in one["periods"]}
        months = sorted({str(month_of(end, "UTC")) for end in ends})
        runs = [client.post("/v1/rating-runs", json={"period": month}).raise_for_status().json() for month in months]
        for one in found:
            expected = [line for run in runs for line in _lines(client, run["id"], one)]
            assert one["items"] == sorted(expected, key=lambda line: str(line["line"])), one["customer"]
            assert sum(line["events"] for line in expected) > 0


def _answer(client: httpx2.Client, customer: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/customers/cust-{customer}/charges/current").raise_for_status().json()
    return found


def _lines(client: httpx2.Client, run: str, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    answer = client.get(f"/v1/rating-runs/{run}/lines", params={"customer": asked["customer"], "limit": 10_000})
    for line in answer.raise_for_status().json()["items"]:
        if line["period_start"] <= asked["as_of"] < line["period_end"]:
            yield {name: value for name, value in line.items() if name != "run"}
