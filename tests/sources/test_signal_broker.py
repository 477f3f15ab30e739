"""Signals published to a real broker: each once, in order, whatever ends when."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from fastapi.testclient import TestClient
from nats.js.client import JetStreamContext

from api import signal_broker
from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from api.signal_broker import SignalBroker
from api.signal_json import signal_json
from store import Store, open_store
from store.signals import Signal
from tests.api.conftest import NOW
from tests.api.test_signal_stream import sell, use_up
from tests.recording import record_signals
from tests.sources.conftest import Broker
from tests.sources.test_nats import at

STREAM = "SIGNALS"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_broker, "PAUSE_SECONDS_MAX", 0.1)


def raise_signals(store: Store, count: int, start: int = 0) -> None:
    numbers = range(start, start + count)
    record_signals(store, [Signal(f"sig_{n}", "quota.exhausted", f"customer-{n % 3}", NOW, {}) for n in numbers])


def make_stream(broker: Broker, **options: Any) -> None:
    async def work(stream: JetStreamContext) -> None:
        await stream.add_stream(name=STREAM, subjects=["tallystick.signals.>"], **options)

    at(broker, work)


def kept(broker: Broker) -> list[tuple[str, str, bytes]]:
    """Subject, id and payload of what the stream has."""

    async def work(stream: JetStreamContext) -> list[tuple[str, str, bytes]]:
        last = (await stream.stream_info(STREAM)).state.messages
        found = [await stream.get_msg(STREAM, seq) for seq in range(1, last + 1)]
        return [(m.subject or "", (m.headers or {}).get("Nats-Msg-Id", ""), m.data or b"") for m in found]

    found: list[tuple[str, str, bytes]] = at(broker, work)
    return found


@contextmanager
def publishing(store: Store, broker: Broker) -> Iterator[SignalBroker]:
    running = SignalBroker(store.signals, [broker.url], "tallystick.signals")
    running.start()
    try:
        yield running
    finally:
        running.close()
        assert not running._thread.is_alive()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, "it does not become so"
        time.sleep(0.01)


def test_signals_are_published_in_order_from_the_first_start_on(store: Store, broker: Broker) -> None:
    make_stream(broker)
    raise_signals(store, 2)
    with publishing(store, broker) as running:
        raise_signals(store, 150, start=2)
        running.wake()
        until(lambda: running.cursor == 152)
    found = kept(broker)
    assert [(subject, id) for subject, id, _ in found] == [
        ("tallystick.signals.quota.exhausted", f"sig_{n}") for n in range(2, 152)
    ]
    assert [payload for *_, payload in found] == [signal_json(s) for s in store.signals.after(2, limit=500)]
    assert store.signals.cursor("nats") == 152


def test_a_crash_behind_publishing_publishes_nothing_twice(
    store: Store, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_stream(broker)
    store.signals.cursor("nats")
    raise_signals(store, 20)
    with monkeypatch.context() as crash:
        crash.setattr(SignalBroker, "_record", lambda _: None)  # it ends before it notes how far it is
        with publishing(store, broker) as running:
            until(lambda: running.cursor == 20)
    assert store.signals.cursor("nats") == 0
    with publishing(store, broker) as running:
        raise_signals(store, 1, start=20)
        running.wake()
        until(lambda: running.cursor == 21)
    assert [id for _, id, _ in kept(broker)] == [f"sig_{n}" for n in range(21)]


def test_a_broker_that_is_away_or_has_no_stream_loses_nothing(
    store: Store, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="api.signal_broker")
    with publishing(store, broker) as running:
        raise_signals(store, 3)
        running.wake()
        until(lambda: running.status()["problem"] is not None)
        assert running.status()["problem"] == "no stream takes the subjects tallystick.signals.>: make one"
        make_stream(broker)
        until(lambda: running.cursor == 3)
        broker.stop()
        raise_signals(store, 3, start=3)
        running.wake()
        until(lambda: running.status()["problem"] is not None)
        broker.start()
        until(lambda: running.cursor == 6)
        until(lambda: running.status()["problem"] is None)
    assert [id for _, id, _ in kept(broker)] == [f"sig_{n}" for n in range(6)]
    assert 1 <= len(caplog.records) <= 10


def test_what_a_full_stream_refuses_waits_for_room(store: Store, broker: Broker) -> None:
    make_stream(broker, max_msgs=2, discard=nats.js.api.DiscardPolicy.NEW)

    async def work(stream: JetStreamContext) -> None:
        await stream.purge_stream(STREAM)

    with publishing(store, broker) as running:
        raise_signals(store, 5)
        running.wake()
        until(lambda: running.cursor == 2 and running.status()["problem"] is not None)
        at(broker, work)
        until(lambda: running.cursor == 4)


def test_a_server_publishes_what_is_raised_and_says_how_far_it_is(tmp_path: Path, broker: Broker) -> None:
    make_stream(broker)
    with TestClient(create_app(Settings(data=tmp_path / "data", signals_nats_url=broker.url))) as client:
        sell(client, 3)
        for number in range(3):
            use_up(client, number)

        def nats_status() -> Any:
            return client.get("/readyz").json()["detail"]["webhooks"]["nats"]

        until(lambda: nats_status() == {"cursor": 3, "problem": None})
        listed = client.get("/v1/signals").json()["items"]
    assert [json.loads(payload) for *_, payload in kept(broker)] == listed


def test_a_broker_that_does_not_answer_delays_no_start_and_no_end(tmp_path: Path) -> None:
    began = time.monotonic()
    engine = Engine.open(Settings(data=tmp_path / "data", signals_nats_url="nats://127.0.0.1:9"), now=lambda: NOW)
    engine.signalling.start()
    engine.close()
    assert time.monotonic() - began < 10


def test_subjects_are_checked() -> None:
    for subject in ("a b", "a..b", "a.*", ">", ""):
        with pytest.raises(ValueError, match="signals_nats_subject"):
            Settings(signals_nats_subject=subject)
