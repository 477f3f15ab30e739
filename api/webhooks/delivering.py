"""The thread that delivers signals to webhook endpoints, and the threads that send for it.

Each endpoint has a cursor in the outbox; behind it, at most `waiting_max` signals at a time become deliveries, rows
that say what is still to be done. So the queue is bounded, and whatever the receiver does, nothing is lost: what is not
a delivery yet is in the outbox.

What was taken is marked after the answer, a few answers in one transaction. A crash in between sends it again, under
the same id; that is the receiver's to know.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from queue import SimpleQueue
from threading import Event, Lock, Thread

from api.pruning import Pruner
from api.signal_json import signal_json
from api.webhooks.lines import Lines
from api.webhooks.schedule import pause
from api.webhooks.sending import Sender, Sent, signed
from store import Store
from store.changes import Now
from store.errors import DatabaseUnavailable
from store.webhooks import Attempt, Delivery, Endpoint

THREADS = 8
OF_ONE_ENDPOINT = 4  # threads that send to it at a time, so that a slow one leaves some to the others
OF_A_FAILING_ONE = 1
MARK_SECONDS = 0.05
RETRY_SECONDS = 1.0
LOOK_SECONDS = 30.0  # between two looks at the store when nobody wakes it
OUTCOMES = ("delivered", "failed", "dead", "gone")  # taken; to be tried again; given up; the receiver answered 410
END_SECONDS = 2.0  # how long the end waits for what is on its way
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How much waits for an endpoint at a time, and for how many days one signal is tried."""

    waiting_max: int
    days: int


@dataclass
class _Channel:
    """An endpoint and what waits for it."""

    endpoint: Endpoint
    lines: Lines
    is_failing: bool = False

    @property
    def takes(self) -> bool:
        """Whether one more may be sent to it now."""
        busy_max = OF_A_FAILING_ONE if self.is_failing else OF_ONE_ENDPOINT
        return self.endpoint.state == "active" and len(self.lines.on_their_way) < busy_max


@dataclass(frozen=True)
class _Result:
    """`sent` is null where it was not tried: its signal could not be read."""

    delivery: Delivery
    at: datetime
    sent: Sent | None


