"""A real server on a real port, killed with SIGKILL between any two steps: nothing is lost, nothing counts twice."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.client import connect
from api.settings import Settings
from tests.api.conftest import CATALOG, event
from tests.conftest import ROOT

BATCH = {"content-type": "application/cloudevents-batch+json"}


class Server:
    """A child process that serves `data`; `url` is where."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "TALLYSTICK_DATA": str(self.data), "TALLYSTICK_PORT": "0"}
        command = [sys.executable, "-m", "api.server"]
        self.process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line + self.process.stderr.read()
        self.url = found.group()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def restart(self, number: int = signal.SIGKILL) -> None:
        self.end(number)
        self.start()

    def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        return httpx2.request(method, self.url + path, timeout=30, **more)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "data")
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGKILL)


def sell(server: Server) -> None:
    assert server.ask("PUT", "/v1/catalog", json=CATALOG).status_code == 200
    assert server.ask("PUT", "/v1/customers/acme", json={}).status_code == 200
    term = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
    assert server.ask("PUT", "/v1/subscriptions/s", json=term).status_code == 200


def batch(first: int, count: int) -> str:
    return json.dumps([event(str(i), data={"model": "big", "input_tokens": i}) for i in range(first, first + count)])


def test_killing_the_server_between_any_two_steps_changes_nothing(server: Server) -> None:
    """0 + 1 + ... + 99 = 4,950 big tokens: 1,000 x 2.50 / 1,000 + 3,950 x 1 / 1,000 = 6.45."""
    sell(server)
    server.restart()
    for first in (0, 50):
        answer = server.ask("POST", "/v1/events", content=batch(first, 50), headers=BATCH).json()
        assert (answer["accepted"], answer["duplicates"]) == (50, 0)
        server.restart()
    again = server.ask("POST", "/v1/events", content=batch(0, 100), headers=BATCH).json()
    assert (again["accepted"], again["duplicates"]) == (0, 100)
    server.restart()
    first_run = server.ask("POST", "/v1/rating-runs", json={"period": "2026-10"}).json()
    server.restart()
    second_run = server.ask("POST", "/v1/rating-runs", json={"period": "2026-10"}).json()
    assert first_run["digest"] == second_run["digest"]
    server.restart()
    lines = server.ask("GET", f"/v1/rating-runs/{first_run['id']}/lines").json()["items"]
    assert {line["price"]: (line["quantity"], line["amount"]) for line in lines} == {
        "tokens/big": ("4950", "6.45"),
        "fee": ("0", "20"),
    }


def test_a_server_that_is_asked_to_end_ends_well(server: Server) -> None:
    sell(server)
    server.ask("POST", "/v1/events", content=batch(0, 10), headers=BATCH)
    assert server.end(signal.SIGTERM) == 0
    with connect(Settings(data=server.data)) as client:
        assert client.get("/v1/meters/tokens/usage").json()["items"][0]["events"] == 10


def test_the_client_finds_the_server_that_holds_the_directory(server: Server) -> None:
    with connect(Settings(data=server.data)) as client:
        assert str(client.base_url).rstrip("/") == server.url
        assert client.get("/readyz").json()["status"] == "ready"


def test_a_second_server_is_told_who_holds_the_directory(server: Server) -> None:
    environment = {**os.environ, "TALLYSTICK_DATA": str(server.data), "TALLYSTICK_PORT": "0"}
    command = [sys.executable, "-m", "api.server"]
    second = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert second.returncode != 0
    assert f"pid {server.process.pid}" in second.stderr
    assert server.url in second.stderr
