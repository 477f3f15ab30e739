"""Ingest over HTTP, durable, typed and deduplicated, beside a bare loop that only decodes and syncs.

The load generator runs on the same machine. After each load the acknowledged events and their sum are read back
through the usage query; a figure whose answer is wrong is not printed. `--soak` is a long run instead.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages


import tempfile
from collections.abc import Callable, Sequence

import httpx2
import orjson
import polars as pl

from benchmarks.identities import prepare
from benchmarks.measuring import Figure, Load, figure, main, progress, request, send
from benchmarks.servers import bare, tallystick
from benchmarks.soak import soak
from benchmarks.usage import ARROW, CATALOG, JSON_BATCH, arrow_bodies, events, json_bodies, parties

CUSTOMERS = 500


def measure(quick: bool) -> dict[str, Figure]:
    scale = 1 if quick else 4
    made = events(300_000 * scale, subjects=CUSTOMERS, seed=7)
    singles = events(6_000 * scale, subjects=CUSTOMERS, seed=8)
    json_load = _requests(json_bodies(made, 1_000), JSON_BATCH)
    arrow_load = _requests(arrow_bodies(made, 10_000), ARROW)
    single_load = _requests(json_bodies(singles, 1), JSON_BATCH)
    return {
        "json_batches": _compare(json_load, made, "events/s", 8, ">= 500,000", lambda f: f >= 500_000),
        "arrow_batches": _compare(arrow_load, made, "events/s", 4, ">= 2,000,000", lambda f: f >= 2_000_000),
        **_singles(single_load, singles),
        **_known(json_load, made, 5_000_000 if quick else 100_000_000),
    }


def _requests(bodies: Sequence[bytes], content_type: str) -> list[bytes]:
    return [request("/v1/events", body, content_type) for body in bodies]


def _compare(
    load: list[bytes], made: pl.DataFrame, unit: str, connections: int, target: str, met: Callable[[float], bool]
) -> Figure:
    ours, bare_load = _ours(load, made, connections), _bare(load, connections)
    rate, ceiling = made.height / ours.seconds, made.height / bare_load.seconds
    return figure(rate, unit, ceiling, target, met(rate))


def _singles(load: list[bytes], made: pl.DataFrame) -> dict[str, Figure]:
    ours, ceiling = _ours(load, made, 16), _bare(load, 16)
    rate, bare_rate = len(load) / ours.seconds, len(load) / ceiling.seconds
    slow, bare_slow = ours.quantile(0.99) * 1000, ceiling.quantile(0.99) * 1000
    return {
        "single_posts": figure(rate, "requests/s", bare_rate, ">= 3,000", rate >= 3_000),
        "single_posts_p99": figure(slow, "ms", bare_slow, "< 25", slow < 25),
    }


def _known(load: list[bytes], made: pl.DataFrame, count: int) -> dict[str, Figure]:
    """The rate with `count` identities known before, and with none: the better of two runs each, in turn."""
    rates, resident = {0: 0.0, count: 0.0}, {0: 0.0, count: 0.0}
    for known in (0, count, 0, count):
        with tempfile.TemporaryDirectory() as directory:
            data = Path(directory) / "data"
            if known:
                prepare(data, known)
            with tallystick(data) as url:
                rates[known] = max(rates[known], made.height / _load(url, load, made, 8).seconds)
                resident[known] = max(resident[known], _peak_resident(data))
    rate, memory = rates[count], resident[count]
    return {
        "known_identities": figure(rate, "events/s", rates[0], ">= 0.7 of none", rate >= 0.7 * rates[0]),
        "known_identities_resident": figure(memory, "MiB", resident[0], "<= 2,048", memory <= 2048),
    }


def _peak_resident(data: Path) -> float:
    """MiB, of the server on `data`."""
    status = Path("/proc", orjson.loads((data / "lock").read_bytes())["pid"], "status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def _ours(load: list[bytes], made: pl.DataFrame, connections: int) -> Load:
    """The load on a fresh data directory."""
    with tempfile.TemporaryDirectory() as directory, tallystick(Path(directory) / "data") as url:
        return _load(url, load, made, connections)


def _load(url: str, load: list[bytes], made: pl.DataFrame, connections: int) -> Load:
    """The load on a server with catalog, customers and subscriptions, so that quota counters move as well."""
    customers, terms = parties(CUSTOMERS)
    with httpx2.Client(base_url=url, timeout=60) as client:
        for method, path, body in (
            ("PUT", "/v1/catalog", CATALOG),
            ("POST", "/v1/customers", customers),
            ("POST", "/v1/subscriptions", terms),
        ):
            client.request(method, path, json=body).raise_for_status()
        done = send(url, load, connections=connections)
        accepted = sum(orjson.loads(body)["accepted"] for body in done.bodies)
        (row,) = client.get("/v1/meters/input/usage").raise_for_status().json()["items"]
    assert accepted == made.height == row["events"], (accepted, row)
    assert int(row["quantity"]) == made["input_tokens"].sum(), row
    progress(f"{made.height:,} events in {len(load):,} requests: {done.seconds:.2f} s, all there")
    return done


def _bare(load: list[bytes], connections: int) -> Load:
    with tempfile.TemporaryDirectory() as directory, bare(Path(directory)) as url:
        return send(url, load, connections=connections)


if __name__ == "__main__":
    main("events/s over HTTP, each durable, typed and deduplicated", measure, soak)
