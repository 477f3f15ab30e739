"""Clients that send slowly, or nothing, cost the others nothing, and are ended after a while."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest

from api import http_protocol
from api.engine import Engine
from api.server import _listening, _server
from api.settings import Settings
from tests.api.conftest import event

SLOW_SOCKETS = 500
HEAD = b"POST /v1/events HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"


@contextmanager
def served(data: Path) -> Iterator[tuple[str, int]]:
    """The real server in a thread of this process, with the limits that the test has set."""
    settings = Settings(data=data, port=0)
    with closing(_listening(settings)) as listening:
        engine = Engine.open(settings)
        server = _server(settings, engine)
        thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listening]),))
        thread.start()
        try:
            yield listening.getsockname()[:2]
        finally:
            server.should_exit = True
            thread.join(30)
            engine.close()


def connected(address: tuple[str, int], sent: bytes) -> socket.socket:
    connection = socket.create_connection(address, timeout=10)
    connection.sendall(sent)
    return connection


def posted(client: httpx2.Client, key: str) -> float:
    """Seconds that one event took."""
    began_at = time.perf_counter()
    assert client.post("/v1/events", json=[event(key)]).status_code == 200
    return time.perf_counter() - began_at


def test_hundreds_of_slow_clients_delay_nobody_and_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 2.0)
    with served(tmp_path / "data") as address, httpx2.Client(base_url="http://{}:{}".format(*address)) as client:
        posted(client, "first")
        slow = [connected(address, HEAD) for _ in range(SLOW_SOCKETS)]
        began_at = time.perf_counter()
        took = [posted(client, str(number)) for number in range(50)]
        assert sorted(took)[len(took) // 2] < 0.25, took
        answers = {connection.recv(1000).split(b"\r\n")[0] for connection in slow}
        assert time.perf_counter() - began_at < 10
        assert answers == {b"HTTP/1.1 408 Request Timeout"}
        assert posted(client, "last") < 1
        for connection in slow:
            connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /v1/ev", id="half a line"),
        pytest.param(HEAD + b"content-length: 100\r\n\r\n[", id="half a body"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n\r\n\r\n", id="a request, and empty lines behind it"),
    ],
)
def test_a_request_that_does_not_end_ends_its_connection(
    sent: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("HEADER_SECONDS", "TRANSFER_SECONDS"):
        monkeypatch.setattr(http_protocol, name, 0.3)
    monkeypatch.setattr("api.server.KEEP_ALIVE_SECONDS", 1)
    with served(tmp_path / "data") as address, closing(connected(address, sent)) as connection:
        received = b""
        while more := connection.recv(1000):
            received += more
        assert received.startswith(b"HTTP/1.1 200 OK" if b"GET" in sent else b"HTTP/1.1 408 Request Timeout")
    assert not caplog.records


def test_a_slow_body_that_comes_in_time_is_taken(tmp_path: Path) -> None:
    body = json.dumps([event("1")]).encode()
    head = HEAD + b"content-length: %d\r\n\r\n" % len(body)
    with served(tmp_path / "data") as address, closing(connected(address, head)) as connection:
        for byte in range(0, len(body), 40):
            connection.sendall(body[byte : byte + 40])
            time.sleep(0.01)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_more_connections_than_allowed_are_told_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "CONNECTIONS_MAX", 3)
    with served(tmp_path / "data") as address:
        held = [connected(address, HEAD) for _ in range(3)]
        with closing(connected(address, b"")) as one_more:
            assert one_more.recv(1000).startswith(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1")
        for connection in held:
            connection.close()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with closing(connected(address, b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n")) as after:
                if after.recv(1000).startswith(b"HTTP/1.1 200"):
                    return
        raise AssertionError("no connection is taken after others have gone")
