"""Whatever the OpenAPI document allows, and what it does not: no answer is a fault of ours, each is as documented."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import CATALOG, NOW, document, event

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of an application with a catalog, a customer, an event and a rejection."""
    directory: Path = tmp_path_factory.mktemp("schemathesis")
    engine = Engine.open(Settings(data=directory / "data"), now=lambda: NOW)
    app = create_app(engine.settings, engine=engine)
    with TestClient(app) as client:
        client.put("/v1/catalog", json=CATALOG)
        client.put("/v1/customers/acme", json={})
        client.post("/v1/events", json=[event("1"), event("2", time="soon")])
        yield schemathesis.openapi.from_asgi("/openapi.json", app)
    engine.close()


OPERATIONS = [
    pytest.param(path, method, id=f"{method.upper()} {path}")
    for path, operations in document()["paths"].items()
    for method in operations
]


def attack(schema: Any, path: str, method: str, examples: int) -> None:
    """Send requests that the document allows and such that it does not; hold each answer against it."""
    for mode in GenerationMode:
        strategy = schema[path][method].as_strategy(generation_mode=mode)

        @given(case=strategy)
        @settings(max_examples=examples, suppress_health_check=QUIET)
        def answers_as_documented(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        with suppress(Unsatisfiable):  # some operations cannot be called wrongly
            answers_as_documented()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation_answers_as_documented(schema: Any, path: str, method: str) -> None:
    attack(schema, path, method, examples=8)


@pytest.mark.long
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation_answers_as_documented_for_long(schema: Any, path: str, method: str) -> None:
    attack(schema, path, method, examples=300)
