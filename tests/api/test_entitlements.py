"""Grants, overrides and entitlements over HTTP: recorded once, obeyed by the next check, and shown."""

from copy import deepcopy
from typing import Any

import httpx2
import pytest

from tests.api.conftest import CATALOG
from tests.api.test_outbox import until
from tests.api.test_quota import ask, use

TOP_UP = {"id": "top-up", "feature": "tokens", "amount": "500", "effective_at": "2026-10-10T00:00:00Z"}


@pytest.fixture
def rich(sold: httpx2.Client) -> httpx2.Client:
    """The same with what a plan can say beside a monthly limit."""
    document = deepcopy(CATALOG)
    document["features"] |= {"sso": {}, "regions": {}, "calls": {"meter": "requests"}}
    document["plans"]["pro"]["entitlements"] |= {
        "sso": True,
        "regions": {"value": ["eu"]},
        "calls": {"limit": "3", "window": {"every": "24h"}, "thresholds": ["50%"]},
    }
    assert sold.put("/v1/catalog", json=document).status_code == 200
    return sold


def entitlements(client: httpx2.Client, **params: str) -> dict[str, Any]:
    answer = client.get("/v1/customers/acme/entitlements", params=params)
    assert answer.status_code == 200
    return {item["feature"]: item for item in answer.json()["items"]}


def test_a_top_up_is_obeyed_by_the_next_check_and_granted_once(sold: httpx2.Client) -> None:
    use(sold, "1", 2100)
    assert ask(sold).status_code == 429
    granted = sold.post("/v1/customers/acme/quota-grants", json=TOP_UP)
    assert granted.status_code == 201
    assert (ask(sold).json()["limit"], ask(sold).json()["remaining"]) == ("2500", "400")
    again = sold.post("/v1/customers/acme/quota-grants", json={**TOP_UP, "amount": "500.0"})
    assert (again.status_code, again.json()) == (201, granted.json())
    other = sold.post("/v1/customers/acme/quota-grants", json={**TOP_UP, "amount": "501"})
    assert other.status_code == 409
    listed = sold.get("/v1/customers/acme/quota-grants").json()
    assert (listed["items"], listed["next"]) == ([granted.json()], None)


def test_a_void_takes_what_is_left_of_a_grant(sold: httpx2.Client) -> None:
    assert sold.post("/v1/customers/acme/quota-grants", json=TOP_UP).status_code == 201
    voided = sold.post("/v1/quota-grants/top-up/void", json={})
    assert (voided.status_code, voided.json()["voided_at"]) == (200, "2026-10-15T12:00:00Z")
    assert ask(sold).json()["limit"] == "2000"
    assert sold.post("/v1/quota-grants/top-up/void", json={}).json() == voided.json()
    assert sold.post("/v1/quota-grants/top-up/void").json() == voided.json()
    assert sold.post("/v1/quota-grants/nothing/void", json={}).status_code == 404


@pytest.mark.parametrize(("changes", "says"), [
    ({"feature": "images"}, "no feature 'images'"),
    ({"feature": "calls"}, "shorter than a day"),
    ({"amount": "0"}, "above zero"),
    ({"expires_at": "2026-10-01T00:00:00Z"}, "not after it takes effect"),
    ({"rollover_minimum": "1"}, "needs rollover_maximum"),
    ({"recurs_from": "2026-10-01T00:00:00Z"}, "goes with recurs_every"),
])  # fmt: skip
def test_a_grant_that_contradicts_itself_is_refused(rich: httpx2.Client, changes: Any, says: str) -> None:
    answer = rich.post("/v1/customers/acme/quota-grants", json={**TOP_UP, **changes})
    assert answer.status_code == 422
    assert says in answer.text
    assert rich.get("/v1/customers/acme/quota-grants").json()["items"] == []


def test_an_override_stands_in_until_it_is_deleted(sold: httpx2.Client) -> None:
    path = "/v1/customers/acme/overrides/tokens"
    put = sold.put(path, json={"limit": "10", "reason": "trial"})
    assert (put.status_code, ask(sold).json()["limit"]) == (200, "10")
    assert sold.put(path, json={"limit": "10", "reason": "trial"}).json() == put.json()
    assert sold.put(path, json={"limit": None}).status_code == 200
    assert (ask(sold, "1000000").json()["reason"], ask(sold).status_code) == ("unlimited", 200)
    assert sold.delete(path).json()["ended_at"] == "2026-10-15T12:00:00Z"
    assert ask(sold).json()["limit"] == "2000"
    assert sold.delete(path).status_code == 404
    assert [one["limit"] for one in sold.get("/v1/customers/acme/overrides").json()["items"]] == ["10", None]


def test_a_window_shorter_than_a_day_takes_no_grants_from_an_override_either(sold: httpx2.Client) -> None:
    path, hourly = "/v1/customers/acme/overrides/tokens", {"limit": "7", "window": "hour"}
    assert sold.post("/v1/customers/acme/quota-grants", json=TOP_UP).status_code == 201
    refused = sold.put(path, json=hourly)
    assert (refused.status_code, "there is grant 'top-up'" in refused.json()["detail"]) == (422, True)
    assert sold.put(path, json={"limit": "7", "window": "day"}).status_code == 200
    assert sold.post("/v1/quota-grants/top-up/void").status_code == 200
    assert sold.put(path, json=hourly).status_code == 200
    refused = sold.post("/v1/customers/acme/quota-grants", json={**TOP_UP, "id": "again"})
    assert (refused.status_code, "an override counts 'tokens'" in refused.json()["detail"]) == (422, True)
    assert sold.delete(path).status_code == 200
    assert sold.post("/v1/customers/acme/quota-grants", json={**TOP_UP, "id": "again"}).status_code == 201


