"""A server that is killed while it closes: whatever the instant, the next close finishes what the unbroken one makes,
byte for byte, and no line is there twice."""

import http.client
import io
import shutil
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from rating.core.lines import CHARGE_LINE
from tests.crash.rating_runs import sell
from tests.crash.server import SMALL_SEGMENTS, Connection, Server
from tests.crash.test_rating_runs import post_all

DUE = {"due": True, "until": "2024-05-20T00:00:00Z"}  # the events are of March, the subscriptions begin in January
Closed = dict[str, bytes]
"""The charge lines of each final run by what it has closed, as CSV."""


@pytest.mark.parametrize("part", [250_000, 3])
def test_a_close_that_is_killed_is_finished_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setenv("TALLYSTICK_PART_SUBSCRIPTIONS_MAX", str(part))
    kill_at_points(tmp_path, 1)


@pytest.mark.long
@pytest.mark.parametrize("part", [250_000, 3])
def test_a_close_is_killed_at_fifty_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    monkeypatch.setenv("TALLYSTICK_PART_SUBSCRIPTIONS_MAX", str(part))
    kill_at_points(tmp_path, 50)


def kill_at_points(directory: Path, points: int) -> None:
    prepared = directory / "prepared"
    server = serving(prepared, directory)
    sell(server)
    post_all(server)
    assert server.end(signal.SIGTERM) == 0
    unbroken, seconds = closed_on_a_copy(directory, prepared, None)
    assert len(unbroken) >= 5
    chance, interrupted = Random(3), 0
    for _ in range(points):
        again, left = closed_on_a_copy(directory, prepared, seconds * chance.random())
        assert again == unbroken
        interrupted += int(left)
    assert points < 10 or interrupted > points // 4, "the kills met no run"


def serving(data: Path, directory: Path) -> Server:
    server = Server(SMALL_SEGMENTS, data, directory / "log")
    server.must_start()
    return server


def closed_on_a_copy(directory: Path, prepared: Path, kill_after: float | None) -> tuple[Closed, float]:
    """What a close made, and how long it took; killed once meanwhile where that is asked for, then finished, and how
    many runs the kill had broken off."""
    data = directory / "copy"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(prepared, data)
    server, broken = serving(data, directory), 0
    try:
        if kill_after is not None:
            kill_while_closing(server, kill_after)
            server.must_start()
            broken = sum(run["status"] == "running" or run["status"] == "interrupted" for run in all_runs(server))
        connection = Connection(server.url, timeout=120)
        started = time.monotonic()
        status, answer = connection.ask("POST", "/v1/rating-runs", DUE)
        seconds = time.monotonic() - started
        assert status in (200, 201), answer
        assert connection.ask("POST", "/v1/rating-runs", DUE)[1]["runs"] == []
        connection.close()
        return closed(server), seconds if kill_after is None else broken
    finally:
        server.kill()


def kill_while_closing(server: Server, seconds: float) -> None:
    connection = Connection(server.url)

    def close() -> None:
        with suppress(OSError, http.client.HTTPException, ValueError):
            connection.ask("POST", "/v1/rating-runs", DUE)

    client = threading.Thread(target=close)
    client.start()
    time.sleep(seconds)
    server.kill()
    client.join()
    connection.close()


def closed(server: Server) -> Closed:
    found: Closed = {}
    for run in all_runs(server):
        if (run["kind"], run["status"]) != ("final", "done"):
            continue
        assert run["period"] not in found, f"{run['period']} is closed twice"
        found[run["period"]] = lines_of(server, run["id"])
    return found


def all_runs(server: Server) -> list[dict[str, Any]]:
    connection = Connection(server.url)
    status, page = connection.ask("GET", "/v1/rating-runs?limit=1000")
    assert status == 200
    connection.close()
    runs: list[dict[str, Any]] = page["items"]
    return runs


def lines_of(server: Server, run: str) -> bytes:
    connection = Connection(server.url, timeout=60)
    status, content = connection.fetch(f"/v1/rating-runs/{run}/lines", "application/vnd.apache.parquet")
    assert status == 200
    connection.close()
    lines = pl.read_parquet(io.BytesIO(content)).select(CHARGE_LINE.names())
    return lines.select(pl.struct(pl.all()).struct.json_encode()).write_csv().encode()
