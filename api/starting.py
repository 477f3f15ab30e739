"""What a server answers while it opens its data directory: 503 and why, so that probes and senders need not wait."""

import select
import socket
from collections.abc import Mapping
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType

import orjson

_LOOK_SECONDS = 0.05
_CLIENT_SECONDS = 0.2
_REASON = "the data directory is being opened; ask again after a moment"


class Starting:
    """Answers on a socket that listens, as long as the block runs; a request at a time, and nothing is read of it but
    its path."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._is_over = Event()
        self._thread = Thread(target=self._run, name="starting", daemon=True)

    def __enter__(self) -> None:
        self._listening.setblocking(False)
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._listening.setblocking(True)

    def _run(self) -> None:
        while not self._is_over.is_set():
            select.select([self._listening], [], [], _LOOK_SECONDS)
            with suppress(OSError):  # nobody there, or not any more
                client, _ = self._listening.accept()
                with client:
                    client.settimeout(_CLIENT_SECONDS)
                    client.sendall(answer_to(client.recv(4096)))
                    client.shutdown(socket.SHUT_WR)
                    client.recv(65536)


def answer_to(request: bytes) -> bytes:
    """By the first line: the process lives, and is not ready."""
    path = [*request.split(b" ", 2), b"", b""][1]
    if path == b"/healthz":
        return _answer(200, "OK", "application/json", {"status": "ok"})
    if path == b"/readyz":
        body = {"status": "not ready", "reasons": [_REASON], "detail": {}}
        return _answer(503, "Service Unavailable", "application/json", body)
    problem = {"type": "urn:tallystick:problem:starting", "title": "Service Unavailable", "status": 503}
    return _answer(503, "Service Unavailable", "application/problem+json", {**problem, "detail": _REASON})


def _answer(status: int, phrase: str, media: str, content: Mapping[str, object]) -> bytes:
    body = orjson.dumps(content)
    head = (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\n"
        "retry-after: 1\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
