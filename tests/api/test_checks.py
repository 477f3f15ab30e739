"""Leaks over HTTP: every kind is found, with what is at stake, without a run having been made."""

from typing import Any

import httpx2
import pytest

from tests.api.conftest import event
from tests.api.test_events import post


def found(client: httpx2.Client, period: str = "2026-10", **params: Any) -> dict[str, Any]:
    answer = client.get("/v1/checks", params={"period": period, **params})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def of_kind(told: dict[str, Any], kind: str) -> dict[str, Any]:
    (one,) = [check for check in told["checks"] if check["kind"] == kind]
    return dict(one)


def tokens(event_id: str, month: int, count: int, **changes: Any) -> dict[str, Any]:
    data = {"model": "big", "input_tokens": count}
    return event(event_id, time=f"2026-{month:02d}-10T10:00:00Z", data=data, **changes)


@pytest.fixture
def steady(sold: httpx2.Client) -> httpx2.Client:
    """`acme` uses 300 tokens in each of six months, and in October."""
    post(sold, *[tokens(str(month), month, 300) for month in range(4, 11)])
    return sold


def test_nothing_leaks_where_all_is_as_ever(steady: httpx2.Client) -> None:
    told = found(steady)
    assert told["found"] == 0
    assert [check["found"] for check in told["checks"]] == [0] * 7
    assert told["until"] == "2026-10-15T12:00:00Z", "as far as the month is over"
    assert steady.get("/v1/rating-runs").json()["items"] == []


def test_events_without_a_meter_a_price_or_a_subscription(steady: httpx2.Client) -> None:
    typo = event("typo", type="lm.request")
    small = event("small", data={"model": "small", "input_tokens": 9})
    stranger = event("stranger", subject="x")
    post(steady, typo, small, stranger)
    told = found(steady)
    assert told["found"] == 3
    assert of_kind(told, "unmetered")["items"] == [
        {
            "kind": "unmetered",
            "type": "lm.request",
            "events": 1,
            "first": "2026-10-10T10:00:00Z",
            "last": "2026-10-10T10:00:00Z",
        }
    ]
    [unpriced] = of_kind(told, "unpriced")["items"]
    assert (unpriced["plan"], unpriced["meter"], unpriced["group"]) == ("pro", "tokens", '{"model":"small"}')
    assert (unpriced["quantity"], unpriced["events"]) == ("9", 1)
    [unsubscribed] = [it for it in of_kind(told, "unsubscribed")["items"] if it["subject"] == "x"]
    assert "amount" not in unsubscribed, "nobody knows what a stranger would pay"


def test_usage_before_a_subscription_is_worth_what_it_would_have_brought(steady: httpx2.Client) -> None:
    """1,500 tokens: 1,000 x 2.50 / 1,000 + 500 x 1 / 1,000 = 3.00."""
    steady.put("/v1/customers/late", json={})
    terms = {"customer": "late", "plan": "pro", "starts_at": "2026-10-12T00:00:00Z"}
    assert steady.put("/v1/subscriptions/late-pro", json=terms).status_code == 200
    post(steady, tokens("l", 10, 1500, subject="late"))
    unsubscribed = of_kind(found(steady), "unsubscribed")
    assert unsubscribed["at_stake"] == [{"currency": "USD", "amount": "3"}]
    [item] = unsubscribed["items"]
    assert (item["customer"], item["subject"], item["events"], item["amount"]) == ("late", "late", 1, "3")


def test_a_customer_that_stopped_is_idle_and_a_drop(sold: httpx2.Client) -> None:
    """300 tokens at 2.50 for 1,000 were 0.75 in September."""
    post(sold, *[tokens(str(month), month, 300) for month in range(4, 10)])
    told = found(sold)
    [idle] = of_kind(told, "idle")["items"]
    assert (idle["customer"], idle["subscription"], idle["amount"]) == ("acme", "acme-pro", "0.75")
    [drop, events] = of_kind(told, "drop")["items"]
    assert (drop["meter"], drop["quantity"], drop["expected"], drop["amount"]) == ("tokens", "0", "300", "0.75")
    assert (events["meter"], "amount" in events) == ("requests", False), "no price counts requests"
    assert of_kind(told, "drop")["do"]


def test_a_spike_beside_its_history_and_other_rules(steady: httpx2.Client) -> None:
    """900 are 600 more than 300; 900 at 2.50 for 1,000."""
    post(steady, tokens("more", 10, 600))
    [spike] = of_kind(found(steady), "spike")["items"]
    assert (spike["quantity"], spike["expected"], spike["amount"], spike["months"]) == ("900", "300", "1.5", 6)
    assert found(steady, spike="3")["found"] == 0
    few = found(steady, months=2, months_min=2)
    assert [item["months"] for item in of_kind(few, "spike")["items"]] == [2]


def test_a_customer_with_too_little_history_is_said_to_have_too_little(sold: httpx2.Client) -> None:
    post(sold, tokens("9", 9, 300), tokens("10", 10, 3000))
    told = found(sold)
    assert told["found"] == 0
    assert told["too_little_history"]["found"] == 2
    assert {item["meter"] for item in told["too_little_history"]["items"]} == {"tokens", "requests"}


def test_the_largest_are_shown_and_all_are_counted(steady: httpx2.Client) -> None:
    post(steady, *[event(f"{i}-{j}", subject=f"stranger{i}") for i in range(3) for j in range(i + 1)])
    unsubscribed = of_kind(found(steady, limit=1), "unsubscribed")
    assert (unsubscribed["found"], unsubscribed["events"]) == (3, 6)
    assert [(item["subject"], item["events"]) for item in unsubscribed["items"]] == [("stranger2", 3)]


def test_an_event_that_no_filter_lets_through(steady: httpx2.Client) -> None:
    catalog = steady.get("/v1/catalog").json()["document"]
    catalog["meters"]["tokens"]["filters"] = [{"property": "model", "in": ["big"]}]
    del catalog["meters"]["requests"]
    assert steady.put("/v1/catalog", json=catalog).status_code == 200
    post(steady, event("other", data={"model": "small", "input_tokens": 5}))
    [uncounted] = of_kind(found(steady), "uncounted")["items"]
    assert (uncounted["type"], uncounted["events"]) == ("llm.request", 1)


@pytest.mark.parametrize(
    "params",
    [
        {"period": "2026-13"},
        {"period": "2026-10", "drop": "1"},
        {"period": "2026-10", "spike": "1"},
        {"period": "2026-10", "months": 2, "months_min": 3},
        {"period": "2026-10", "deviations": "-1"},
        {},
    ],
)
def test_what_makes_no_sense_is_refused(sold: httpx2.Client, params: dict[str, Any]) -> None:
    assert sold.get("/v1/checks", params=params).status_code == 422


def test_without_a_catalog_there_is_nothing_to_check_by(client: httpx2.Client) -> None:
    assert client.get("/v1/checks", params={"period": "2026-10"}).status_code == 422
