"""Child servers for benchmarks: the real one on a fresh data directory, and the bare one on the same disk."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from benchmarks.measuring import ROOT


@contextmanager
def tallystick(data: Path, module: str = "api.server", **settings: str) -> Iterator[str]:
    """The URL of a server on `data`, ended when the block is; `settings` are more of its environment."""
    environment = {**os.environ, **settings, "TALLYSTICK_DATA": str(data), "TALLYSTICK_PORT": "0"}
    command = [sys.executable, "-m", module]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = (re.search(r"http://\S+", line) for line in process.stderr)
        found = next((match for match in said if match is not None), None)
        assert found is not None, "the server did not say where it listens"
        yield from _until_done(process, found.group())


@contextmanager
def bare(directory: Path) -> Iterator[str]:
    """The URL of the bare server that appends to a file in `directory`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "TALLYSTICK_BARE_FILE": str(directory / "bare.log")}
    options = [
        "--port",
        str(port),
        "--log-level",
        "error",
        "--no-access-log",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
    ]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.bare_server:app", *options]
    with subprocess.Popen(command, env=environment, cwd=ROOT) as process:
        _wait_for(f"http://127.0.0.1:{port}/nothing")
        yield from _until_done(process, f"http://127.0.0.1:{port}")


def _until_done(process: subprocess.Popen[str] | subprocess.Popen[bytes], url: str) -> Iterator[str]:
    try:
        yield url
    finally:
        process.kill()


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            httpx2.get(url, timeout=1)
            return
        except httpx2.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing answers at {url}")
