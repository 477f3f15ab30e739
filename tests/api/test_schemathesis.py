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
from store.webhooks import Endpoint
from tests.api.conftest import CATALOG, NOW, document, event

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SUBSCRIPTION = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
OCTOBER = {"from": "2026-10-10T00:00:00Z", "to": "2026-10-12T00:00:00Z"}
ENDPOINT = Endpoint("wh_1", "https://h.example/", (), (), "whsec_AA==", None, None, "active", None, 0, NOW)
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of an application that has something of each kind: what is listed there can be asked for."""
    directory: Path = tmp_path_factory.mktemp("schemathesis")
    engine = Engine.open(Settings(data=directory / "data"), now=lambda: NOW)
    engine.signalling.endpoints.sender.__dict__["resolve"] = lambda host, port: ["192.0.2.1"]  # nothing goes out
    engine.store.webhooks.add(ENDPOINT)
    app = create_app(engine.settings, engine=engine)
    with TestClient(app) as client:
        client.put("/v1/catalog", json=CATALOG)
        client.put("/v1/customers/acme", json={})
        client.put("/v1/subscriptions/acme-pro", json=SUBSCRIPTION)
        client.post("/v1/subscriptions/acme-pro/changes", json={"at": "now", "seats": "2"})
        client.post("/v1/events", json=[event("1"), event("2", time="soon")])
        client.post("/v1/rating-runs", json={"period": "2026-09"})
        client.post("/v1/customers/acme/states", json={"id": "s", "state": "suspended", "reason": "unpaid"})
        for staged in ([event("1")], [event("3"), event("4", time="soon")]):
            key = client.post("/v1/backfills", json=OCTOBER).json()["id"]
            client.post(f"/v1/backfills/{key}/events", json=staged)
            if len(staged) == 1:
                client.post(f"/v1/backfills/{key}/commit")
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


def follow_links(schema: Any, examples: int) -> None:
    """Requests in chains: what one answers goes into the next, such as the id of a backfill into its commit."""

    class Chains(schema.as_state_machine()):  # type: ignore[misc]
        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    Chains.run(settings=settings(max_examples=examples, stateful_step_count=8, suppress_health_check=QUIET))


def test_chains_of_operations_answer_as_documented(schema: Any) -> None:
    follow_links(schema, examples=12)


@pytest.mark.long
def test_chains_of_operations_answer_as_documented_for_long(schema: Any) -> None:
    follow_links(schema, examples=1_500)
