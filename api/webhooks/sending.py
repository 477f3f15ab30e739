"""One delivery over HTTP/1.1: to an address that was checked, under the name of the URL, within a time for all of it.

What the receiver answers is a stranger's: only its status is looked at, a little of its body is read so that it may
finish, redirects are not followed, and nothing of it is shown to anybody.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from standardwebhooks import Webhook

from api.webhooks.resolving import Forbidden, Resolve, Rules, Target, addresses_of, resolved, target_of

ANSWER_BYTES_MAX = 64 * 1024
GONE = 410


@dataclass(frozen=True)
class Sent:
    """What became of one try. `status` is the receiver's; without one `error` says why there is none."""

    status: int | None
    error: str | None
    milliseconds: int

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        return self.status == GONE


@cache
def trusting_the_system() -> ssl.SSLContext:
    """Made once, when the first webhook is sent: to read the certificates of authorities takes a while."""
    return ssl.create_default_context()


@dataclass(frozen=True)
class Sender:
    """How webhooks are sent; `seconds` is for a whole try, after the name was resolved."""

    rules: Rules
    seconds: float
    agent: str
    resolve: Resolve = resolved
    tls: Callable[[], ssl.SSLContext] = trusting_the_system

    def check(self, url: str) -> None:
        """Raises Forbidden for what will not be sent to, OSError when its name is not resolved."""
        addresses_of(target_of(url, self.rules), self.rules, self.resolve)

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Sent:
        """Post `body`; whatever happens is the answer."""
        began = time.monotonic()
        status, error = None, None
        try:
            target = target_of(url, self.rules)
            addresses = addresses_of(target, self.rules, self.resolve)
            status = self._post(target, addresses, headers, body)
        except Forbidden as refused:
            error = f"not sent: {refused}"
        except (OSError, http.client.HTTPException, ValueError) as failed:
            error = _in_words(failed)
        return Sent(status, error, int((time.monotonic() - began) * 1000))

    def _post(self, target: Target, addresses: Sequence[str], headers: Mapping[str, str], body: bytes) -> int:
        connection = _Connection(target, addresses, self.tls, time.monotonic() + self.seconds)
        try:
            own = {"Host": target.authority, "User-Agent": self.agent, "Connection": "close"}
            connection.request("POST", target.path, body, {**own, **headers})
            answer = connection.getresponse()
            _read_a_little(answer)
            return answer.status
        finally:
            connection.end()


def signed(signal_id: str, at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of Standard Webhooks, with a signature by each secret. `at` is in UTC, to the second."""
    text = body.decode()
    signatures = [_webhook(secret).sign(signal_id, at, text) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "webhook-id": signal_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


@lru_cache(maxsize=256)
def _webhook(secret: str) -> Webhook:
    return Webhook(secret)


class _Connection(http.client.HTTPConnection):
    """To the first of some checked addresses that answers; every wait ends at `deadline`."""

    def __init__(
        self, target: Target, addresses: Sequence[str], tls: Callable[[], ssl.SSLContext], deadline: float
    ) -> None:
        super().__init__(target.host, target.port)
        self._target, self._addresses, self._tls, self._deadline = target, addresses, tls, deadline
        self._opened: socket.socket | None = None

    def connect(self) -> None:
        """Raises OSError."""
        failed: OSError | None = None
        for address in self._addresses:
            try:
                self._opened = socket.create_connection((address, self.port), timeout=_left(self._deadline))
                break
            except OSError as error:
                failed = error
        if self._opened is None:
            raise failed or OSError("the host has no address")
        if self._target.is_tls:
            self._opened = self._tls().wrap_socket(self._opened, server_hostname=self._target.host)
        self.sock: Any = _Timed(self._opened, self._deadline)

    def end(self) -> None:
        """`close` is called while the answer is still being read."""
        self.close()
        if self._opened is not None:
            self._opened.close()


class _Timed:
    """What http.client uses of a socket, each wait of it limited by one deadline for all."""

    def __init__(self, opened: socket.socket, deadline: float) -> None:
        self._opened, self._deadline = opened, deadline

    def sendall(self, data: Any) -> None:
        self._opened.settimeout(_left(self._deadline))
        self._opened.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return io.BufferedReader(_Reader(self._opened, self._deadline))

    def close(self) -> None:
        """Not yet: see _Connection.end."""


class _Reader(io.RawIOBase):
    def __init__(self, opened: socket.socket, deadline: float) -> None:
        self._opened, self._deadline = opened, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._opened.settimeout(_left(self._deadline))
        return self._opened.recv_into(buffer)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _read_a_little(answer: http.client.HTTPResponse) -> None:
    """An answer that breaks off behind its status has answered all the same."""
    try:
        answer.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException, ValueError):
        return


def _in_words(error: Exception) -> str:
    """What happened, in our words: those of a receiver are not repeated."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no secure connection'}"
    if isinstance(error, socket.gaierror):
        return "the name of the host is not resolved"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, OSError):
        return f"the connection failed: {error.strerror or 'it was closed'}"
    return "the answer was no HTTP"
