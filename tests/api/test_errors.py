"""Every exception has one answer, a problem document, and a bug of ours shows nothing of its inside."""

import logging
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.engine import Engine
from api.errors import install
from ingest.errors import (
    BodyTooLarge,
    CommitUnknown,
    DiskFull,
    NotCommitted,
    Overloaded,
    PropertyConflict,
    UnreadableBody,
    UnsupportedContentType,
)
from rating.catalog import CatalogInvalid, Problem
from rating.core.money import AmountOverflow
from store.errors import NotFound, PlanInUse, Refused, SubjectTaken
from tests.api.conftest import event


def answer_to(error: BaseException) -> httpx2.Response:
    app = FastAPI()
    install(app)

    @app.get("/")
    def fails() -> None:
        raise error

    with TestClient(app, raise_server_exceptions=False) as client:
        return client.get("/")


@pytest.mark.parametrize(
    ("error", "status", "name", "retry_after"),
    [
        (UnsupportedContentType("x"), 415, "unsupported-content-type", None),
        (UnreadableBody("x"), 400, "unreadable-body", None),
        (BodyTooLarge("x"), 413, "body-too-large", None),
        (PropertyConflict("x"), 409, "property-conflict", None),
        (Overloaded("x", retry_after_seconds=7), 503, "overloaded", "7"),
        (DiskFull("x"), 507, "disk-full", "1"),
        (NotCommitted("x"), 503, "not-committed", "1"),
        (CommitUnknown("x"), 503, "commit-unknown", "1"),
        (NotFound("customer", "x"), 404, "not-found", None),
        (Refused(["a", "b"]), 422, "refused", None),
        (SubjectTaken(["a"]), 409, "subject-taken", None),
        (PlanInUse(["a"]), 409, "plan-in-use", None),
        (AmountOverflow("x"), 422, "amount-overflow", None),
        (CatalogInvalid([Problem("a.b", "1", "is wrong", "mend it")]), 422, "catalog-invalid", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_exception_of_ours_has_its_answer(error: Exception, status: int, name: str, retry_after: str | None) -> None:
    answer = answer_to(error)
    body = answer.json()
    assert (answer.status_code, body["status"], body["type"]) == (status, status, f"urn:tallystick:problem:{name}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == retry_after
    assert body["detail"] == str(error)


@pytest.mark.parametrize(
    ("error", "problems"),
    [
        (Refused(["a", "b"]), [{"message": "a"}, {"message": "b"}]),
        (
            CatalogInvalid([Problem("a.b", "1", "is wrong", "mend it")]),
            [{"path": "a.b", "value": "1", "message": "is wrong", "cure": "mend it"}],
        ),
    ],
)
def test_single_problems_are_listed(error: Exception, problems: list[dict[str, Any]]) -> None:
    assert answer_to(error).json()["problems"] == problems


def test_a_bug_shows_a_request_id_and_the_log_has_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="tallystick.api"):
        answer = answer_to(ZeroDivisionError("secret of the inside"))
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    [record] = [record for record in caplog.records if record.name == "tallystick.api"]
    assert answer.json()["request_id"] in record.getMessage()
    assert record.exc_info is not None


def test_a_log_that_cannot_be_written_refuses_events_and_says_that_it_is_not_ready(
    client: httpx2.Client, engine: Engine
) -> None:
    assert client.get("/readyz").json()["status"] == "ready"
    engine.log._writer.fail(OSError(5, "Input/output error"))
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    assert "Input/output error" in ready.json()["detail"]["log"]["failure"]
    refused = client.post("/v1/events", json=[event("1")])
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["type"] == "urn:tallystick:problem:not-committed"
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/v1/nothing", 404), ("POST", "/healthz", 405), ("DELETE", "/v1/catalog", 405)],
)
def test_an_address_that_is_none_is_a_problem_document(
    client: httpx2.Client, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


@pytest.mark.parametrize("key", ["%0A", "acme%0A", "a%0Ab", "a%0D%0Ab%2Fc"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/customers/{}", 422),
        ("/v1/subscriptions/{}", 422),
        ("/v1/meters/{}/usage", 422),
        ("/v1/quota/{}/tokens", 403),
        ("/v1/quota/acme/{}", 403),
        ("/api/v1/meters/{}", 404),
        ("/api/v1/meters/{}/subjects", 404),
        ("/api/{}", 404),
    ],
)
def test_a_line_feed_in_a_path_is_part_of_the_key(sold: httpx2.Client, path: str, status: int, key: str) -> None:
    answer = sold.get(path.format(key))
    assert answer.status_code == status
    assert answer.json().get("status", status) == status


def test_a_body_that_is_no_text_is_a_problem_document(client: httpx2.Client) -> None:
    answer = client.put("/v1/customers/x", content=b"\xff{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("body", ["{", "", "null", "[]", "5"])
def test_a_body_that_is_not_what_the_route_takes_is_a_problem_document(client: httpx2.Client, body: str) -> None:
    answer = client.put("/v1/customers/x", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["problems"]
