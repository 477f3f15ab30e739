"""A receiver of webhooks: a real server on a port of this machine, which answers as it is told and keeps what came."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

ANSWER_BYTES = 10 << 20
HANG_SECONDS = 1.0


@dataclass(frozen=True)
class Came:
    """One request."""

    id: str
    headers: dict[str, str]
    body: bytes
    behaviour: str

    @property
    def signal(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """`behave` says how the request of an id is answered: ok, 500, 404, 410, reset, redirect, hang, drip, huge, repeat
    (taken, but the answer is lost), half (taken, and closed in the middle of the answer), half head (closed before its
    status was said) or garbage."""

    url: str
    behave: Callable[[str], str] = lambda _: "ok"
    came: list[Came] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def taken(self) -> list[Came]:
        """What it has taken in, in its order, each once: a receiver knows an id that it has."""
        first: dict[str, Came] = {}
        for came in self.came:
            if came.behaviour in ("ok", "repeat", "huge", "half"):
                first.setdefault(came.id, came)
        return list(first.values())

    def verify(self, secret: str) -> None:
        """Every request that came has a signature that the library accepts."""
        for came in self.came:
            Webhook(secret).verify(came.body, came.headers)


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver until the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that do not trust it
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    server.receiver = receiver  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    @property
    def _receiver(self) -> Receiver:
        found: Receiver = self.server.receiver  # type: ignore[attr-defined]
        return found

    def do_GET(self) -> None:  # http.server calls it so
        self._receiver.elsewhere.append(self.path)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.path != "/hook":
            self._receiver.elsewhere.append(self.path)
            return
        key = headers["webhook-id"]
        with self._receiver.lock:
            behaviour = self._receiver.behave(key)
            self._receiver.came.append(Came(key, headers, body, behaviour))
        with suppress(OSError):
            self._answer(behaviour)

    def _answer(self, behaviour: str) -> None:
        if behaviour in ("reset", "repeat"):
            self.connection.close()
        elif behaviour == "hang":
            time.sleep(HANG_SECONDS)
        elif behaviour == "garbage":
            self.wfile.write(b"hello\r\n\r\n")
        elif behaviour == "half":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthank")
            self.connection.close()
        elif behaviour == "half head":
            self.wfile.write(b"HTTP/1.1 2")
            self.connection.close()
        elif behaviour == "drip":
            self._drip()
        elif behaviour == "redirect":
            self._say(302, b"", Location=f"{self._receiver.url.removesuffix('/hook')}/private")
        else:
            status = int(behaviour) if behaviour.isdecimal() else 200
            self._say(status, b"x" * ANSWER_BYTES if behaviour == "huge" else b"thank you")

    def _drip(self) -> None:
        for letter in b"HTTP/1.1 200 OK and so on and on":
            self.wfile.write(bytes([letter]))
            time.sleep(HANG_SECONDS / 10)

    def _say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return