def test_a_subject_has_a_limit_of_its_own(sold: httpx2.Client) -> None:
    put = sold.put("/v1/customers/acme/overrides/tokens?subject=acme", json={"limit": "5", "window": "day"})
    assert put.json()["window"]["kind"] == "day"
    answer = ask(sold, "6").json()
    assert (answer["reason"], answer["scope"], answer["owner"]) == ("would_exceed", "key", "acme")
    assert sold.put("/v1/customers/acme/overrides/tokens?subject=b", json={"limit": "5"}).status_code == 422


@pytest.mark.parametrize(("feature", "body", "says"), [
    ("images", {"limit": "1"}, "no feature 'images'"),
    ("tokens", {}, "one of `limit`"),
    ("tokens", {"limit": "1", "included": True}, "one of `limit`"),
    ("tokens", {"included": True}, "write a `limit`"),
    ("tokens", {"limit": "1", "window": "decade"}, "choices"),
    ("tokens", {"limit": "1", "window": {"rolling": "1h"}}, "moves in steps"),
    ("tokens", {"limit": None, "enforcement": "soft"}, "without a limit"),
    ("sso", {"limit": "1"}, "has no meter"),
    ("regions", {"included": True}, "a value"),
])  # fmt: skip
def test_an_override_that_says_nothing_clear_is_refused(
    rich: httpx2.Client, feature: str, body: Any, says: str
) -> None:
    answer = rich.put(f"/v1/customers/acme/overrides/{feature}", json=body)
    assert answer.status_code in (400, 422)
    assert says in answer.text


def test_all_that_a_customer_is_entitled_to_is_shown(rich: httpx2.Client) -> None:
    use(rich, "1", 100)
    assert rich.post("/v1/customers/acme/quota-grants", json=TOP_UP).status_code == 201
    found = entitlements(rich)
    assert (found["sso"]["kind"], found["sso"]["value"], found["sso"]["allowed"]) == ("boolean", True, True)
    assert found["regions"]["value"] == ["eu"]
    assert (found["calls"]["limit"], found["calls"]["resets_at"]) == ("3", "2026-10-16T00:00:00Z")
    tokens = found["tokens"]
    assert (tokens["limit"], tokens["used"], tokens["next_grant"]) == ("2500", "100", None)
    assert tokens["grants"] == [{"id": None, "left": "1900"}, {"id": "top-up", "left": "500"}]
    before = entitlements(rich, at="2026-10-09T00:00:00Z")["tokens"]
    assert (before["limit"], before["used"]) == ("2000", "0")
    assert entitlements(rich, at="2025-10-09T00:00:00Z")["tokens"]["reason"] == "not_entitled"
    assert rich.get("/v1/customers/nobody/entitlements").status_code == 404
    late = rich.get("/v1/customers/acme/entitlements", params={"at": "8000-01-01T00:00:00Z"})
    assert (late.status_code, "before 2036" in late.text) == (422, True)


def test_what_is_there_or_not_is_answered_to_gateways(rich: httpx2.Client) -> None:
    assert (ask(rich, feature="sso").status_code, ask(rich, feature="regions").json()["value"]) == (200, ["eu"])
    assert rich.put("/v1/customers/acme/overrides/sso", json={"included": False}).status_code == 200
    assert ask(rich, feature="sso").status_code == 403


def test_levels_of_every_window_are_signals(rich: httpx2.Client) -> None:
    for number in range(3):
        use(rich, str(number), 1, time="2026-10-15T11:00:00Z")
    raised = rich.get("/v1/signals").json()["items"]
    assert [(s["type"], s["data"]["limit"], s["data"]["event"]["id"]) for s in raised] == [
        ("quota.threshold", "3", "1"),
        ("quota.exhausted", "3", "2"),
    ]


@pytest.mark.parametrize(("do", "status", "reason"), [
    ("suspend", 403, "suspended"),
    ({"allow_overage": "100"}, 200, "in_grace"),
    ({"restrict": "large"}, 200, "allowed"),
], ids=str)  # fmt: skip
def test_a_policy_turns_a_signal_into_a_state_that_checks_obey(
    sold: httpx2.Client, do: Any, status: int, reason: str
) -> None:
    document = deepcopy(CATALOG)
    document["plans"]["pro"]["policies"] = [{"on": "exhausted", "feature": "tokens", "do": do}]
    document["plans"]["large"] = {"currency": "USD", "entitlements": {"tokens": {"limit": "5000"}}}
    assert sold.put("/v1/catalog", json=document).status_code == 200
    use(sold, "1", 1999)
    assert ask(sold, "1").json()["reason"] == "allowed"
    use(sold, "2", 1)
    [signal] = [s for s in sold.get("/v1/signals").json()["items"] if s["type"] == "quota.exhausted"]
    until(lambda: ask(sold, "1").json()["reason"] == reason)  # the state is recorded with the signal, and obeyed then
    assert ask(sold, "1").status_code == status
    [state] = sold.get("/v1/customers/acme/states").json()["items"]
    assert (state["signal"], state["reason"]) == (signal["id"], "tokens reached 100% of 2000")
    assert state["until"] == "2026-11-01T00:00:00Z"
