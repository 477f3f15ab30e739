"""A real server whose clock is wrong for a while (libfaketime): it starts, takes usage, rates a month and is
killed. By the right clock again nothing is lost, and nothing is counted or billed twice."""

import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_server import BATCH, Server, batch, sell

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
OFTEN, MORE = ["+400d", "-1h", "+0 x100"], ["@2038-01-19 03:14:00", "@2100-02-28 23:59:50"]
CLOCKS = [*OFTEN, *(pytest.param(clock, marks=pytest.mark.long) for clock in MORE)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "data")
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGKILL)


def post(server: Server, first: int, count: int) -> tuple[int, int]:
    """Number of the events that were accepted, and of the duplicates."""
    answer = server.ask("POST", "/v1/events", content=batch(first, count), headers=BATCH)
    assert answer.status_code == 200, answer.text
    return answer.json()["accepted"], answer.json()["duplicates"]


def close(server: Server) -> list[dict[str, Any]]:
    answer = server.ask("POST", "/v1/rating-runs", json={"due": True})
    assert answer.status_code in (200, 201), answer.text
    return list(answer.json()["runs"])


def billed(server: Server) -> dict[str, Decimal]:
    """What all final runs have billed of each price in the month of the events."""
    runs = server.ask("GET", "/v1/rating-runs").json()["items"]
    sums: dict[str, Decimal] = {}
    for run in (run for run in runs if run["kind"] == "final"):
        for line in server.ask("GET", f"/v1/rating-runs/{run['id']}/lines").json()["items"]:
            if line["period"] == "2026-10":
                sums[line["price"]] = sums.get(line["price"], Decimal(0)) + Decimal(line["amount"])
    return sums


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_that_was_wrong_has_lost_and_doubled_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    """0 + 1 + ... + 149 = 11,175 big tokens: 1,000 x 2.50 / 1,000 + 10,175 x 1 / 1,000 = 12.675."""
    if not LIBRARY.exists():
        pytest.skip("install Debian's package faketime")
    sell(server)
    assert post(server, 0, 50) == (50, 0)
    with monkeypatch.context() as wrong:
        wrong.setenv("LD_PRELOAD", str(LIBRARY))
        wrong.setenv("FAKETIME", clock)
        wrong.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        server.restart()
        assert post(server, 0, 100) == (50, 50)
        assert server.ask("POST", "/v1/rating-runs", json={"period": "2026-10"}).json()["status"] == "done"
    server.restart()
    assert post(server, 0, 150) == (50, 100)
    close(server)
    assert close(server) == []
    usage = server.ask("GET", "/v1/meters/tokens/usage").json()["items"]
    assert sum(item["events"] for item in usage) == 150
    assert billed(server) == {"tokens/big": Decimal("12.675"), "fee": Decimal(20)}
