"""The task that sends what was recorded."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from tallystick.answers import Kept, Refusal
from tallystick.buffering import Buffer, Limits
from tallystick.calls import Call, Reply, post_events
from tallystick.errors import BufferFull, Closed
from tallystick.events import Event
from tallystick.recorder import log
from tallystick.recording import Ledger, Recorded
from tallystick.retrying import Retrying


class AsyncRecorder:
    """Takes events from one event loop; its task starts with the first."""

    def __init__(
        self,
        send: Callable[[Call[Kept]], Awaitable[Reply | None]],
        limits: Limits,
        policy: Retrying,
        on_refused: Callable[[Refusal], None],
    ) -> None:
        self._send, self._ledger = send, Ledger(Buffer(limits), policy, on_refused)
        self._changed = asyncio.Condition()
        self._flushing, self._is_closed = 0, False
        self._task: asyncio.Task[None] | None = None

    async def add(self, event: Event, wait_seconds: float) -> None:
        """Raises BufferFull where there is no room within `wait_seconds`, and Closed: then it was not taken."""
        buffer = self._ledger.buffer
        async with self._changed:
            if not await self._until(lambda: self._is_closed or buffer.has_room, wait_seconds):
                raise BufferFull(f"{len(buffer)} events wait; {event.id} of {event.source} was not taken")
            if self._is_closed:
                raise Closed(f"the client is closed; {event.id} of {event.source} was not taken")
            buffer.add(event, time.monotonic())
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="tallystick")
            self._changed.notify_all()

    async def flush(self, wait_seconds: float) -> bool:
        """Whether all that was recorded is kept or refused by then."""
        async with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            try:
                return await self._until(lambda: not len(self._ledger.buffer), wait_seconds)
            finally:
                self._flushing -= 1

    async def close(self, wait_seconds: float) -> Recorded:
        async with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            await self._until(lambda: not len(self._ledger.buffer), wait_seconds)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        return self._ledger.result()

    async def _until(self, is_so: Callable[[], bool], wait_seconds: float) -> bool:
        if is_so():
            return True
        try:
            await asyncio.wait_for(self._changed.wait_for(is_so), wait_seconds)
        except TimeoutError:
            return is_so()
        return True

    async def _run(self) -> None:
        while batch := await self._next():
            reply = await self._sent(batch)
            async with self._changed:
                refused = self._ledger.heard(reply, time.monotonic(), random.random())
                self._changed.notify_all()
            try:
                self._ledger.tell(refused)
            except Exception:
                log.exception("on_refused failed; the events are counted as refused")

    async def _next(self) -> tuple[Event, ...]:
        """Waits until a batch is due; nothing when it was the last."""
        buffer = self._ledger.buffer
        async with self._changed:
            while len(buffer) or not self._is_closed:
                is_flushing, now = self._is_closed or self._flushing > 0, time.monotonic()
                if batch := buffer.take(now, is_flushing):
                    return batch
                due_at = buffer.due_at(is_flushing)
                try:
                    wait = None if due_at is None else max(due_at - now, 0)
                    await asyncio.wait_for(self._changed.wait(), wait)
                except TimeoutError:
                    continue
        return ()

    async def _sent(self, batch: tuple[Event, ...]) -> Reply | None:
        try:
            return await self._send(post_events(batch))
        except Exception:
            log.exception("a batch of %d events could not be sent; it is sent again", len(batch))
            return None
