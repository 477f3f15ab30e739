"""Events from a real broker to a real data directory: each counts once, whatever ends when."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import ConsumerInfo
from nats.js.client import JetStreamContext

from api.client import connect
from api.settings import Settings
from api.sources.nats import Consumed, NotNow, Reporter, Source, Unfit, consume
from tests.api.conftest import CATALOG, event
from tests.api.test_server import Server
from tests.conftest import ROOT
from tests.sources.conftest import Broker

STREAM, DURABLE = "USAGE", "tallystick"
Message = tuple[bytes, dict[str, str] | None]
WAIT_SECONDS = 60


def at(broker: Broker, work: Callable[[JetStreamContext], Coroutine[Any, Any, Any]]) -> Any:
    """Run `work` with the stream of a broker."""

    async def connected() -> Any:
        client = await nats.connect(broker.url)
        try:
            return await work(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(connected())


def publish(broker: Broker, messages: Sequence[Message], subject: str = "usage.acme") -> None:
    async def work(stream: JetStreamContext) -> None:
        await stream.add_stream(name=STREAM, subjects=["usage.>", "shard.>"])
        for payload, headers in messages:
            await stream.publish_async(subject, payload, headers=headers)
        await stream.publish_async_completed()

    at(broker, work)


def consumer(broker: Broker) -> ConsumerInfo:
    async def work(stream: JetStreamContext) -> ConsumerInfo:
        return await stream.consumer_info(STREAM, DURABLE)

    found: ConsumerInfo = at(broker, work)
    return found


def structured(first: int, count: int) -> list[Message]:
    """Events that are worth 1 token each, in one payload each."""
    numbers = range(first, first + count)
    return [(json.dumps(event(str(i), data={"model": "big", "input_tokens": 1})).encode(), None) for i in numbers]


def command(broker: Broker, data: Path, *more: str) -> list[str]:
    at_broker = ("--server", broker.url, "--stream", STREAM, "--durable", DURABLE, "--ack-wait", "2")
    return [sys.executable, "-m", "api.cli", "consume", "nats", *at_broker, "--data", str(data), *more]


def start(broker: Broker, data: Path, *more: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen(command(broker, data, *more), cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def drained(broker: Broker, data: Path, *more: str, code: int = 0) -> Any:
    """What the command says that takes all that is left."""
    ran = subprocess.run(
        command(broker, data, "--until-empty", "--json", *more), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == code, ran.stderr + ran.stdout
    return json.loads(ran.stdout)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def total(data: Path) -> tuple[str, int]:
    with connect(Settings(data=data)) as client:
        items = client.get("/v1/meters/tokens/usage").json()["items"]
    return (items[0]["quantity"], items[0]["events"]) if items else ("0", 0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    with connect(Settings(data=directory)) as client:
        assert client.put("/v1/catalog", json=CATALOG).status_code == 200
    return directory


def test_a_consumer_that_is_killed_loses_nothing_and_counts_nothing_twice(broker: Broker, data: Path) -> None:
    """5,000 events in batches of 50; the consumer is killed three times in the middle."""
    publish(broker, structured(0, 5_000))
    for part in (500, 1_500, 2_500):
        process = start(broker, data, "--batch", "50")
        until(lambda part=part: _acknowledged(broker) >= part)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate()
    rest = drained(broker, data)
    assert rest["accepted"] < 3_000
    assert (rest["rejected"], rest["conflicts"], rest["problems"]) == (0, 0, [])
    assert total(data) == ("5000", 5_000)
    info = consumer(broker)
    assert (info.num_pending, info.num_ack_pending) == (0, 0)
    assert info.ack_floor is not None
    assert info.ack_floor.stream_seq == 5_000


def _acknowledged(broker: Broker) -> int:
    try:
        floor = consumer(broker).ack_floor
    except nats.js.errors.NotFoundError:
        return 0
    return floor.stream_seq if floor is not None else 0


def test_events_that_were_published_twice_or_sent_over_http_count_once(broker: Broker, data: Path) -> None:
    with connect(Settings(data=data)) as client:
        client.post("/v1/events", json=[json.loads(payload) for payload, _ in structured(0, 10)])
    publish(broker, structured(0, 20) + structured(5, 20))
    taken = drained(broker, data)
    assert (taken["messages"], taken["accepted"], taken["duplicates"]) == (40, 15, 25)
    assert total(data) == ("25", 25)


def test_a_message_that_is_refused_is_terminated_and_named_and_the_others_are_kept(broker: Broker, data: Path) -> None:
    binary = {"ce-specversion": "1.0", "ce-id": "b", "ce-source": "gw", "ce-type": "llm.request", "ce-subject": "acme"}
    messages: list[Message] = [
        *structured(0, 2),
        (b"no event", None),
        (b'{"model":"big","input_tokens":7}', {**binary, "ce-time": "2026-10-10T10:00:00Z"}),
        (json.dumps(event("0", data={"input_tokens": 5})).encode(), None),
        (b'{"input_tokens":"x"}', {**binary, "ce-id": "c"}),
        (b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}", {**binary, "ce-id": "deep"}),
        *structured(2, 1),
    ]
    publish(broker, messages)
    taken = drained(broker, data, code=65)
    assert (taken["messages"], taken["accepted"], taken["conflicts"]) == (8, 4, 1)
    assert [(p["sequence"], p["id"], p["code"]) for p in taken["problems"]][:3] == [
        (3, None, "malformed_event"),
        (5, "0", "conflict"),
        (6, "c", "not_a_number"),
    ]
    assert taken["problems"][3]["sequence"] == 7
    assert total(data) == ("10", 4)  # 1 + 1 + 7 + 1
    info = consumer(broker)
    assert (info.num_pending, info.num_ack_pending) == (0, 0)
    assert drained(broker, data)["messages"] == 0


def test_both_the_broker_and_the_server_may_go_and_come_back(broker: Broker, tmp_path: Path) -> None:
    """With a running server: the consumer waits for whoever is away, and ends well when it is told to."""
    server = Server(tmp_path / "served")
    assert server.ask("PUT", "/v1/catalog", json=CATALOG).status_code == 200
    publish(broker, structured(0, 300))
    process = start(broker, server.data, "--batch", "20", "--json")
    until(lambda: _acknowledged(broker) == 300)
    broker.stop()
    broker.start()
    publish(broker, structured(300, 300))
    until(lambda: _acknowledged(broker) == 600)
    server.process.send_signal(signal.SIGSTOP)  # it does not answer for a while
    publish(broker, structured(600, 300))
    time.sleep(3)  # longer than --ack-wait: what is in flight is delivered again
    server.process.send_signal(signal.SIGCONT)
    until(lambda: _acknowledged(broker) == 900)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert json.loads(out)["accepted"] == 900
    assert "trying again" in err
    assert consumer(broker).num_ack_pending == 0
    server.end(signal.SIGTERM)
    assert total(server.data) == ("900", 900)


def test_shards_share_a_stream_and_each_customer_is_in_one_of_them(broker: Broker, tmp_path: Path) -> None:
    """Two data directories, 20 customers with 5 events each, every event published twice."""
    for customer in range(20):
        events = [event(f"{customer}-{i}", subject=str(customer)) for i in range(5)] * 2
        publish(broker, [(json.dumps(one).encode(), None) for one in events], f"metered.{customer}")
    found: list[set[str]] = []
    for shard in (0, 1):
        data = tmp_path / f"shard-{shard}"
        at_shard = ("--durable", f"shard-{shard}", "--subject", f"shard.{shard}.>")
        with connect(Settings(data=data)) as client:
            client.put("/v1/catalog", json=CATALOG)
        drained(broker, data, *at_shard)
        with connect(Settings(data=data)) as client:
            items = client.get("/v1/meters/tokens/usage", params={"group_by": "subject"}).json()["items"]
        assert {item["events"] for item in items} == {5}
        found.append({item["group"]["subject"] for item in items})
    assert len(found[0]) + len(found[1]) == len(found[0] | found[1]) == 20
    assert min(map(len, found)) > 2


def test_a_log_that_is_busy_is_asked_again_and_a_body_it_cannot_take_is_halved(broker: Broker) -> None:
    """Of 8 messages the 4th can be in no body; the log is busy for the first three questions."""
    publish(broker, [*structured(0, 3), (b'{"id":"unfit"}', None), *structured(4, 4)])
    bodies: list[list[Any]] = []
    notes: list[str] = []

    def submit(body: bytes) -> dict[str, Any]:
        bodies.append(json.loads(body))
        if len(bodies) <= 3:
            raise NotNow("busy", 0.01)
        if {"id": "unfit"} in bodies[-1]:
            raise Unfit("too large")
        return {"accepted": len(bodies[-1]), "duplicates": 0, "conflicts": 0, "rejected": 0, "events": []}

    source = Source((broker.url,), STREAM, DURABLE, until_empty=True)
    taken = asyncio.run(consume(source, submit, asyncio.Event(), Reporter(lambda _: None, notes.append)))
    assert notes == ["waiting: busy"] * 3
    assert [len(body) for body in bodies] == [8, 8, 8, 8, 4, 2, 2, 1, 1, 4]
    assert (taken.messages, taken.accepted, taken.rejected) == (8, 7, 1)
    assert taken.problems == [{"sequence": 4, "source": None, "id": None, "code": "unfit", "message": "too large"}]
    info = consumer(broker)
    assert (info.num_pending, info.num_ack_pending) == (0, 0)


def test_who_is_told_to_stop_while_the_log_is_busy_leaves_the_messages_to_the_next(broker: Broker) -> None:
    publish(broker, structured(0, 3))
    source = Source((broker.url,), STREAM, DURABLE, until_empty=True)

    async def stopped() -> Consumed:
        stop = asyncio.Event()

        def submit(body: bytes) -> dict[str, Any]:
            raise NotNow("busy", 60)

        return await consume(source, submit, stop, Reporter(lambda _: None, lambda _: stop.set()))

    started = time.monotonic()
    assert asyncio.run(stopped()).messages == 0
    assert time.monotonic() - started < 10
    assert consumer(broker).num_ack_pending == 3


def test_what_is_not_there_is_said(broker: Broker, data: Path) -> None:
    ran = subprocess.run(command(broker, data), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (69, "")
    assert "the broker has no stream 'USAGE'" in ran.stderr
    assert "Traceback" not in ran.stderr
