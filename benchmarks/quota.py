"""Quota checks over HTTP beside an empty FastAPI route, and in process. Every answer is checked against the usage."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages


import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal

import httpx2
import orjson
import polars as pl

from benchmarks import leases
from benchmarks.measuring import Figure, figure, get, main, progress, request, send
from benchmarks.servers import bare, tallystick
from benchmarks.usage import ARROW, CATALOG, arrow_bodies, events, parties
from rating.catalog import compile_catalog, load_catalog
from rating.core.schema import usage_event_schema
from rating.core.subscriptions import plain_subscriptions
from rating.live_quota import LiveQuota, Terms

CUSTOMERS = 500
LIMIT = Decimal(10**12)


def measure(quick: bool) -> dict[str, Figure]:
    checks = 5_000 if quick else 40_000
    now = datetime.now(UTC)
    made = events(50_000, subjects=CUSTOMERS, seed=5).with_columns(time=pl.lit(now).cast(pl.Datetime("us", "UTC")))
    used = dict(made.group_by("subject").agg(pl.col("input_tokens").sum()).iter_rows())
    return {**_over_http(checks, made, used), **_in_process(checks * 10), **leases.measure(quick)}


def _over_http(checks: int, made: pl.DataFrame, used: dict[str, int]) -> dict[str, Figure]:
    subjects = [f"cust-{n % CUSTOMERS}" for n in range(checks)]
    load = [get(f"/v1/quota/{subject}/tokens?amount=1") for subject in subjects]
    customers, terms = parties(CUSTOMERS)
    with tempfile.TemporaryDirectory() as directory:
        with tallystick(Path(directory) / "data") as url, httpx2.Client(base_url=url, timeout=60) as client:
            client.put("/v1/catalog", json=CATALOG).raise_for_status()
            client.post("/v1/customers", json=customers).raise_for_status()
            client.post("/v1/subscriptions", json=terms).raise_for_status()
            send(url, [request("/v1/events", body, ARROW) for body in arrow_bodies(made, 10_000)], connections=1)
            ours = send(url, load, connections=16)
        with bare(Path(directory)) as url:
            empty = send(url, [get("/nothing")] * checks, connections=16)
    answers = [orjson.loads(body) for body in ours.bodies]
    assert all(int(a["used"]) == used[a["subject"]] and a["allowed"] for a in answers)
    progress(f"{checks:,} checks in {ours.seconds:.2f} s, each answer right")
    rate, ceiling, slow = checks / ours.seconds, checks / empty.seconds, ours.quantile(0.99) * 1000
    return {
        "http_check": figure(rate, "checks/s", ceiling, ">= 0.7 of an empty route", rate >= 0.7 * ceiling),
        "http_check_p99": figure(slow, "ms", empty.quantile(0.99) * 1000, "< 5", slow < 5),
    }


def _in_process(checks: int) -> dict[str, Figure]:
    catalog = load_catalog(CATALOG)
    names = [f"cust-{n}" for n in range(CUSTOMERS)]
    payers = pl.DataFrame({"subject": names, "customer": names, "time_zone": ["UTC"] * CUSTOMERS})
    rows = [(n, n, "plan", "UTC", datetime(2020, 1, 1, tzinfo=UTC), None) for n in names]
    nothing = usage_event_schema(catalog.declared_properties()).to_frame().lazy()
    quota = LiveQuota(lambda: (nothing, 0), lambda crossings: None)
    quota.rebuild(Terms(compile_catalog(catalog), payers, plain_subscriptions(rows)))
    one, now = Decimal(1), datetime.now(UTC)
    begun = time.perf_counter()
    answers = [quota.check(names[n % CUSTOMERS], "tokens", one, now) for n in range(checks)]
    seconds = time.perf_counter() - begun
    assert all(a.allowed and a.remaining == LIMIT for a in answers)
    counters = dict.fromkeys(names, LIMIT)
    begun = time.perf_counter()
    allowed = [counters[names[n % CUSTOMERS]] >= one for n in range(checks)]
    bare_seconds = time.perf_counter() - begun
    assert all(allowed)
    rate = checks / seconds
    return {"in_process_check": figure(rate, "checks/s", checks / bare_seconds, ">= 500,000", rate >= 500_000)}


if __name__ == "__main__":
    main("quota checks a second", measure)
