"""HTTP/1.1 with limits on what a connection may cost: uvicorn waits for ever for a request that never ends.

A client that sends its request by and by, or does not read its answer, holds a socket, not a thread: hundreds of them
cost others nothing as long as each is ended after a while, and as long as enough file descriptors remain for the log.
"""

import asyncio
import math
import resource
from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEADER_SECONDS = 15.0  # from the first byte of a request, or the connection, to the end of the headers
TRANSFER_SECONDS = 120.0  # for the body of a request; for a client to read when its answer waits
CONNECTIONS_MAX = 10_000
_DESCRIPTORS_KEPT = 256  # for files

_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def connections_max() -> int:
    """How many connections this process may have open at a time, after raising its limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + _DESCRIPTORS_KEPT
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else max(1, min(CONNECTIONS_MAX, soft - _DESCRIPTORS_KEPT))


def end_overdue(connections: Iterable[object]) -> None:
    """End the connections whose client is too slow; to be called every second or so."""
    overdue = [each for each in connections if isinstance(each, BoundedProtocol) and each.is_overdue]
    for connection in overdue:
        connection.time_out()


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `connections_max` is set before the first."""

    connections_max = CONNECTIONS_MAX
    _due = math.inf  # loop time at which what the client owes must be here

    @property
    def is_overdue(self) -> bool:
        """Whether the client has not done in time what is its part now."""
        return self._due < self.loop.time()

    def time_out(self) -> None:
        """Say so where no answer has begun, and end the connection."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.write(_TIMED_OUT)
            self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await(HEADER_SECONDS)
        if len(self.connections) > self.connections_max:
            transport.write(_TOO_MANY)
            transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await(HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        self._await(TRANSFER_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._due = math.inf
        super().on_message_complete()

    def on_response_complete(self) -> None:
        is_idle = not self.pipeline
        super().on_response_complete()
        if is_idle:  # whatever comes that begins no request, such as empty lines, does not keep it open
            self._await(self.timeout_keep_alive + HEADER_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await(TRANSFER_SECONDS)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._due = math.inf

    def _await(self, seconds: float) -> None:
        self._due = self.loop.time() + seconds
