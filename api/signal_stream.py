"""Signals as server-sent events: each as soon as it is recorded, and from where a listener left off.

A listener that reads slowly holds a socket and one page of signals, and is ended like any other slow client
(api/http_protocol.py); with the id of the last event it goes on from there. Nothing is kept for it meanwhile: the
outbox has every signal.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from api.bell import Bell
from api.signal_json import signal_json
from store.errors import DatabaseUnavailable
from store.signals import RecordedSignal, Selection, Signals

MEDIA = "text/event-stream"
COMMENT_SECONDS = 15.0  # a sign of life, so that proxies keep an idle stream open
STREAMS_MAX = 1_000
_PAGE = 100
_COMMENT = b": nothing new\n\n"


class TooManyStreams(Exception):
    """As many streams are open as may be."""


class Streams:
    """Those of one engine; `end` may be called from any thread, all else in one event loop."""

    def __init__(self, signals: Signals, bell: Bell) -> None:
        self._signals, self._bell = signals, bell
        self._open: set[_Woken] = set()
        self._is_ending = False

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._open)

    def stream(self, after: int, selected: Selection, is_welcome: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Events of the signals behind sequence `after`, until the listener or the server goes, or the listener is not
        welcome any more. Raises TooManyStreams."""
        if len(self._open) >= STREAMS_MAX:
            raise TooManyStreams(f"{STREAMS_MAX} streams of signals are open; close one, or ask with `after`")
        return self._events(after, selected, is_welcome)

    def end(self) -> None:
        """End every stream, so that the server can end."""
        self._is_ending = True
        for woken in list(self._open):
            woken.wake()

    async def _events(self, after: int, selected: Selection, is_welcome: Callable[[], bool]) -> AsyncIterator[bytes]:
        woken = _Woken(asyncio.get_running_loop(), asyncio.Event())
        self._open.add(woken)
        forget = self._bell.call(woken.wake)
        try:
            yield b"retry: 1000\n\n"
            while not self._is_ending:
                woken.event.clear()
                page = await run_in_threadpool(self._page, after, selected)
                if not is_welcome():
                    return
                if page:
                    after = page[-1].sequence
                    yield b"".join(map(event_of, page))
                elif not await woken.within(COMMENT_SECONDS):
                    yield _COMMENT
        except DatabaseUnavailable:
            return  # the listener comes again, from where it was
        finally:
            forget()
            self._open.discard(woken)

    def _page(self, after: int, selected: Selection) -> list[RecordedSignal]:
        return self._signals.after(after, limit=_PAGE, selected=selected)


@dataclass(frozen=True)
class _Woken:
    """What one stream waits for."""

    loop: asyncio.AbstractEventLoop
    event: asyncio.Event

    def wake(self) -> None:
        """From any thread."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.event.set)

    async def within(self, seconds: float) -> bool:
        """Whether it is woken in time."""
        try:
            await asyncio.wait_for(self.event.wait(), seconds)
        except TimeoutError:
            return False
        return True


def event_of(signal: RecordedSignal) -> bytes:
    """One server-sent event; its id is the sequence."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (signal.sequence, signal.type.encode(), signal_json(signal))
