"""A server that cannot do its work says so, and why."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from api.engine import Engine
from api.starting import Starting
from ingest.errors import DiskFull
from store.errors import DatabaseUnavailable


def reasons(client: httpx2.Client) -> list[str]:
    answer = client.get("/readyz")
    body = answer.json()
    assert (answer.status_code, body["status"]) == ((503, "not ready") if body["reasons"] else (200, "ready"))
    assert client.get("/healthz").status_code == 200
    return list(body["reasons"])


def test_nothing_is_in_the_way(sold: httpx2.Client) -> None:
    assert reasons(sold) == []


def test_a_full_disk_is_and_then_is_not(sold: httpx2.Client, engine: Engine) -> None:
    engine.log._writer._full = DiskFull("no space left")
    assert reasons(sold) == ["events are refused until there is room on the disk: no space left"]
    engine.log._writer._full = None
    assert reasons(sold) == []


def test_a_database_that_is_away_is(sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_self: Any) -> int:
        raise DatabaseUnavailable("the database is away")

    monkeypatch.setattr(type(engine.store.customers), "count", away)
    assert reasons(sold) == ["the records cannot be read: the database is away"]


def test_counters_that_cannot_be_moved_are(sold: httpx2.Client, engine: Engine) -> None:
    def fails() -> None:
        raise ZeroDivisionError("zz-data")

    assert sold.get("/v1/quota/acme/tokens").status_code == 200
    engine.quota._move(fails)
    assert reasons(sold) == ["quota cannot be counted: ZeroDivisionError; it is tried again"]
    assert sold.get("/v1/quota/acme/tokens").status_code == 200  # counts again
    assert reasons(sold) == []


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


def test_while_it_starts_it_lives_and_is_not_ready(listening: socket.socket) -> None:
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with Starting(listening), httpx2.Client(base_url=url) as client:
        ready = client.get("/readyz")
        assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
        assert len(ready.json()["reasons"]) == 1
        assert client.get("/healthz").json() == {"status": "ok"}
        refused = client.post("/v1/events", content=b"x" * 2_000)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:tallystick:problem:starting")


def test_a_client_that_says_nothing_does_not_hold_up_the_start(listening: socket.socket) -> None:
    began_at = time.monotonic()
    with Starting(listening), socket.create_connection(listening.getsockname()):
        time.sleep(0.1)
    assert time.monotonic() - began_at < 2
    assert listening.getblocking()
