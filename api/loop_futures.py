"""Results of other threads for coroutines of one event loop.

The writer answers many requests at a time. `asyncio.wrap_future` would wake the loop for each of them; here all that
come while the loop is on its way are handed over at once.
"""

import asyncio
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")


class LoopFutures:
    """For coroutines of `loop`, and results of any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._is_called = False

    def wrap(self, source: "Future[Result]") -> "asyncio.Future[Result]":
        """What `source` will give, to await. `source` goes on when that is cancelled."""
        own: asyncio.Future[Result] = self._loop.create_future()
        source.add_done_callback(partial(self._arrive, own))
        return own

    def _arrive(self, own: "asyncio.Future[Any]", source: "Future[Any]") -> None:
        """In the thread that has the result."""
        self._arrived.append((own, source))
        if not self._is_called and not self._loop.is_closed():
            self._is_called = True
            self._loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        """In the loop. The mark goes first: what arrives behind it is seen here or calls again."""
        self._is_called = False
        while self._arrived:
            own, source = self._arrived.popleft()
            if own.done():  # its request is gone
                continue
            error = source.exception()
            if error is None:
                own.set_result(source.result())
            else:
                own.set_exception(error)
