"""Accepted events, listed the newest first, filtered, in pages, with exact digits."""

from typing import Any

import httpx2
import pytest

from api.engine import Engine
from tests.api.conftest import event
from tests.api.test_events import post


def listed(client: httpx2.Client, **parameters: Any) -> list[str]:
    answer = client.get("/v1/events", params=parameters)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


@pytest.fixture
def five(sold: httpx2.Client, engine: Engine) -> httpx2.Client:
    """Five events, of which two are in the usage table and three behind it."""
    post(sold, event("1", source="a"), event("2", subject="other", time="2026-10-12T10:00:00Z"))
    engine.log.flush()
    post(sold, event("3", type="other"), event("4", time="2026-10-11T10:00:00Z"))
    post(sold, event("5"), event("1", source="a"), event("6", time="soon"))
    return sold


def test_nothing_is_an_empty_page(client: httpx2.Client) -> None:
    assert client.get("/v1/events").json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("parameters", "ids"),
    [
        ({}, ["5", "4", "3", "2", "1"]),
        ({"source": "a"}, ["1"]),
        ({"id": "3"}, ["3"]),
        ({"type": "other"}, ["3"]),
        ({"subject": "other"}, ["2"]),
        ({"subject": "nobody"}, []),
        ({"from": "2026-10-11T00:00:00Z"}, ["4", "2"]),
        ({"from": "2026-10-11T10:00:00Z", "to": "2026-10-12T10:00:00Z"}, ["4"]),
        ({"source": "gateway", "limit": 2}, ["5", "4"]),
    ],
)
def test_what_is_listed(five: httpx2.Client, parameters: dict[str, Any], ids: list[str]) -> None:
    assert listed(five, **parameters) == ids


def test_pages_miss_nothing_while_events_come_in(five: httpx2.Client) -> None:
    seen: list[str] = []
    after = None
    while True:
        page = five.get("/v1/events", params={"limit": 2, **({"after": after} if after else {})}).json()
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
        post(five, event(f"later-{after}"))
    assert seen == ["5", "4", "3", "2", "1"]


def test_an_event_is_shown_with_every_digit_and_can_be_sent_again(sold: httpx2.Client) -> None:
    digits = "123456789012345.123456789"
    body = f"""[{{"id": "x", "source": "s", "type": "llm.request", "subject": "acme",
        "time": "2026-10-10T10:00:00+02:00",
        "data": {{"model": "big", "input_tokens": {digits}, "free": [1.50, "Zoë"]}}}}]"""
    headers = {"content-type": "application/json"}
    assert sold.post("/v1/events", content=body.encode(), headers=headers).json()["accepted"] == 1
    text = sold.get("/v1/events").text
    assert f'"data":{{"input_tokens":{digits},"model":"big","free":[1.50,"Zoë"]}}' in text
    item = sold.get("/v1/events").json()["items"][0]
    assert (item["sequence"], item["time"]) == (1, "2026-10-10T08:00:00Z")


@pytest.mark.parametrize("parameters", [{"limit": 0}, {"limit": 1001}, {"after": 0}, {"from": "soon"}])
def test_a_question_that_makes_no_sense_is_refused(sold: httpx2.Client, parameters: dict[str, Any]) -> None:
    assert sold.get("/v1/events", params=parameters).status_code == 422
    wrong = {"from": "2026-10-11T00:00:00Z", "to": "2026-10-11T00:00:00Z"}
    assert sold.get("/v1/events", params=wrong).status_code == 422
