"""64 clients of one server against one hard limit, round by round: each round is a customer of its own, all of whose
clients ask at the same moment. `consume` and leases pass the limit by no unit; checks with events behind them by no
more than what was under way (docs/leases.md)."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.crash.server import Connection, Server
from tests.crash.test_leases import CATALOG, TERM

CLIENTS, LIMIT = 64, 30
EAGER = (sys.executable, "-m", "tests.crash.eager_switches")
PLAN = {"p": {"currency": "USD", "entitlements": {"units": {"limit": str(LIMIT), "window": "month"}}}}
Client = Callable[["Clients", Connection, int, int], int]


class Clients:
    """64 connections; `barrier` lets all go on at once."""

    def __init__(self, url: str) -> None:
        self.barrier = threading.Barrier(CLIENTS)
        self._connections = [Connection(url, timeout=120) for _ in range(CLIENTS)]
        self._threads = ThreadPoolExecutor(CLIENTS)

    def round(self, number: int, client: Client) -> int:
        """What all clients together have used in it."""

        def run(place: int) -> int:
            self.barrier.wait(120)
            return client(self, self._connections[place], number, place)

        return sum(self._threads.map(run, range(CLIENTS)))

    def close(self) -> None:
        """Hang up."""
        self._threads.shutdown()
        for connection in self._connections:
            connection.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(EAGER, tmp_path / "data", tmp_path / "log")
    made.must_start()
    with closing(Connection(made.url)) as connection:
        assert connection.ask("PUT", "/v1/catalog", {**CATALOG, "plans": PLAN})[0] == 200
    yield made
    made.end(signal.SIGTERM)


def consume(clients: Clients, connection: Connection, number: int, place: int) -> int:
    """1 to 3 units, once; what was let through."""
    amount = 1 + place % 3
    own = {"subject": f"c{number}", "feature": "units", "id": f"{number}-{place}", "source": "client"}
    status, answer = connection.ask("POST", "/v1/quota/consume", {**own, "amount": amount})
    assert status in (200, 429), answer
    return amount if status == 200 else 0


def lease(clients: Clients, connection: Connection, number: int, place: int) -> int:
    """A slice of up to 5, used whole or but for one and released."""
    id = f"{number}-{place}"
    own = {"subject": f"c{number}", "feature": "units", "minimum": 1, "amount": 1 + place % 5}
    status, made = connection.ask("POST", "/v1/leases", {"id": id, **own})
    assert status in (201, 429), made
    if status == 429:
        return 0
    used = max(int(made["granted"]) - place % 2, 0)
    if place % 3:
        assert connection.ask("POST", f"/v1/leases/{id}/report", {"sequence": 1, "used": used})[0] == 200
    assert connection.ask("POST", f"/v1/leases/{id}/release", {"sequence": 2, "used": used})[0] == 200
    return used


def check_and_post(clients: Clients, connection: Connection, number: int, place: int) -> int:
    """A check of 2 and, when it is allowed, the event: all checks come before all events."""
    allowed = connection.ask("GET", f"/v1/quota/c{number}/units?amount=2")[0] == 200
    clients.barrier.wait(120)
    if not allowed:
        return 0
    event = {"specversion": "1.0", "id": f"{number}-{place}", "source": "client", "type": "usage"}
    body = {**event, "subject": f"c{number}", "time": datetime.now(UTC).isoformat(), "data": {"quantity": 2}}
    assert connection.ask("POST", "/v1/events", body, "application/cloudevents+json")[0] == 200
    return 2


def rounds(server: Server, count: int, client: Client) -> Iterator[tuple[int, dict[str, Any]]]:
    """For each round what the clients have used, and the answer of a check behind it."""
    clients = Clients(server.url)
    with closing(Connection(server.url)) as connection:
        for number in range(count):
            assert connection.ask("PUT", f"/v1/customers/c{number}", {})[0] == 200
            term = {**TERM, "customer": f"c{number}"}
            assert connection.ask("PUT", f"/v1/subscriptions/s{number}", term)[0] == 200
        for number in range(count):
            used = clients.round(number, client)
            yield used, connection.ask("GET", f"/v1/quota/c{number}/units")[1]
    clients.close()


COUNTS = pytest.mark.parametrize("count", [4, pytest.param(1_000, marks=pytest.mark.long)])


@COUNTS
@pytest.mark.parametrize("client", [consume, lease])
def test_a_hard_limit_is_passed_by_no_unit(server: Server, client: Client, count: int) -> None:
    for used, answer in rounds(server, count, client):
        assert (int(answer["used"]), answer["reserved"]) == (used, "0")
        assert 0 < used <= LIMIT
        assert client is lease or used >= LIMIT - 2  # who was refused 3 left no more than 2


@COUNTS
def test_checks_are_passed_by_what_was_under_way(server: Server, count: int) -> None:
    """All 64 are told yes before any event is there, so 128 of 30 are used, and all of it is shown."""
    for used, answer in rounds(server, count, check_and_post):
        assert (used, answer["used"], answer["remaining"]) == (2 * CLIENTS, str(2 * CLIENTS), "0")
