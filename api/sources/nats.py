"""Events from a JetStream stream: pulled in batches, and acknowledged when they are durable here.

A message is acknowledged when its event was accepted or is a duplicate, and terminated when it was refused: no
redelivery would change that, and the log keeps what it refused. Everything else (a crash of either side, a lost
connection, an overloaded or full log) ends in a redelivery, and the identity of an event makes that harmless.

In flight is one batch. A server that keeps nobody waiting takes a batch in milliseconds, so pulling the next one
meanwhile would gain little and would have to be undone at the end.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from api.sources.messages import batch_of, event_of

BODY_BYTES_MAX = 4 << 20
FETCH_SECONDS = 0.5  # how long a batch that is not full is waited for
CONNECT_SECONDS = 10.0
RECONNECT_SECONDS, RECONNECTS_MAX = 2, 300
TRIES_MAX = 100
WAIT_SECONDS_MAX = 30.0
KEPT_PROBLEMS_MAX = 100

Pull = JetStreamContext.PullSubscription


class NotNow(Exception):
    """The log takes nothing at the moment; ask again after `seconds`, or when null after a while."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class Unfit(Exception):
    """A body was refused as a whole, without a look at its events."""


class Unreachable(Exception):
    """The broker does not answer, or has no such stream."""


Submit = Callable[[bytes], dict[str, Any]]
"""Post a batch of CloudEvents and give the answer of `POST /v1/events`. Raises NotNow and Unfit. May block."""


@dataclass(frozen=True)
class Source:
    """What to pull. The durable consumer is made when the stream has none of that name; `subject` and
    `ack_wait_seconds` are for that."""

    servers: tuple[str, ...]
    stream: str
    durable: str
    subject: str = ""
    batch: int = 1_000
    ack_wait_seconds: float = 30.0
    until_empty: bool = False


@dataclass
class Consumed:
    """What became of the messages so far; `pending` are those that the stream had left at the last look."""

    messages: int = 0
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    pending: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    @property
    def refused(self) -> int:
        return self.conflicts + self.rejected

    def add(self, answer: dict[str, Any]) -> None:
        for name in ("accepted", "duplicates", "conflicts", "rejected"):
            setattr(self, name, getattr(self, name) + answer[name])

    def problem(self, message: Msg, event: dict[str, Any]) -> None:
        if len(self.problems) < KEPT_PROBLEMS_MAX:
            named = {name: event[name] for name in ("source", "id", "code", "message")}
            self.problems.append({"sequence": message.metadata.sequence.stream, **named})


@dataclass(frozen=True)
class Reporter:
    """Who is told how far it is, and what is in the way."""

    progress: Callable[[Consumed], None]
    note: Callable[[str], None]


async def consume(source: Source, submit: Submit, stop: asyncio.Event, reporter: Reporter) -> Consumed:
    """Take messages until `stop` is set, or with `until_empty` until the stream has no more.

    Raises Unreachable, NotNow when the log took nothing for too long, and what `submit` raises besides; what was not
    acknowledged by then comes again.
    """
    delivery = _Delivery(submit, stop, reporter, Consumed())
    async with _connected(source, reporter) as client:
        pull, in_flight_max = await _pull(client, source)
        while not stop.is_set():
            messages = await _fetch(client, pull, min(source.batch, in_flight_max))
            if messages:
                await delivery.settle(messages)
                await _flush(client)
            elif await _is_empty(client, pull) and source.until_empty:
                break
    return delivery.total


@dataclass(frozen=True)
class _Delivery:
    submit: Submit
    stop: asyncio.Event
    reporter: Reporter
    total: Consumed

    async def settle(self, messages: Sequence[Msg]) -> None:
        """Hand the messages on in bodies of limited size, and acknowledge or terminate each."""
        for part in _parts(messages):
            await self._settle(part)
        self.total.pending = messages[-1].metadata.num_pending
        self.reporter.progress(self.total)

    async def _settle(self, part: Sequence["_Event"]) -> None:
        """A body that is refused as a whole is halved until the message is found that is the cause."""
        try:
            answer = await self._answer(part)
        except Unfit as error:
            if len(part) > 1:
                middle = len(part) // 2
                await self._settle(part[:middle])
                await self._settle(part[middle:])
                return
            answer = _refusal(str(error))
        if answer is not None:
            await self._acknowledge(part, answer)

    async def _answer(self, part: Sequence["_Event"]) -> dict[str, Any] | None:
        """The answer of the log, however long it takes to get one; null when it is time to stop. Raises Unfit."""
        body = batch_of([event.json for event in part])
        for number in range(TRIES_MAX):
            try:
                return await asyncio.to_thread(self.submit, body)
            except NotNow as error:
                last = error
            self.reporter.note(f"waiting: {last}")
            for event in part:
                await event.message.in_progress()
            seconds = last.seconds if last.seconds is not None else 2.0**number
            if await _is_set_within(self.stop, min(seconds, WAIT_SECONDS_MAX)):
                return None
        raise last

    async def _acknowledge(self, part: Sequence["_Event"], answer: dict[str, Any]) -> None:
        refused = {event["index"]: event for event in answer["events"] if event["verdict"] != "duplicate"}
        self.total.add(answer)
        for index, event in enumerate(part):
            self.total.messages += 1
            if index in refused:
                self.total.problem(event.message, refused[index])
                await event.message.term()
            else:
                await event.message.ack()


