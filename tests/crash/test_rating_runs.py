"""A server that is killed while it rates: the run leaves no lines, and rating again gives those of an unbroken run."""

import http.client
import threading
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from tests.crash.ledger import Event
from tests.crash.load import BATCH, WAITING_HELPS
from tests.crash.rating_runs import RunLedger, sell, start_run
from tests.crash.server import SMALL_SEGMENTS, Connection, Server

SUBJECTS = 40
FURTHER_TRIES = 20


def test_a_run_that_is_killed_leaves_no_lines_and_its_repetition_is_the_unbroken_run(tmp_path: Path) -> None:
    kill_at_points(tmp_path, 3)


@pytest.mark.long
def test_a_run_is_killed_at_twenty_points_many_times(tmp_path: Path) -> None:
    kill_at_points(tmp_path, 200)


def kill_at_points(directory: Path, points: int) -> None:
    """Kill the server at `points` instants, spread evenly over the time that an unbroken run takes; and at further ones
    as long as none has met a run: on a busy machine runs take another time each time."""
    server, runs = Server(SMALL_SEGMENTS, directory / "data", directory / "log"), RunLedger(Random(1))
    server.must_start()
    try:
        sell(server)
        post_all(server)
        unbroken, _ = rated(server, runs)
        _, seconds = rated(server, runs)  # the first one of a process takes longer
        chance, instants = Random(2), [seconds * (point + 0.5) / points for point in range(points)]
        instants += [seconds * chance.random() for _ in range(FURTHER_TRIES)]
        for tried, instant in enumerate(instants):
            if tried >= points and runs.statuses().get("interrupted", 0) > 0:
                break
            kill_while_rating(server, after_seconds=instant)
            server.must_start()
            assert runs.check(server) == []
            again, _ = rated(server, runs)
            assert (again["digest"], again["report"]) == (unbroken["digest"], unbroken["report"])
        assert runs.check(server) == []
        assert runs.statuses().get("interrupted", 0) > 0, "no kill met a run"
    finally:
        server.kill()


def post_all(server: Server) -> None:
    connection = Connection(server.url)
    for subject in range(SUBJECTS):
        body = [Event(subject, digit).cloud_event for digit in range(16)]
        while (status := connection.ask("POST", "/v1/events", body, BATCH)[0]) != 200:
            assert status in WAITING_HELPS
            time.sleep(0.05)
    connection.close()


def rated(server: Server, runs: RunLedger) -> tuple[dict[str, object], float]:
    """A run that nobody disturbs, and how long it took."""
    connection = Connection(server.url)
    started = time.monotonic()
    status, run = start_run(connection)
    seconds = time.monotonic() - started
    assert (status, run["status"]) == (201, "done"), run
    assert run["report"]["lines"] > 20
    runs.acknowledge(run)
    connection.close()
    return run, seconds


def kill_while_rating(server: Server, *, after_seconds: float) -> None:
    connection = Connection(server.url)

    def rate() -> None:
        with suppress(OSError, http.client.HTTPException, ValueError):
            start_run(connection)

    client = threading.Thread(target=rate)
    client.start()
    time.sleep(after_seconds)
    server.kill()
    client.join()
    connection.close()
