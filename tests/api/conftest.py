"""A real application on a real directory, at a fixed time; and every answer is held against the OpenAPI document."""

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings

NOW = datetime(2026, 10, 15, 12, 0, tzinfo=UTC)

CATALOG: dict[str, Any] = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": {
        "tokens": {
            "event_type": "llm.request",
            "aggregation": "sum",
            "property": "input_tokens",
            "group_by": ["model"],
        },
        "requests": {"event_type": "llm.request", "aggregation": "count", "group_by": ["model"]},
    },
    "features": {"tokens": {"meter": "tokens"}},
    "prices": {
        "tokens/big": {
            "meter": "tokens",
            "currency": "USD",
            "model": "graduated",
            "match": {"model": "big"},
            "versions": [
                {"per": 1000, "tiers": [{"up_to": "1000", "unit_amount": "2.50"}, {"up_to": None, "unit_amount": "1"}]}
            ],
        },
        "fee": {"currency": "USD", "model": "flat", "versions": [{"amount": "20"}]},
    },
    "plans": {
        "pro": {
            "currency": "USD",
            "prices": ["fee", "tokens/*"],
            "entitlements": {"tokens": {"limit": "2000", "window": "month"}},
        },
        "free": {"currency": "USD", "prices": ["tokens/*"]},
    },
}


def event(event_id: str = "1", **changes: Any) -> dict[str, Any]:
    """A good event of subject `acme`; a change to None leaves the attribute out."""
    good = {
        "specversion": "1.0",
        "id": event_id,
        "source": "gateway",
        "type": "llm.request",
        "subject": "acme",
        "time": "2026-10-10T10:00:00Z",
        "data": {"model": "big", "input_tokens": 100},
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", body_bytes_max=1 << 20)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    opened = Engine.open(settings, now=lambda: NOW)
    yield opened
    opened.close()


@pytest.fixture
def client(settings: Settings, engine: Engine) -> Iterator[httpx2.Client]:
    """A client of the application; each JSON answer is checked against the OpenAPI document."""
    app = create_app(settings, engine=engine)
    with TestClient(app, raise_server_exceptions=False) as opened:
        opened.event_hooks["response"].append(is_documented)
        yield opened


@pytest.fixture
def sold(client: httpx2.Client) -> httpx2.Client:
    """The same with the catalog in force, and customer `acme` on plan `pro` since January."""
    assert client.put("/v1/catalog", json=CATALOG).status_code == 200
    assert client.put("/v1/customers/acme", json={}).status_code == 200
    subscription = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
    assert client.put("/v1/subscriptions/acme-pro", json=subscription).status_code == 200
    return client


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document; it does not depend on any settings."""
    return create_app(Settings()).openapi()


def is_documented(response: httpx2.Response) -> None:
    """Assert that the document foresees this answer: its status, media type and schema."""
    response.read()
    operation = _operation(response.request)
    if operation is None:
        assert response.status_code in (404, 405) or not response.request.url.path.startswith("/v1/")
        return
    content = operation["responses"][str(response.status_code)].get("content")
    if content is None:
        assert response.content == b""
        return
    media = response.headers["content-type"].split(";")[0]
    assert media in content
    if media.endswith(("/json", "+json")):
        schema = {**content[media]["schema"], "components": document()["components"]}
        jsonschema.Draft202012Validator(schema).validate(response.json())


@cache
def _patterns() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """The paths as patterns, the longest first: the one that fits an address best."""
    paths = sorted(document()["paths"].items(), key=lambda item: -len(item[0]))
    return [(re.compile(re.sub(r"\\{[^}]*\\}", ".+", re.escape(path)) + r"\Z", re.DOTALL), ops) for path, ops in paths]


def _operation(request: httpx2.Request) -> Any:
    method = request.method.lower()
    return next(
        (ops[method] for pattern, ops in _patterns() if pattern.match(request.url.path) and method in ops), None
    )
