"""The server of the demonstration: the real one, in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from api.cli.failing import UNAVAILABLE, Failure

STOP_SECONDS = 30


@contextmanager
def running_server(data: Path, *, port: int = 0, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve `data` on a port (0: a free one) with these settings besides; gives the URL, and ends the server
    however the block ends.

    It is in a session of its own, so that Ctrl-C reaches the demonstration, which then ends it in order.
    """
    command = [sys.executable, "-m", "api.cli", "serve", "--data", str(data), "--port", str(port), "--json"]
    environment = {**os.environ, **(environment or {})}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, env=environment)
    try:
        assert process.stdout is not None
        yield _url(process.stdout)
    finally:
        _stop(process)


def _url(stdout: IO[bytes]) -> str:
    """The server says where it is in its first line; one that cannot start says why on stderr, and ends."""
    told = json.loads(stdout.readline() or b"{}")
    if "url" not in told:
        raise Failure("the server of the demonstration did not start; its own message is above.", UNAVAILABLE)
    return str(told["url"])


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
