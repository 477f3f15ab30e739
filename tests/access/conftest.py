"""An application that has keys, asked over a network; `Clock` is what time it is there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from api.access.caller import LOCAL, Scope
from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import CATALOG, NOW, is_documented

ELSEWHERE = ("203.0.113.9", 50_000)
HERE = ("127.0.0.1", 50_000)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path, clock: Clock) -> Iterator[Engine]:
    settings = Settings(data=tmp_path / "data", webhook_private_addresses=True, webhook_http=True)
    opened = Engine.open(settings, now=clock)
    yield opened
    opened.close()


Connect = Callable[..., httpx2.Client]


@contextmanager
def connected(engine: Engine, client: tuple[str, int] = ELSEWHERE, **given: Any) -> Iterator[httpx2.Client]:
    app = create_app(engine.settings, engine=engine)
    base_url = given.pop("base_url", "http://127.0.0.1")
    arguments = {"raise_server_exceptions": False, "follow_redirects": False}
    with TestClient(app, client=client, base_url=base_url, **arguments, **given) as opened:
        opened.event_hooks["response"].append(is_documented)
        yield opened


@pytest.fixture
def network(engine: Engine) -> Iterator[httpx2.Client]:
    """Of somebody elsewhere."""
    with connected(engine) as client:
        yield client


@pytest.fixture
def machine(engine: Engine) -> Iterator[httpx2.Client]:
    """Of somebody on this machine."""
    with connected(engine, HERE) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def admin(engine: Engine) -> dict[str, str]:
    """Header fields of the first key."""
    return bearer(engine.access.keys.create("first", [Scope.admin], None, None).token)


def key(engine: Engine, *scopes: Scope, **given: Any) -> str:
    return engine.access.keys.create("k", scopes, given.get("expires_at"), given.get("limit")).token


def token(engine: Engine, seconds: int = 3600, **whose: str) -> str:
    return engine.access.keys.create_token(whose.get("subject"), whose.get("customer"), seconds, made_by=LOCAL).token


@pytest.fixture
def sold(network: httpx2.Client, admin: dict[str, str]) -> httpx2.Client:
    """Customers acme and globex, both on plan `pro`."""
    assert network.put("/v1/catalog", json=CATALOG, headers=admin).status_code == 200
    for name in ("acme", "globex"):
        customer = {"subjects": [name, f"{name}/app"]}
        assert network.put(f"/v1/customers/{name}", json=customer, headers=admin).status_code == 200
        subscription = {"customer": name, "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
        assert network.put(f"/v1/subscriptions/{name}-pro", json=subscription, headers=admin).status_code == 200
    return network
