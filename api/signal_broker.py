"""Signals on their way to a broker: published to JetStream one after the other, each acknowledged before the next.

How far it is, is a cursor beside the outbox, recorded when a page was acknowledged. So a broker that is away, full, or
without a stream for the subjects loses nothing and holds up nobody else: it is tried again, and what it missed is in
the outbox. After a crash some are published again, under the same `Nats-Msg-Id`, by which JetStream drops what it has.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import nats
from nats.errors import Error as NatsError
from nats.js.client import JetStreamContext
from nats.js.errors import NoStreamResponseError

from api.signal_json import signal_json
from store.errors import DatabaseUnavailable
from store.signals import Signals

NAME = "nats"
PAGE = 100
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 5.0
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.5, 30.0
LOOK_SECONDS = 30.0  # between two looks at the outbox when nobody wakes it
END_SECONDS = 10.0
_log = logging.getLogger(__name__)


class SignalBroker:
    """Publishes from `start` to `close`; other methods may be called from any thread, at any time."""

    def __init__(self, signals: Signals, servers: Sequence[str], prefix: str) -> None:
        self._signals, self._servers, self._prefix = signals, list(servers), prefix
        self.cursor = signals.cursor(NAME)
        self._recorded = self.cursor
        self._problem: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # of the thread, while it runs
        self._woken, self._ending = asyncio.Event(), Event()
        self._thread = Thread(target=self._run, name="signals-nats", daemon=True)

    def start(self) -> None:
        """Once."""
        self._thread.start()

    def wake(self) -> None:
        """There are new signals."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it was closed just now
                loop.call_soon_threadsafe(self._woken.set)

    def close(self) -> None:
        """Publish nothing more; what is not acknowledged is published by the next process."""
        self._ending.set()
        self.wake()
        if self._thread.ident is not None:
            self._thread.join(END_SECONDS)

    def status(self) -> dict[str, Any]:
        """How far it is, and what is in the way."""
        return {"cursor": self.cursor, "problem": self._problem}

    def _run(self) -> None:
        asyncio.run(self._publish())

    async def _publish(self) -> None:
        self._loop, pause = asyncio.get_running_loop(), PAUSE_SECONDS
        while not self._ending.is_set():
            before = self.cursor
            try:
                await self._while_connected()
            except (NatsError, OSError, TimeoutError, DatabaseUnavailable) as error:
                self._is_in_the_way(error)
            except Exception as error:
                _log.exception("signals to NATS: a fault of ours; trying again")
                self._is_in_the_way(error)
            pause = PAUSE_SECONDS if self.cursor > before else min(2 * pause, PAUSE_SECONDS_MAX)
            await self._rest(pause)

    async def _while_connected(self) -> None:
        """Until something is in the way, or it is time to end."""
        client = await asyncio.wait_for(
            nats.connect(self._servers, name="tallystick signals", allow_reconnect=False, error_cb=_unheard),
            CONNECT_SECONDS,
        )
        try:
            stream = client.jetstream(timeout=ANSWER_SECONDS)
            while not self._ending.is_set():
                self._woken.clear()
                if await self._page(stream):
                    continue
                self._problem = None
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), LOOK_SECONDS)
        finally:
            with suppress(NatsError, OSError, TimeoutError):
                await asyncio.wait_for(client.close(), CONNECT_SECONDS)

    async def _page(self, stream: JetStreamContext) -> bool:
        """Publish what is next. Whether there was any."""
        page = self._signals.after(self.cursor, limit=PAGE)
        try:
            for signal in page:
                if self._ending.is_set():
                    break
                headers = {"Nats-Msg-Id": signal.id}
                await stream.publish(f"{self._prefix}.{signal.type}", signal_json(signal), headers=headers)
                self.cursor = signal.sequence
        finally:
            self._record()
        return bool(page)

    def _record(self) -> None:
        if self.cursor > self._recorded:
            self._signals.passed_on(NAME, self.cursor)
            self._recorded = self.cursor

    def _is_in_the_way(self, error: Exception) -> None:
        problem = str(error) or type(error).__name__
        if isinstance(error, NoStreamResponseError):
            problem = f"no stream takes the subjects {self._prefix}.>: make one"
        if problem != self._problem:
            _log.error("signals wait for NATS: %s; trying again", problem)
        self._problem = problem

    async def _rest(self, seconds: float) -> None:
        """As long as that, or until it is time to end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self._ending.is_set() and loop.time() < until:
            self._woken.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), until - loop.time())


async def _unheard(_: Exception) -> None:
    """What is in the way is raised where it is; the library would print it besides."""
