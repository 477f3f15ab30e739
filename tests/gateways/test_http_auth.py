"""The question of a gateway over HTTP, from header fields and from the address, and what is answered."""

from decimal import Decimal
from typing import Any

import httpx2
import pytest

from api.gateways.http_auth import GatewayQuestion, question_of
from store.errors import Refused
from tests.gateways.conftest import Quotas

ACME = {"X-Tallystick-Subject": "acme", "X-Tallystick-Feature": "requests"}


def scope(query: str, *headers: tuple[str, str]) -> dict[str, Any]:
    sent = [(name.lower().encode(), value.encode()) for name, value in headers]
    return {"query_string": query.encode(), "headers": sent}


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        pytest.param("", ACME.items(), ("acme", "requests", "1", None), id="header fields, an amount of 1"),
        pytest.param("subject=a%2Fb&feature=f&amount=2.5", (), ("a/b", "f", "2.5", None), id="address"),
        pytest.param(
            "feature=requests&deny=403", [("X-Tallystick-Subject", "é")], ("é", "requests", "1", 403), id="both"
        ),
        pytest.param("subject=&feature=f", (), ("", "f", "1", None), id="nobody"),
        pytest.param("feature=f", [("X-Tallystick-Feature", "f")], ("", "f", "1", None), id="the same twice"),
    ],
)
def test_question(query: str, headers: Any, expected: tuple[str, str, str, int | None]) -> None:
    subject, feature, amount, deny = expected
    assert question_of(scope(query, *headers), is_ours=True) == GatewayQuestion(subject, feature, Decimal(amount), deny)


def test_the_query_of_a_client_is_not_read() -> None:
    asked = question_of(scope("subject=other&feature=none&amount=0&deny=200", *ACME.items()), is_ours=False)
    assert asked == GatewayQuestion("acme", "requests", Decimal(1), None)


@pytest.mark.parametrize(
    ("query", "headers", "says"),
    [
        pytest.param("subject=a", (), "for which feature", id="no feature"),
        pytest.param("subject=a&feature=f&amount=-1", (), "-1", id="no amount"),
        pytest.param("subject=a&feature=f&deny=200", (), "200", id="a refusal must be one"),
        pytest.param("subject=a&feature=f", [("X-Tallystick-Subject", "b")], "as a and as b", id="a forged field"),
        pytest.param("subject=&feature=f", [("X-Tallystick-Subject", "b")], "as  and as b", id="forged for nobody"),
        pytest.param("feature=f", [("X-Tallystick-Subject", s) for s in "ab"], "as a and as b", id="a field twice"),
        pytest.param("feature=f&feature=g", (), "as f and as g", id="a parameter twice"),
    ],
)
def test_what_is_unclear_or_forged_is_refused(query: str, headers: Any, says: str) -> None:
    with pytest.raises(Refused, match=says):
        question_of(scope(query, *headers), is_ours=True)


def test_answers_say_all_that_a_gateway_can_pass_on(quotas: Quotas) -> None:
    with httpx2.Client(base_url=f"{quotas.url}/v1/gateways", headers=ACME) as client:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
            for path in ("/auth", "/auth/", "/auth/some/path?subject=other"):
                allowed = client.request(method, path)
                assert (allowed.status_code, allowed.content) == (200, b"")
                assert (allowed.headers["x-quota-status"], allowed.headers["x-quota-reason"]) == ("200", "allowed")
                assert allowed.headers["ratelimit"] == '"requests";r=2000;t=1425600'
        quotas.use("1", 2000)
        for path, status in {"/auth": 429, "/auth?deny=403": 403}.items():
            refused = client.get(path)
            assert refused.status_code == status
            assert (refused.headers["x-quota-status"], refused.headers["x-quota-reason"]) == ("429", "exhausted")
            assert refused.headers["retry-after"] == "1425600"
            assert refused.json()["type"] == "urn:tallystick:problem:quota-exhausted"
            assert refused.json()["detail"].startswith("2000 used of 2000")
        assert client.get("/auth?amount=2001").headers["x-quota-status"] == "402"
        assert client.get("/auth", headers={"x-tallystick-subject": ""}).status_code == 403
        assert client.get("/auth", headers={"x-tallystick-feature": ""}).status_code == 422
