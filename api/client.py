"""One way to talk to a data directory, whether a server holds it or nobody does: the same requests, the same answers.

So the command line needs no second way through the engine. Without a server the application runs in this process,
and the client hands its requests over without a socket (Starlette's client for applications does that).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from ingest.errors import DataDirectoryLocked

CONNECT_SECONDS = 5.0
API_KEY = "TALLYSTICK_API_KEY"


@contextmanager
def connect(settings: Settings, *, url: str | None = None) -> Iterator[httpx2.Client]:
    """A client of the server at `url`, or of the one that holds the data directory of `settings`, or of none.

    Raises DataDirectoryLocked when the directory is held by a process that serves no HTTP.
    """
    if url is not None:
        with _client_of(url) as client:
            yield client
        return
    try:
        engine = Engine.open(settings)
    except DataDirectoryLocked as locked:
        if "url" not in locked.holder:
            raise
        with _client_of(locked.holder["url"]) as client:
            yield client
        return
    with _in_process(settings, engine) as client:
        yield client


def _client_of(url: str) -> httpx2.Client:
    """A rating run takes as long as it takes: only connecting has a limit. The API key is that of the environment."""
    key = os.environ.get(API_KEY)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.Client(base_url=url, headers=headers, timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS))


@contextmanager
def _in_process(settings: Settings, engine: Engine) -> Iterator[httpx2.Client]:
    try:
        app = create_app(settings, engine=engine, is_local=True)
        with TestClient(app, raise_server_exceptions=False) as client:
            yield client
    finally:
        engine.close()
