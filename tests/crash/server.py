"""A server as a child process: started, asked for its totals, ended."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import ROOT
from tests.crash.ledger import Total

TALLYSTICK = (sys.executable, "-m", "api.server")
SMALL_SEGMENTS = (sys.executable, "-m", "tests.crash.small_segments")
START_SECONDS_MAX = 60.0

CATALOG = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": {"used": {"event_type": "usage", "aggregation": "sum", "property": "quantity"}},
}


class Stuck(Exception):
    """A server did not start, or does not answer."""


class Connection:
    """One HTTP connection to a server; raises OSError or HTTPException when the server goes."""

    def __init__(self, url: str, timeout: float = 30) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._http = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)

    def ask(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        """Status and answer of one request."""
        content = None if body is None else json.dumps(body)
        self._http.request(method, path, content, {"content-type": content_type})
        response = self._http.getresponse()
        return response.status, json.loads(response.read() or b"null")

    def fetch(self, path: str, accept: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        self._http.request("GET", path, headers={"accept": accept})
        response = self._http.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        """Hang up."""
        self._http.close()


class Server:
    """`command` serves `data` (TALLYSTICK_DATA) on a free port and says its URL on standard error, kept in `log`."""

    def __init__(self, command: Sequence[str], data: Path, log: Path) -> None:
        self.command, self.data, self.log = command, data, log
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self, prefix: Sequence[str] = ()) -> None:
        """Begin to start, under the tool `prefix`."""
        assert self._process is None
        environment = {**os.environ, "TALLYSTICK_DATA": str(self.data), "TALLYSTICK_PORT": "0"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen([*prefix, *self.command], env=environment, cwd=ROOT, stderr=log)

    def start(self, prefix: Sequence[str] = ()) -> bool:
        """Start, and wait until it serves; False when it ended by itself instead. Raises Stuck."""
        self.spawn(prefix)
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            found = re.search(rb"http://\S+\n", self.log.read_bytes())
            if found is not None:
                self.url = found.group().decode().strip()
                return True
            if self.ended():
                return False
            time.sleep(0.005)
        raise Stuck(f"not started after {START_SECONDS_MAX:.0f} s: {self.said()}")

    def must_start(self) -> None:
        """Start, or raise Stuck."""
        if not self.start():
            raise Stuck(f"ended instead of starting: {self.said()}")

    def ended(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process is None or self._process.poll() is not None

    def end(self, number: int = signal.SIGKILL, timeout: float = 60) -> int:
        """Send a signal, wait for the end; the exit code. Raises Stuck."""
        assert self._process is not None
        self._process.send_signal(number)
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise Stuck(f"did not end {timeout:.0f} s after signal {number}") from None
        finally:
            self._process = None

    def kill(self) -> None:
        """End it at once, whatever it does; nothing happens when it has ended."""
        if self._process is not None:
            self.end()

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def said(self) -> str:
        """The end of its standard error."""
        return self.log.read_text(errors="replace")[-2_000:]

    def apply_catalog(self) -> None:
        """Declare the meter that is asked for the totals."""
        connection = Connection(self.url)
        status, answer = connection.ask("PUT", "/v1/catalog", CATALOG)
        assert status == 200, answer
        connection.close()

    def totals(self) -> dict[str, Total]:
        """Quantity and number of events by subject. Raises Stuck."""
        try:
            connection = Connection(self.url, timeout=60)
            status, answer = connection.ask("GET", "/v1/meters/used/usage?group_by=subject")
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise Stuck(f"does not give its totals: {error!r}; {self.said()}") from None
        if status != 200:
            raise Stuck(f"does not give its totals: {status} {answer}")
        return {item["group"]["subject"]: Total(item["quantity"], item["events"]) for item in answer["items"]}
