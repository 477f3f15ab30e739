"""Lago's own client, unmodified, against a real server: it sends events, and is told in its own words."""

from typing import Any

import pytest
from lago_python_client.client import Client
from lago_python_client.exceptions import LagoApiError
from lago_python_client.models import BatchEvent, Event

from tests.api.test_server import Server

SECONDS = 1_791_626_400  # 2026-10-10T10:00:00Z


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(api_key="not looked at", api_url=server.url)


def event(key: object, subject: str = "sub", **changes: Any) -> Event:
    properties = {"model": "big", "input_tokens": 100}
    good = {"transaction_id": str(key), "external_subscription_id": subject, "code": "llm.request"}
    return Event(**{**good, "timestamp": SECONDS, "properties": properties, **changes})


def usage(server: Server, subject: str) -> tuple[str, int]:
    """What the meter `tokens` has of a subject: quantity and number of events."""
    items = server.ask("GET", "/v1/meters/tokens/usage", params={"subject": subject}).json()["items"]
    return (items[0]["quantity"], items[0]["events"]) if items else ("0", 0)


def test_an_event_is_counted_once_and_answered_in_lagos_shape(client: Client, server: Server) -> None:
    for _ in range(2):
        answer = client.events.create(event("a-1", "one", timestamp="1791626400.25", precise_total_amount_cents="12.5"))
        assert answer is not None
        assert (answer.transaction_id, answer.external_subscription_id) == ("a-1", "one")
        assert (answer.code, answer.timestamp) == ("llm.request", "2026-10-10T10:00:00.25Z")
        assert (answer.precise_total_amount_cents, answer.properties) == ("12.5", {"model": "big", "input_tokens": 100})
    assert usage(server, "one") == ("100", 1)


def test_a_batch(client: Client, server: Server) -> None:
    batch = BatchEvent(events=[event(f"b-{i}", "batch", properties={"input_tokens": f"{i}.5"}) for i in range(100)])
    for _ in range(2):
        client.events.batch_create(batch)
    assert usage(server, "batch") == ("5000", 100)  # 0.5 + 1.5 + ... + 99.5


def test_an_event_that_came_over_v1_is_the_same_event(client: Client, server: Server) -> None:
    """With the mapping of docs/migrating.md the digits after the point make no difference, nor does the order."""
    sent = {
        "specversion": "1.0",
        "id": "c-1",
        "source": "lago",
        "type": "llm.request",
        "subject": "both",
        "time": "2026-10-10T12:00:00.500+02:00",
        "data": {"input_tokens": "100.0", "precise_total_amount_cents": "7", "model": "big"},
    }
    assert server.ask("POST", "/v1/events", json=sent).json()["accepted"] == 1
    client.events.create(event("c-1", "both", timestamp=f"{SECONDS}.5", precise_total_amount_cents="7"))
    client.events.batch_create(
        BatchEvent(events=[event("c-1", "both", timestamp=f"{SECONDS}.5", precise_total_amount_cents="7")])
    )
    assert usage(server, "both") == ("100", 1)


def test_without_a_timestamp_an_event_happens_now(client: Client, server: Server) -> None:
    for _ in range(2):
        client.events.create(event("d-1", "now", timestamp=None, properties=None))
    items = server.ask("GET", "/v1/meters/requests/usage", params={"subject": "now"}).json()["items"]
    assert items[0]["events"] == 1


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        pytest.param({"properties": {"input_tokens": 1}}, {"transaction_id": ["value_already_exist"]}, id="a conflict"),
        pytest.param({"transaction_id": ""}, {"transaction_id": ["value_is_mandatory"]}, id="no id"),
        pytest.param({"code": ""}, {"code": ["value_is_mandatory"]}, id="no code"),
        pytest.param(
            {"external_subscription_id": ""}, {"external_subscription_id": ["value_is_mandatory"]}, id="no subscription"
        ),
        pytest.param({"timestamp": "yesterday"}, {"timestamp": ["invalid_format"]}, id="no timestamp"),
        pytest.param({"timestamp": SECONDS * 1000}, {"timestamp": ["invalid_format"]}, id="milliseconds"),
        pytest.param({"timestamp": SECONDS * 10}, {"timestamp": ["time_in_future"]}, id="the year 2537"),
        pytest.param({"properties": {"input_tokens": "x"}}, {"event": ["not_a_number"]}, id="no number"),
    ],
)
def test_what_is_wrong_is_told_in_lagos_words(client: Client, changes: dict[str, Any], details: dict[str, Any]) -> None:
    client.events.create(event("e-1", "wrong"))
    bad = event(**{"key": "e-1" if "value_already_exist" in str(details) else "e-2", "subject": "wrong", **changes})
    with pytest.raises(LagoApiError) as raised:
        client.events.create(bad)
    assert raised.value.status_code == 422
    assert raised.value.response["code"] == "validation_errors"
    assert raised.value.response["error_details"] == details
    with pytest.raises(LagoApiError) as raised:
        client.events.batch_create(BatchEvent(events=[event("e-1", "wrong"), bad]))
    assert raised.value.response["error_details"] == {"1": details}


def test_the_good_events_of_a_batch_are_kept_and_the_whole_can_be_sent_again(client: Client, server: Server) -> None:
    events = [event(f"f-{i}", "part") for i in range(3)]
    wrong = event("f-3", "part", properties={"input_tokens": "NaN"})
    with pytest.raises(LagoApiError):
        client.events.batch_create(BatchEvent(events=[*events, wrong]))
    assert usage(server, "part") == ("300", 3)
    client.events.batch_create(BatchEvent(events=[*events, event("f-3", "part")]))
    assert usage(server, "part") == ("400", 4)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        pytest.param("events", b'{"event": 5}', 400, id="an event that is no object"),
        pytest.param("events", b'{"event": {}', 400, id="cut"),
        pytest.param("events/batch", b"[]", 400, id="no object"),
        pytest.param("events/batch", b'{"events": []}', 422, id="no events"),
        pytest.param("events/batch", b'{"events": [' + b"{}," * 100_000 + b"{}]}", 422, id="too many events"),
        pytest.param("events/batch", b'{"events": [{"properties": ' + b"[" * 100_000 + b"]}", 400, id="deep"),
        pytest.param("events/batch", b'{"events": [{"transaction_id": "\xff"}]}', 400, id="not UTF-8"),
        pytest.param("events/batch", b" " * (9 << 20), 413, id="too large"),
    ],
)
def test_a_body_that_is_nothing_is_refused(server: Server, path: str, body: bytes, status: int) -> None:
    answer = server.ask("POST", f"/api/v1/{path}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status


@pytest.mark.parametrize("properties", [5, "x", [1], {"a": 1}])
def test_an_event_of_the_wrong_types_is_refused_alone(server: Server, properties: Any) -> None:
    odd = {"transaction_id": 5, "external_customer_id": "odd", "code": [], "properties": properties}
    good = {"transaction_id": f"h-{properties}", "external_customer_id": "odd", "code": "llm.request"}
    with_amount = {**odd, "precise_total_amount_cents": "1"}
    answer = server.ask("POST", "/api/v1/events/batch", json={"events": [odd, good, with_amount]})
    assert answer.status_code == 422
    assert answer.json()["error_details"].keys() == {"0", "2"}


def test_what_is_not_served_says_where_it_is(client: Client) -> None:
    with pytest.raises(LagoApiError) as raised:
        client.billable_metrics.find_all()
    assert raised.value.status_code == 404
    assert "the meters of the catalog file" in raised.value.response["detail"]
