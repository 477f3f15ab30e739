"""Quota checks over HTTP beside an empty route of the same server, while events are ingested.

The load generator of the events, that of the checks and the server share the machine's cores.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import orjson
import polars as pl

from benchmarks.measuring import ROOT, Figure, Load, figure, get, progress, request, send
from benchmarks.servers import tallystick
from benchmarks.usage import ARROW, CATALOG, arrow_bodies, events, parties

CUSTOMERS, CONNECTIONS, EVENTS_A_SECOND = 500, 16, 100_000
LOAD_SECONDS = {True: 10, False: 60}  # of --quick, and whole
STILL = [f"cust-{number}" for number in range(CUSTOMERS // 2)]
"""Nobody posts events of these any more: their answers are known to the last digit."""
MOVING = [f"cust-{number}" for number in range(CUSTOMERS // 2, CUSTOMERS)]


def over_http(quick: bool) -> dict[str, Figure]:
    rounds, checks = (2, 2_500) if quick else (8, 5_000)
    with (
        tempfile.TemporaryDirectory() as directory,
        tallystick(Path(directory) / "data", "benchmarks.quota_server") as url,
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        used = _prepare(client, url)
        _turns(url, 1, checks)
        with _ingested(url, LOAD_SECONDS[quick]) as load:
            ours, empty = _turns(url, rounds, checks)
        after = {name: int(_used(client, name)) for name in MOVING}
    assert after == {name: used.get(name, 0) + load["used"].get(name, 0) for name in MOVING}
    _check(ours, used, after)
    events_a_second = load["accepted"] / load["seconds"]
    progress(f"{rounds * checks:,} checks, each right, beside {events_a_second:,.0f} events/s")
    rate, ceiling = (rounds * checks / sum(each.seconds for each in kind) for kind in (ours, empty))
    slow, bare_slow = (max(each.quantile(0.99) for each in kind) * 1000 for kind in (ours, empty))
    wanted = f">= 0.7 of an empty route beside {EVENTS_A_SECOND:,} events/s"
    is_loaded = events_a_second >= 0.95 * EVENTS_A_SECOND
    return {
        "http_check": figure(rate, "checks/s", ceiling, wanted, rate >= 0.7 * ceiling and is_loaded),
        "http_check_p99": figure(slow, "ms", bare_slow, "< 5", slow < 5 and is_loaded),
        "http_check_beside": figure(events_a_second, "events/s", EVENTS_A_SECOND, ">= 0.95", is_loaded),
    }


def _prepare(client: httpx2.Client, url: str) -> dict[str, int]:
    """What each customer has used before the load begins."""
    customers, terms = parties(CUSTOMERS)
    client.put("/v1/catalog", json=CATALOG).raise_for_status()
    client.post("/v1/customers", json=customers).raise_for_status()
    client.post("/v1/subscriptions", json=terms).raise_for_status()
    now = pl.lit(datetime.now(UTC)).cast(pl.Datetime("us", "UTC"))
    made = events(50_000, subjects=CUSTOMERS, seed=5).with_columns(time=now)
    send(url, [request("/v1/events", body, ARROW) for body in arrow_bodies(made, 10_000)], connections=1)
    return dict(made.group_by("subject").agg(pl.col("input_tokens").sum()).iter_rows())


@contextmanager
def _ingested(url: str, seconds: int) -> Iterator[dict[str, Any]]:
    """While the block runs, for so many seconds at most, another process posts events; then what it has posted."""
    script = str(ROOT / "benchmarks" / "quota_load.py")
    command = [sys.executable, script, url, str(EVENTS_A_SECOND), str(seconds), ",".join(MOVING)]
    found: dict[str, Any] = {}
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has made what it will post
        yield found
        said, _ = process.communicate()
        assert process.returncode == 0
        found.update(orjson.loads(said))


def _turns(url: str, rounds: int, checks: int) -> tuple[list[Load], list[Load]]:
    """Checks and empty requests in turns, so that both meet the same load."""
    names = [name for pair in zip(STILL, MOVING, strict=True) for name in pair]
    load = [get(f"/v1/quota/{names[number % CUSTOMERS]}/tokens?amount=1") for number in range(checks)]
    ours, empty = [], []
    for _ in range(rounds):
        ours.append(send(url, load, connections=CONNECTIONS))
        empty.append(send(url, [get("/nothing")] * checks, connections=CONNECTIONS))
    return ours, empty


def _used(client: httpx2.Client, name: str) -> str:
    used: str = client.get(f"/v1/quota/{name}/tokens").raise_for_status().json()["used"]
    return used


def _check(done: list[Load], before: Mapping[str, int], after: Mapping[str, int]) -> None:
    for answer in (orjson.loads(body) for each in done for body in each.bodies):
        name, used = answer["subject"], int(answer["used"])
        assert answer["allowed"]
        assert before.get(name, 0) <= used <= after.get(name, before.get(name, 0)), answer
