"""Customers and subscriptions over HTTP."""

from typing import Any
from urllib.parse import quote

import httpx2
import pytest


def test_a_customer_has_its_key_as_name_and_subject_unless_it_says_otherwise(client: httpx2.Client) -> None:
    plain = client.put("/v1/customers/acme", json={}).json()
    assert (plain["name"], plain["subjects"], plain["time_zone"]) == ("acme", ["acme"], "UTC")
    given = {"name": "Acme", "subjects": ["k1", "k2"], "time_zone": "Europe/Madrid"}
    assert client.put("/v1/customers/acme", json=given).json() == {
        **given,
        "key": "acme",
        "parent": None,
        "created_at": "2026-10-15T12:00:00Z",
    }
    assert client.get("/v1/customers/acme").json()["name"] == "Acme"


@pytest.mark.parametrize(
    "key", ["a/b", "#en.wikipedia", "x y", "Ünïcode", "a'; DROP TABLE customers; --", "..", "100%"]
)
def test_any_text_is_a_key(client: httpx2.Client, key: str) -> None:
    path = f"/v1/customers/{quote(key, safe='')}"
    if key == "..":
        assert client.post("/v1/customers", json=[{"key": key}]).json() == {"stored": 1}
    else:
        assert client.put(path, json={}).json()["key"] == key
        assert client.get(path).json()["subjects"] == [key]
    assert [c["key"] for c in client.get("/v1/customers").json()["items"]] == [key]


def test_a_list_is_read_in_pages(client: httpx2.Client) -> None:
    assert client.post("/v1/customers", json=[{"key": f"c{i:02}"} for i in range(25)]).json() == {"stored": 25}
    seen: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = client.get("/v1/customers", params={"limit": 10, **after}).json()
        seen += [customer["key"] for customer in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == [f"c{i:02}" for i in range(25)]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        pytest.param([{"key": "b", "subjects": ["acme"]}], 409, "belongs to customer 'acme'", id="another's subject"),
        pytest.param([{"key": "b", "time_zone": "Nowhere/X"}], 422, "no IANA time zone", id="an unknown time zone"),
        pytest.param([{"key": "b"}, {"key": "b"}], 422, "given 2 times", id="the same key twice"),
        pytest.param([{"key": "b", "nmae": "x"}], 422, "nmae", id="an unknown field"),
        pytest.param([{"key": ""}], 422, "at least 1", id="an empty key"),
        pytest.param([{"key": "a\nb"}], 422, "pattern", id="a control character in a key"),
        pytest.param([{"key": "b" * 257}], 422, "256", id="a key that is too long"),
        pytest.param({"key": "b"}, 422, "list", id="no list"),
        pytest.param([{"key": 5}], 422, "string", id="a number as key"),
    ],
)
def test_a_refused_customer_changes_nothing(sold: httpx2.Client, body: Any, status: int, says: str) -> None:
    answer = sold.post("/v1/customers", json=body)
    assert answer.status_code == status
    assert says in answer.json()["detail"]
    assert [c["key"] for c in sold.get("/v1/customers").json()["items"]] == ["acme"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"customer": "nobody"}, "no customer 'nobody'", id="an unknown customer"),
        pytest.param({"plan": "gold"}, "no plan 'gold'; its plans are free, pro", id="an unknown plan"),
        pytest.param({"ends_at": "2026-01-01T00:00:00Z"}, "not after its start", id="an empty term"),
        pytest.param({"starts_at": "2026-01-01T00:00:00"}, "timezone", id="a start without a zone"),
        pytest.param({"starts_at": "yesterday"}, "starts_at", id="a start that is no instant"),
        pytest.param({"price": "x"}, "price", id="an unknown field"),
    ],
)
def test_a_subscription_that_cannot_be_billed_is_refused(
    sold: httpx2.Client, changes: dict[str, Any], says: str
) -> None:
    good = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
    answer = sold.put("/v1/subscriptions/new", json={**good, **changes})
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert sold.get("/v1/subscriptions/new").status_code == 404


def test_subscriptions_are_listed_by_customer(sold: httpx2.Client) -> None:
    sold.put("/v1/customers/b", json={})
    term = {"plan": "free", "starts_at": "2026-03-01T01:00:00+01:00"}
    assert sold.post("/v1/subscriptions", json=[{"key": "b-free", "customer": "b", **term}]).json() == {"stored": 1}
    assert len(sold.get("/v1/subscriptions").json()["items"]) == 2
    [found] = sold.get("/v1/subscriptions", params={"customer": "b"}).json()["items"]
    assert (
        found.items()
        >= {
            "key": "b-free",
            "customer": "b",
            "plan": "free",
            "starts_at": "2026-03-01T00:00:00Z",
            "ends_at": None,
        }.items()
    )


@pytest.mark.parametrize("path", ["/v1/customers/x", "/v1/subscriptions/x", "/v1/nothing", "/v2/customers"])
def test_what_is_not_there_is_a_problem_document(client: httpx2.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "Not Found"