class Deliverer:
    """Delivers from `start` to `close`; other methods may be called from any thread, at any time."""

    def __init__(
        self,
        store: Store,
        sender: Sender,
        now: Now,
        limits: Limits,
        chance: Callable[[], float] = random.random,
        pruner: Pruner | None = None,
    ) -> None:
        """`pruner` has its turn where there is nothing to deliver."""
        self._store, self._sender, self._now = store, sender, now
        self._limits, self._chance, self._pruner = limits, chance, pruner
        self._channels: dict[str, _Channel] = {}
        self._work: SimpleQueue[tuple[Endpoint, Delivery] | None] = SimpleQueue()
        self._results: SimpleQueue[_Result] = SimpleQueue()
        self._marks: list[tuple[Delivery, Attempt]] = []
        self._marked_at = 0.0
        self.outcomes = dict.fromkeys(OUTCOMES, 0)  # of tries, since the start
        self._on_their_way = 0
        self._woken, self._ending = Event(), Event()
        self._lock = Lock()
        self._changed: set[str] = set()  # endpoints to be read again
        self._all_changed = True
        self._threads: list[Thread] = []

    def start(self) -> None:
        """Begin to deliver; once."""
        assert not self._threads
        self._woken.set()
        self._threads = [Thread(target=self._run, name="webhooks", daemon=True)]
        self._threads += [Thread(target=self._send, name=f"webhooks-{n}", daemon=True) for n in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There are new signals."""
        self._woken.set()

    def changed(self, endpoint: str | None = None) -> None:
        """An endpoint, or what waits for it, is not what it was; null: any may be."""
        with self._lock:
            if endpoint is None:
                self._all_changed = True
            else:
                self._changed.add(endpoint)
        self._woken.set()

    def close(self) -> None:
        """Send nothing more. What is on its way has a moment; what has not answered by then is sent again some day."""
        self._ending.set()
        self._woken.set()
        for thread in self._threads[:1]:
            thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._woken.wait(self._idle_seconds())
            self._woken.clear()
            try:
                self._step()
            except Exception as error:
                if isinstance(error, DatabaseUnavailable):
                    _log.error("webhooks wait for the database: %s; trying again", error)
                else:
                    _log.exception("webhooks: a fault of ours; trying again")
                self._ending.wait(RETRY_SECONDS)
                self.changed()
        self._end()

    def _step(self) -> None:
        self._settle()
        with self._lock:
            changed = None if self._all_changed else self._changed
            self._changed, self._all_changed = set(), False
        if changed is None or changed:
            self._mark()
            self._load(changed)
        elif time.monotonic() - self._marked_at >= MARK_SECONDS:
            self._mark()
        self._fan_out()
        self._dispatch()
        if self._pruner is not None and not self._on_their_way:
            self._pruner.step()

    def _idle_seconds(self) -> float:
        """Until there is something to do, as far as is known."""
        if self._marks:
            return max(self._marked_at + MARK_SECONDS - time.monotonic(), 0.0)
        due = [c.lines.next_at for c in self._channels.values() if c.takes and c.lines.next_at is not None]
        waits = [LOOK_SECONDS]
        if due and self._on_their_way < THREADS:
            waits.append((min(due) - self._now()).total_seconds())
        if self._pruner is not None and not self._on_their_way:
            waits.append(self._pruner.next_at - time.monotonic())
        return max(min(waits), 0.0)

    def _load(self, changed: set[str] | None) -> None:
        """Endpoints and what waits for them, as the store has them, null: all; what is on its way stays so."""
        before, there = self._channels, {endpoint.id: endpoint for endpoint in self._store.webhooks.all()}
        self._channels = {}
        for key, endpoint in there.items():
            known = before.get(key)
            if known is not None and changed is not None and key not in changed:
                self._channels[key] = known
                continue
            busy = known.lines.on_their_way if known is not None else ()
            waiting = self._store.webhooks.waiting(key) if endpoint.state == "active" else ()
            failing = known is not None and known.is_failing
            self._channels[key] = _Channel(endpoint, Lines(waiting, busy), failing)

    def _fan_out(self) -> None:
        """Turn new signals into deliveries, as far as there is room."""
        active = {key: channel for key, channel in self._channels.items() if channel.endpoint.state == "active"}
        last = self._store.signals.last_sequence() if active else 0
        while rooms := {
            key: room
            for key, channel in active.items()
            if channel.endpoint.cursor < last and (room := self._limits.waiting_max - channel.lines.waiting) > 0
        }:
            made = self._store.webhooks.fan_out(rooms)
            for key, fanned in made.items():
                active[key].lines.add(fanned.deliveries)
                active[key].endpoint = replace(active[key].endpoint, cursor=fanned.cursor)
            for key in rooms.keys() - made.keys():  # it is gone, or not active any more
                self.changed(key)
            if len(made) < len(rooms):
                return

    def _dispatch(self) -> None:
        """Give what is due to the threads that send, one endpoint after the other in turn."""
        now, is_any = self._now(), True
        while is_any and self._on_their_way < THREADS:
            is_any = False
            for channel in self._channels.values():
                if self._on_their_way >= THREADS or not channel.takes:
                    continue
                delivery = channel.lines.take(now)
                if delivery is not None:
                    is_any = True
                    self._on_their_way += 1
                    self._work.put((channel.endpoint, delivery))

    def _settle(self) -> None:
        """Take what the sending threads have found."""
        while not self._results.empty():
            result = self._results.get()
            self._on_their_way -= 1
            channel = self._channels.get(result.delivery.endpoint)
            settled = self._settled(result)
            if channel is not None:
                channel.lines.settle(settled)
                if result.sent is not None:
                    channel.is_failing = not result.sent.is_taken
            if result.sent is None:
                continue
            sent = result.sent
            self.outcomes[_outcome(settled, sent)] += 1
            tried = Attempt(settled.endpoint, settled.signal, result.at, sent.status, sent.error, sent.milliseconds)
            self._marks.append((settled, tried))
            if sent.is_gone and channel is not None:
                self._disable(channel)

    def _settled(self, result: _Result) -> Delivery:
        """The delivery after a try."""
        delivery, sent, now = result.delivery, result.sent, self._now()
        if sent is None:
            return replace(delivery, next_at=now + timedelta(seconds=RETRY_SECONDS))
        tried = replace(
            delivery, attempts=delivery.attempts + 1, last_status=sent.status, last_error=sent.error, next_at=None
        )
        if sent.is_taken:
            return replace(tried, state="delivered", delivered_at=now)
        if sent.is_gone:
            return replace(tried, next_at=now)
        wait = pause(tried.attempts, self._limits.days, self._chance())
        return replace(tried, state="dead") if wait is None else replace(tried, next_at=now + wait)

    def _disable(self, channel: _Channel) -> None:
        reason = "the receiver answered 410 Gone"
        channel.endpoint = replace(channel.endpoint, state="disabled", reason=reason)
        self._store.webhooks.disable(channel.endpoint.id, reason)
        _log.warning("webhook endpoint %s is disabled: %s", channel.endpoint.id, reason)

    def _mark(self) -> None:
        """Note in the store what was found; what cannot be noted stays to be noted."""
        if self._marks:
            self._store.webhooks.mark([delivery for delivery, _ in self._marks], [tried for _, tried in self._marks])
            self._marks.clear()
        self._marked_at = time.monotonic()

    def _end(self) -> None:
        for _ in range(THREADS):
            self._work.put(None)
        deadline = time.monotonic() + END_SECONDS
        while self._on_their_way > 0 and time.monotonic() < deadline:
            self._woken.wait(deadline - time.monotonic())
            self._woken.clear()
            self._settle()
        try:
            self._mark()
        except DatabaseUnavailable as error:
            _log.error("%d webhook deliveries are not marked and will be sent again: %s", len(self._marks), error)

    def _send(self) -> None:
        """One thread that sends."""
        while (work := self._work.get()) is not None:
            endpoint, delivery = work
            at = self._now()
            try:
                sent: Sent | None = None if self._ending.is_set() else self._sent(endpoint, delivery, at)
            except DatabaseUnavailable:
                sent = None
            except Exception as error:
                _log.exception("webhooks: a fault of ours; going on")
                sent = Sent(None, f"a fault of ours: {type(error).__name__}", 0)
            self._results.put(_Result(delivery, at, sent))
            self._woken.set()

    def _sent(self, endpoint: Endpoint, delivery: Delivery, at: datetime) -> Sent:
        (signal,) = self._store.signals.numbered([delivery.signal])
        body = signal_json(signal)
        return self._sender.send(endpoint.url, signed(signal.id, at, body, endpoint.secrets(at)), body)


def _outcome(settled: Delivery, sent: Sent) -> str:
    if sent.is_gone:
        return "gone"
    return settled.state if settled.state in ("delivered", "dead") else "failed"
