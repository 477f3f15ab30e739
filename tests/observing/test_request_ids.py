"""Every answer has an id: the caller's where it is well formed. It is in the answers of failures, and in the log."""

import json
import logging

import httpx2
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import event

PATHS = ["/healthz", "/v1/quota/acme/tokens", "/v1/customers/nobody", "/nothing", "/metrics"]


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_has_the_id_that_was_given(client: httpx2.Client, path: str) -> None:
    answer = client.get(path, headers={"X-Request-Id": "mine-1"})
    assert answer.headers.get_list("x-request-id") == ["mine-1"]


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, "é"])
def test_else_it_has_a_new_one(client: httpx2.Client, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-Id": given.encode()}
    found = [client.get("/healthz", headers=headers).headers["x-request-id"] for _ in range(2)]
    assert found[0] != found[1]
    assert all(len(each) == 32 and set(each) <= set("0123456789abcdef") for each in found)


def test_refused_events_are_kept_with_it(client: httpx2.Client) -> None:
    client.post("/v1/events", json=[event(None)], headers={"X-Request-Id": "mine-2"})
    [kept] = client.get("/v1/rejections").json()["items"]
    assert kept["request_id"] == "mine-2"


def test_a_failure_says_it_and_the_log_has_it(
    client: httpx2.Client, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.log._writer.fail(OSError(5, "Input/output error"))
    with caplog.at_level(logging.INFO, logger="tallystick"):
        refused = client.post("/v1/events", json=[event("1")], headers={"X-Request-Id": "mine-3"})
    assert (refused.status_code, refused.json()["request_id"]) == (503, "mine-3")
    [record] = [record for record in caplog.records if record.name == "tallystick.requests"]
    assert (record.route, record.status, record.levelname) == ("/v1/events", 503, "WARNING")


def test_a_good_request_is_logged_only_where_all_are(settings: Settings, engine: Engine) -> None:
    logger, lines = logging.getLogger("tallystick.requests"), list[logging.LogRecord]()
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign]
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        for which, count in (("failed", 0), ("all", 1)):
            app = create_app(settings.model_copy(update={"log_requests": which}), engine=engine)
            with TestClient(app) as client:
                client.get("/v1/customers/acme?secret=1")
            assert len(lines) == count
    finally:
        logger.removeHandler(handler)
    assert lines[0].route == "/v1/customers/{key}"  # type: ignore[attr-defined]
    assert "acme" not in json.dumps({k: str(v) for k, v in vars(lines[0]).items()})
