"""Signals as a stream of events, from a real server."""

import json
import re
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api import http_protocol, signal_stream
from api.settings import Settings
from api.signal_stream import event_of
from store import open_store
from store.signals import RecordedSignal, Signal
from tests.api.conftest import CATALOG, NOW, event
from tests.api.test_slow_clients import served
from tests.recording import record_signals

LIMIT = {**CATALOG["plans"]["pro"], "entitlements": {"tokens": {"limit": "10", "window": "month"}}}
STREAM = {"accept": "text/event-stream"}


def sell(client: httpx2.Client, customers: int) -> None:
    """Customers c0, c1, ... with a limit of 10 tokens a month."""
    plans = {**CATALOG["plans"], "pro": LIMIT}
    assert client.put("/v1/catalog", json={**CATALOG, "plans": plans}).status_code == 200
    for number in range(customers):
        assert client.put(f"/v1/customers/c{number}", json={}).status_code == 200
        term = {"customer": f"c{number}", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
        assert client.put(f"/v1/subscriptions/s{number}", json=term).status_code == 200


def use_up(client: httpx2.Client, number: int) -> None:
    used = event(f"e{number}", subject=f"c{number}", data={"model": "big", "input_tokens": 10})
    assert client.post("/v1/events", json=[used]).json()["accepted"] == 1


@contextmanager
def reached(data: Path) -> Iterator[httpx2.Client]:
    with served(data) as address, httpx2.Client(base_url="http://{}:{}".format(*address), timeout=30) as client:
        yield client


class Listener:
    """Reads a stream in a thread; `events` are (id, type, data), and `at` when each came."""

    def __init__(self, client: httpx2.Client, **request: Any) -> None:
        self.events: list[tuple[int, str, dict[str, Any]]] = []
        self.at: list[float] = []
        self.lines: list[str] = []
        self._arguments = (str(client.base_url), request)
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        base, request = self._arguments
        headers = {**STREAM, **request.pop("headers", {})}
        with httpx2.stream("GET", f"{base}/v1/signals", headers=headers, timeout=60, **request) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            named: dict[str, str] = {}
            for line in answer.iter_lines():
                self.lines.append(line)
                name, _, value = line.partition(": ")
                named[name] = value
                if name == "data":
                    self.at.append(time.perf_counter())
                    self.events.append((int(named["id"]), named["event"], json.loads(value)))

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 30
        while len(self.events) < count:
            assert time.monotonic() < deadline, self.events
            time.sleep(0.005)


def test_a_listener_goes_on_where_it_was_over_restarts_without_gap_or_repeat(tmp_path: Path) -> None:
    """Three servers, one after the other, each ended under a listener: 3 + 3 + 3 signals."""
    heard: list[tuple[int, str, dict[str, Any]]] = []
    for start in range(3):
        with reached(tmp_path / "data") as client:
            if start == 0:
                sell(client, 9)
            last = {"last-event-id": str(heard[-1][0])} if heard else {}
            listener = Listener(client, headers=last)
            for number in range(3 * start, 3 * start + 3):
                use_up(client, number)
            listener.wait_for(3)
            began = time.monotonic()
        assert time.monotonic() - began < 15  # the stream ends by itself, long before the server would end it
        listener.thread.join(10)
        assert not listener.thread.is_alive()
        heard += listener.events
    with reached(tmp_path / "data") as client:
        listed = client.get("/v1/signals").json()["items"]
    assert [data for _, _, data in heard] == listed
    assert [(key, type) for key, type, _ in heard] == [(s["sequence"], s["type"]) for s in listed]
    assert [s["customer"] for s in listed] == [f"c{number}" for number in range(9)]


def test_a_signal_is_heard_well_within_a_second_of_the_answer_to_its_event(tmp_path: Path) -> None:
    with reached(tmp_path / "data") as client:
        sell(client, 8)
        listener = Listener(client)
        took = []
        for number in range(8):
            use_up(client, number)
            answered = time.perf_counter()
            listener.wait_for(number + 1)
            took.append(listener.at[number] - answered)
        print("heard after seconds:", [round(seconds, 4) for seconds in took])
        assert statistics.median(took) < 1.0
    listener.thread.join(10)


def test_a_stream_is_selected_and_begins_behind_a_sequence(tmp_path: Path) -> None:
    with reached(tmp_path / "data") as client:
        sell(client, 4)
        for number in range(4):
            use_up(client, number)
        client.get("/v1/signals")
        chosen = Listener(client, params={"customer": ["c1", "c3"], "after": "0"})
        behind = Listener(client, params={"after": "2"})
        chosen.wait_for(2)
        behind.wait_for(2)
    assert [data["customer"] for _, _, data in chosen.events] == ["c1", "c3"]
    assert [key for key, _, _ in behind.events] == [3, 4]
    chosen.thread.join(10)
    behind.thread.join(10)


def test_an_idle_stream_gives_a_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_stream, "COMMENT_SECONDS", 0.05)
    with reached(tmp_path / "data") as client:
        listener = Listener(client)
        deadline = time.monotonic() + 30
        while not any(line.startswith(":") for line in listener.lines):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    listener.thread.join(10)


