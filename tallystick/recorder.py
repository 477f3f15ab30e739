"""The thread that sends what was recorded."""

import logging
import random
import threading
import time
from collections.abc import Callable

from tallystick.answers import Kept, Refusal
from tallystick.buffering import Buffer, Limits
from tallystick.calls import Call, Reply, post_events
from tallystick.errors import BufferFull, Closed
from tallystick.events import Event
from tallystick.recording import Ledger, Recorded
from tallystick.retrying import Retrying

log = logging.getLogger("tallystick")


def log_refusal(refusal: Refusal) -> None:
    event = refusal.event
    log.warning("event %s of %s is not counted: %s (%s)", event.id, event.source, refusal.message, refusal.code)


class Recorder:
    """Takes events from any thread; sends them from its own, which starts with the first."""

    def __init__(
        self,
        send: Callable[[Call[Kept]], Reply | None],
        limits: Limits,
        policy: Retrying,
        on_refused: Callable[[Refusal], None],
    ) -> None:
        self._send, self._ledger = send, Ledger(Buffer(limits), policy, on_refused)
        self._changed = threading.Condition()
        self._flushing, self._is_closed, self._is_given_up = 0, False, False
        self._thread: threading.Thread | None = None

    def add(self, event: Event, wait_seconds: float) -> None:
        """Raises BufferFull where there is no room within `wait_seconds`, and Closed: then it was not taken."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_closed or self._ledger.buffer.has_room, wait_seconds):
                raise BufferFull(f"{len(self._ledger.buffer)} events wait; {event.id} of {event.source} was not taken")
            if self._is_closed:
                raise Closed(f"the client is closed; {event.id} of {event.source} was not taken")
            self._ledger.buffer.add(event, time.monotonic())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tallystick", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, wait_seconds: float) -> bool:
        """Whether all that was recorded is kept or refused by then."""
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not len(self._ledger.buffer), wait_seconds)
            finally:
                self._flushing -= 1

    def close(self, wait_seconds: float) -> Recorded:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not len(self._ledger.buffer), wait_seconds)
            self._is_given_up = True
            self._changed.notify_all()
            result = self._ledger.result()
        if self._thread is not None and not result.unsent:
            self._thread.join(wait_seconds)
        return result

    def _run(self) -> None:
        while batch := self._next():
            reply = self._sent(batch)
            with self._changed:
                if self._is_given_up:
                    return
                refused = self._ledger.heard(reply, time.monotonic(), random.random())
                self._changed.notify_all()
            try:
                self._ledger.tell(refused)
            except Exception:
                log.exception("on_refused failed; the events are counted as refused")

    def _next(self) -> tuple[Event, ...]:
        """Waits until a batch is due; nothing when it was the last."""
        buffer = self._ledger.buffer
        with self._changed:
            while not self._is_given_up and (len(buffer) or not self._is_closed):
                is_flushing, now = self._is_closed or self._flushing > 0, time.monotonic()
                if batch := buffer.take(now, is_flushing):
                    return batch
                due_at = buffer.due_at(is_flushing)
                self._changed.wait(None if due_at is None else max(due_at - now, 0))
        return ()

    def _sent(self, batch: tuple[Event, ...]) -> Reply | None:
        try:
            return self._send(post_events(batch))
        except Exception:
            log.exception("a batch of %d events could not be sent; it is sent again", len(batch))
            return None
