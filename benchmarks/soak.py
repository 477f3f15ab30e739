"""A long run under load: what the server holds in its second half, beside the first.

Batches are sent as fast as they are answered. Most are sent again and again, a few are new: so all of the path works,
while the identities to know hardly grow. Each answer is checked, and at the end what the usage query counts.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import orjson

from benchmarks.measuring import Figure, Load, figure, progress, request, send
from benchmarks.servers import tallystick
from benchmarks.usage import CATALOG, JSON_BATCH, events, json_bodies, parties

CUSTOMERS, BATCH, POOL_BATCHES, CONNECTIONS = 500, 1_000, 200, 8
NEW_EVERY = 32  # one batch of so many is new
WARM_UP_SHARE = 0.2  # of the run, before it counts
ALLOWED = 1.02


@dataclass
class Held:
    """One item is one second: resident MiB, open files and threads of a server."""

    resident: list[float] = field(default_factory=list)
    files: list[float] = field(default_factory=list)
    threads: list[float] = field(default_factory=list)


def soak(minutes: float) -> dict[str, Figure]:
    """The second half of the run, with the first as baseline: median memory, and the fewest files and threads, because
    those of a flush come and go."""
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "data"
        with tallystick(data) as url, httpx2.Client(base_url=url, timeout=60) as client:
            _prepare(client)
            pid = orjson.loads((data / "lock").read_bytes())["pid"]
            with _sampled(pid) as held:
                sent = _Batches(60 * minutes)
                done = send(url, sent, connections=CONNECTIONS, keep=_counts)
            _check(client, done, sent.new)
    progress(f"{len(done.bodies) * BATCH / done.seconds:,.0f} events/s for {done.seconds:.0f} s, all there")
    return {
        "soak_resident": _halves(held.resident, "MiB", statistics.median),
        "soak_open_files": _halves(held.files, "files", min),
        "soak_threads": _halves(held.threads, "threads", min),
    }


class _Batches:
    """Requests for `seconds`; `new` is how many batches of them were sent for the first time."""

    def __init__(self, seconds: float) -> None:
        self.new = 0
        self._seconds = seconds
        self._pool = [self._next() for _ in range(POOL_BATCHES)]

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pool
        end, number = time.monotonic() + self._seconds, 0
        while time.monotonic() < end:
            number += 1
            yield self._next() if number % NEW_EVERY == 0 else self._pool[number % POOL_BATCHES]

    def _next(self) -> bytes:
        made = events(BATCH, subjects=CUSTOMERS, seed=self.new, first=self.new * BATCH)
        self.new += 1
        return request("/v1/events", json_bodies(made, BATCH)[0], JSON_BATCH)


def _prepare(client: httpx2.Client) -> None:
    customers, terms = parties(CUSTOMERS)
    client.put("/v1/catalog", json=CATALOG).raise_for_status()
    client.post("/v1/customers", json=customers).raise_for_status()
    client.post("/v1/subscriptions", json=terms).raise_for_status()


def _counts(answer: bytes) -> bytes:
    """An answer without its list of the events that were known."""
    read = orjson.loads(answer)
    return orjson.dumps({name: read[name] for name in ("accepted", "duplicates")})


def _check(client: httpx2.Client, done: Load, new: int) -> None:
    answers = [orjson.loads(body) for body in done.bodies]
    assert all(answer["accepted"] + answer["duplicates"] == BATCH for answer in answers)
    assert sum(answer["accepted"] for answer in answers) == new * BATCH
    (row,) = client.get("/v1/meters/requests/usage").raise_for_status().json()["items"]
    assert row["events"] == new * BATCH, row


@contextmanager
def _sampled(pid: str) -> Iterator[Held]:
    held, done = Held(), threading.Event()

    def sample() -> None:
        while not done.wait(1):
            status = dict(line.split(":", 1) for line in Path("/proc", pid, "status").read_text().splitlines())
            held.resident.append(int(status["VmRSS"].split()[0]) / 1024)
            held.threads.append(int(status["Threads"]))
            held.files.append(len(list(Path("/proc", pid, "fd").iterdir())))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield held
    finally:
        done.set()
        thread.join()


def _halves(samples: list[float], unit: str, of: Callable[[list[float]], float]) -> Figure:
    counted = samples[int(WARM_UP_SHARE * len(samples)) :]
    middle = len(counted) // 2
    first, second = of(counted[:middle]), of(counted[middle:])
    return figure(second, unit, first, f"<= {ALLOWED} of the half before", second <= ALLOWED * first)