@dataclass(frozen=True)
class _Event:
    message: Msg
    json: bytes


def _parts(messages: Sequence[Msg]) -> Iterator[list[_Event]]:
    """The messages in their order, in parts whose events are not larger than BODY_BYTES_MAX (or are a single one)."""
    part: list[_Event] = []
    size = 0
    for message in messages:
        event = _Event(message, event_of(message.data, message.headers or {}))
        if part and size + len(event.json) > BODY_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(event)
        size += len(event.json)
    yield part


def _refusal(message: str) -> dict[str, Any]:
    """As the log would have answered for a body with this one event."""
    event = {"index": 0, "source": None, "id": None, "verdict": "rejected", "code": "unfit", "message": message}
    return {"accepted": 0, "duplicates": 0, "conflicts": 0, "rejected": 1, "events": [event]}


@asynccontextmanager
async def _connected(source: Source, reporter: Reporter) -> AsyncIterator[Client]:
    """A lost connection is taken up again, RECONNECTS_MAX times with a pause between."""

    async def lost() -> None:
        if not stopping:
            reporter.note("the connection to the broker is lost; trying again")

    async def found() -> None:
        reporter.note("the broker answers again")

    async def unheard(_error: Exception) -> None:  # a failed try; the library prints it otherwise
        return

    stopping = False
    try:
        client = await asyncio.wait_for(
            nats.connect(
                list(source.servers),
                name=f"tallystick {source.durable}",
                max_reconnect_attempts=RECONNECTS_MAX,
                reconnect_time_wait=RECONNECT_SECONDS,
                disconnected_cb=lost,
                reconnected_cb=found,
                error_cb=unheard,
            ),
            CONNECT_SECONDS,
        )
    except (NatsError, OSError, TimeoutError) as error:
        raise Unreachable(f"no broker answers at {', '.join(source.servers)}") from error
    try:
        yield client
    finally:
        stopping = True
        await client.close()


async def _pull(client: Client, source: Source) -> tuple[Pull, int]:
    """The consumer, and half of what it lets be unacknowledged: the other half may still be with a process that ended,
    and a batch that cannot become full is waited for in vain."""
    config = ConsumerConfig(ack_wait=source.ack_wait_seconds, max_ack_pending=2 * source.batch)
    try:
        pull = await client.jetstream().pull_subscribe(
            source.subject, durable=source.durable, stream=source.stream, config=config
        )
        unacknowledged_max = (await pull.consumer_info()).config.max_ack_pending or -1  # as the broker says: no limit
    except NotFoundError as error:
        raise Unreachable(f"the broker has no stream {source.stream!r}") from error
    except NatsError as error:
        raise Unreachable(f"stream {source.stream!r} cannot be consumed as {source.durable!r}: {error}") from error
    return pull, max(unacknowledged_max // 2, 1) if unacknowledged_max > 0 else source.batch


async def _fetch(client: Client, pull: Pull, batch: int) -> list[Msg]:
    """What there is, at most `batch`; nothing when there is nothing for a moment, or no connection just now."""
    try:
        return await pull.fetch(batch, timeout=FETCH_SECONDS)
    except TimeoutError:
        return []
    except NatsError as error:
        if client.is_closed:
            raise Unreachable(f"the broker did not come back: {error}") from error
        await asyncio.sleep(FETCH_SECONDS)
        return []


async def _is_empty(client: Client, pull: Pull) -> bool:
    """Whether no message waits, and none is out for acknowledgement."""
    try:
        info = await pull.consumer_info()
    except NotFoundError as error:
        raise Unreachable("the consumer is gone from the stream") from error
    except NatsError as error:
        if client.is_closed:
            raise Unreachable(f"the broker did not come back: {error}") from error
        return False
    return not info.num_pending and not info.num_ack_pending


async def _flush(client: Client) -> None:
    """Send the acknowledgements now. One that is lost means a redelivery, which is a duplicate."""
    with suppress(NatsError):
        await client.flush()


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