def test_streams_are_bounded_and_a_listener_that_goes_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal_stream, "STREAMS_MAX", 1)
    monkeypatch.setattr(signal_stream, "COMMENT_SECONDS", 0.05)
    with reached(tmp_path / "data") as client:
        with client.stream("GET", "/v1/signals", headers=STREAM) as first:
            next(first.iter_lines())
            refused = client.get("/v1/signals", headers=STREAM)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        deadline = time.monotonic() + 30
        while client.get("/readyz").json()["detail"]["webhooks"]["streams"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with client.stream("GET", "/v1/signals", headers=STREAM) as second:
            assert second.status_code == 200


@pytest.mark.parametrize("last", ["x", "-1", "1.5", str(2**64)])
def test_an_id_of_no_event_is_refused(client: httpx2.Client, last: str) -> None:
    answer = client.get("/v1/signals", headers={**STREAM, "last-event-id": last})
    assert answer.status_code == 422


def test_an_event_is_one_line_of_data_whatever_it_holds() -> None:
    signal = RecordedSignal("sig_1", "quota.exhausted", "a\nb", NOW, {"reason": "x\r\ny"}, sequence=7)
    lines = event_of(signal).split(b"\n")
    assert lines[0] == b"id: 7"
    assert [line.partition(b":")[0] for line in lines] == [b"id", b"event", b"data", b"", b""]
    assert json.loads(lines[2][6:])["customer"] == "a\nb"


def test_a_listener_that_does_not_read_is_ended_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4,000 signals of 4 KB are more than buffers hold: the server waits for the reader, and not for ever."""
    monkeypatch.setattr(http_protocol, "TRANSFER_SECONDS", 0.5)
    data = tmp_path / "data"
    data.mkdir()
    store = open_store(Settings(data=data).database)
    filler = {"text": "x" * 4_000}
    record_signals(store, [Signal(f"sig_{number}", "filler", "acme", NOW, filler) for number in range(4_000)])
    store.close()
    with served(data) as address:
        with socket.create_connection(address, timeout=30) as slow:
            slow.sendall(b"GET /v1/signals HTTP/1.1\r\nhost: here\r\naccept: text/event-stream\r\n\r\n")
            time.sleep(3)  # nothing is read
            got = b""
            with suppress(ConnectionResetError):
                while piece := slow.recv(1 << 20):
                    got += piece
        last = int(re.findall(rb"^id: (\d+)$", got, re.MULTILINE)[-2])
        assert 0 < last < 4_000
        with httpx2.Client(base_url="http://{}:{}".format(*address)) as client:
            listener = Listener(client, headers={"last-event-id": str(last)})
            listener.wait_for(4_000 - last)
    listener.thread.join(10)
    assert [key for key, _, _ in listener.events] == list(range(last + 1, 4_001))
