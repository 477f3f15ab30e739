"""The same counting by Redis: an INCRBY an event through its Python client, over a socket of the same machine."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
from redis import Redis
from redis.exceptions import ConnectionError as NotThere

from benchmarks.measuring import Figure, figure, progress
from benchmarks.quota_live import empty_quota, terms, usage
from benchmarks.usage import events

CUSTOMERS, GROUP = 500, 10_000


def beside_redis(quick: bool) -> dict[str, Figure]:
    """Events counted in groups, as they are accepted; and one number looked at, as a check does."""
    if shutil.which("redis-server") is None:
        progress("redis-server is not installed: nothing is measured beside it")
        return {}
    made = events(100_000 if quick else 1_000_000, subjects=CUSTOMERS, seed=8)
    used = dict(made.group_by("subject").agg(pl.col("input_tokens").sum()).iter_rows())
    with _redis() as redis:
        seconds, looks = _by_redis(redis, made, used)
    own_seconds, own_looks = _by_quota(made, used)
    rate, ceiling = made.height / own_seconds, made.height / seconds
    progress(f"{made.height:,} events counted by Redis in {seconds:.2f} s, here in {own_seconds:.2f} s: the same sums")
    return {
        "beside_redis": figure(rate, "events/s", ceiling, "> Redis", rate > ceiling),
        "beside_redis_check": figure(own_looks, "checks/s", looks, "> Redis", own_looks > looks),
    }


def _by_redis(redis: Redis, made: pl.DataFrame, used: dict[str, int]) -> tuple[float, float]:
    """Seconds to count, and looks a second."""
    groups = [list(group.iter_rows()) for group in made.select("subject", "input_tokens").iter_slices(GROUP)]
    begun = time.perf_counter()
    for group in groups:
        pipeline = redis.pipeline(transaction=False)
        for subject, tokens in group:
            pipeline.incrby(subject, tokens)
        pipeline.execute()
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    found = {subject: redis.get(subject) for _ in range(10) for subject in used}
    looks = 10 * len(used) / (time.perf_counter() - begun)
    assert {subject: int(n) for subject, n in found.items() if isinstance(n, bytes)} == used
    return seconds, looks


def _by_quota(made: pl.DataFrame, used: dict[str, int]) -> tuple[float, float]:
    quota, now, one = empty_quota(), datetime.now(UTC), Decimal(1)
    quota.rebuild(terms(pl.Series(list(used))))
    groups = list(usage(made, now))
    begun = time.perf_counter()
    for group in groups:
        quota.count(group)
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    found = {subject: quota.check(subject, "tokens", one, now) for _ in range(10) for subject in used}
    looks = 10 * len(used) / (time.perf_counter() - begun)
    assert {subject: answer.used for subject, answer in found.items()} == used
    return seconds, looks


@contextmanager
def _redis() -> Iterator[Redis]:
    """A server that writes no file, ended when the block is."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "socket"
        command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
        with subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL) as process:
            try:
                yield _reached(path)
            finally:
                process.kill()


def _reached(path: Path) -> Redis:
    redis = Redis(unix_socket_path=str(path))
    for _ in range(200):
        try:
            redis.ping()
            return redis
        except NotThere:
            time.sleep(0.05)
    raise RuntimeError("redis-server does not answer")
