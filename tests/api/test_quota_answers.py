"""A quota answer as status, header fields and body, and the way of a check past the router."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.quota_answers import body_of, headers_of, status_of
from rating.core.quota.answer import QuotaAnswer
from tests.api.conftest import is_documented

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
START, END = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)


def answer(**changes: Any) -> QuotaAnswer:
    """4,321.9 of 5,000 tokens are left in October."""
    limit, used, left = Decimal(5000), Decimal("678.1"), Decimal("4321.9")
    given = QuotaAnswer(
        True, "allowed", "", "acme", "acme", "tokens", Decimal(1), limit, used, Decimal(0), left, START, END
    )
    return replace(given, **changes)


@pytest.mark.parametrize(
    ("changes", "status", "retry_after"),
    [
        pytest.param({}, 200, None, id="allowed"),
        pytest.param({"reason": "over_soft_limit"}, 200, None, id="allowed above a soft limit"),
        pytest.param(
            {"allowed": False, "reason": "exhausted", "waiting_helps": True}, 429, "1425600", id="16.5 days to wait"
        ),
        pytest.param({"allowed": False, "reason": "would_exceed"}, 402, None, id="no window will ever hold it"),
        pytest.param({"allowed": False, "reason": "exhausted", "resets_at": None}, 402, None, id="nothing resets"),
        pytest.param({"allowed": False, "reason": "not_entitled", "limit": None}, 403, None, id="not entitled"),
        pytest.param({"allowed": False, "reason": "suspended", "waiting_helps": True}, 403, None, id="suspended"),
    ],
)
def test_status_and_retry_after(changes: dict[str, Any], status: int, retry_after: str | None) -> None:
    given = answer(**changes)
    assert status_of(given) == status
    assert headers_of(given, NOW).get("Retry-After") == retry_after


@pytest.mark.parametrize(
    ("changes", "policy", "left"),
    [
        pytest.param({}, '"tokens";q=5000;w=2678400', '"tokens";r=4321;t=1425600', id="October, rounded down"),
        pytest.param({"window_start": None, "resets_at": None}, '"tokens";q=5000', '"tokens";r=4321', id="no window"),
        pytest.param(
            {"resets_at": NOW + timedelta(microseconds=1)},
            '"tokens";q=5000;w=1252801',
            '"tokens";r=4321;t=1',
            id="seconds are rounded up",
        ),
        pytest.param(
            {"limit": Decimal(10**28), "remaining": Decimal(-1)},
            '"tokens";q=999999999999999;w=2678400',
            '"tokens";r=0;t=1425600',
            id="as far as integers go",
        ),
        pytest.param(
            {"feature": 'a"b\\é'},
            '"a\\"b\\\\%C3%A9";q=5000;w=2678400',
            '"a\\"b\\\\%C3%A9";r=4321;t=1425600',
            id="a key that needs escapes",
        ),
    ],
)
def test_rate_limit_fields(changes: dict[str, Any], policy: str, left: str) -> None:
    assert headers_of(answer(**changes), NOW) == {"RateLimit-Policy": policy, "RateLimit": left}


@pytest.mark.parametrize("changes", [{"limit": None}, {"remaining": None}])
def test_without_a_limit_there_are_no_rate_limit_fields(changes: dict[str, Any]) -> None:
    assert headers_of(answer(**changes), NOW) == {}


def test_the_body_has_decimals_as_text() -> None:
    body = body_of(answer())
    assert (body["used"], body["remaining"], body["limit"]) == ("678.1", "4321.9", "5000")


def test_a_check_says_what_is_left(sold: httpx2.Client) -> None:
    allowed = sold.get("/v1/quota/acme/tokens?amount=1")
    assert allowed.headers["ratelimit-policy"] == '"tokens";q=2000;w=2678400'
    assert allowed.headers["ratelimit"] == '"tokens";r=2000;t=1425600'
    never = sold.get("/v1/quota/acme/tokens?amount=2001")
    assert (never.status_code, never.json()["reason"]) == (402, "would_exceed")
    assert "retry-after" not in never.headers


@pytest.mark.parametrize(
    ("path", "subject"),
    [
        pytest.param("/v1/quota/a%2Fb%20c/tokens", "a/b c", id="slash and space"),
        pytest.param("/v1/quota/a/b/tokens", "a/b", id="a slash as it is"),
        pytest.param("/v1/quota/%C3%A9%0A/tokens", "é\n", id="a line feed at the end"),
    ],
)
def test_a_check_reads_its_subject_by_itself(sold: httpx2.Client, path: str, subject: str) -> None:
    answer = sold.get(path)
    assert (answer.status_code, answer.json()["subject"], answer.json()["feature"]) == (403, subject, "tokens")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/quota/acme", 404), ("GET", "/v1/quota/", 404), ("PUT", "/v1/quota/acme/tokens", 405)],
)
def test_what_is_no_check_goes_on_to_the_router(sold: httpx2.Client, method: str, path: str, status: int) -> None:
    assert sold.request(method, path).status_code == status


def test_a_fault_of_a_check_is_a_problem_document(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(engine.quota, "check_at_once", fails)
    with TestClient(create_app(engine.settings, engine=engine), raise_server_exceptions=False) as client:
        answer = client.get("/v1/quota/acme/tokens")
    is_documented(answer)
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:tallystick:problem:internal-server-error")
