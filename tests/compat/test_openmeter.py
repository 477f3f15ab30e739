"""OpenMeter's own client, unmodified, against a real server: it ingests, and reads what was metered."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from corehttp.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from openmeter import Client
from openmeter.models import Event

from tests.api.conftest import event as cloud_event
from tests.api.test_server import Server

OCTOBER = {"from_parameter": datetime(2026, 10, 1, tzinfo=UTC), "to": datetime(2026, 11, 1, tzinfo=UTC)}


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client(endpoint=server.url, token="not looked at", retry_total=0) as opened:
        yield opened


def event(key: object, subject: str, day: int = 10, hour: int = 10, **data: Any) -> Event:
    return Event(
        id=str(key),
        source="om",
        specversion="1.0",
        type="llm.request",
        subject=subject,
        time=datetime(2026, 10, day, hour, tzinfo=UTC),
        data={"model": "big", "input_tokens": 100, **data},
    )


def values(result: Any) -> list[tuple[Any, ...]]:
    return [(row.value, row.subject, dict(row.group_by)) for row in result.data]


def test_every_way_to_send_events_counts_each_once(client: Client, server: Server) -> None:
    """One, a batch with a repetition, plain JSON: 1 + 2 + 2 events of 100, each sent twice."""
    for _ in range(2):
        client.events.ingest_event(event("a-1", "ways"))
        client.events.ingest_events([event("a-2", "ways"), event("a-2", "ways"), event("a-3", "ways")])
        client.events.ingest_events_json([event("a-4", "ways")])
        client.events.ingest_events_json(event("a-5", "ways"))
    assert values(client.meters.query_json("tokens", subject=["ways"])) == [(500, "ways", {})]
    assert values(client.meters.query_json("requests", subject=["ways"])) == [(5, "ways", {})]


def test_a_compressed_body_is_taken(server: Server) -> None:
    body = gzip.compress(json.dumps([cloud_event("z-1", subject="zip")]).encode())
    headers = {"content-type": "application/cloudevents-batch+json", "content-encoding": "gzip"}
    assert server.ask("POST", "/api/v1/events", content=body, headers=headers).status_code == 204


def test_an_event_that_came_over_v1_is_the_same_event(client: Client, server: Server) -> None:
    sent = cloud_event("b-1", source="om", subject="both", data={"model": "big", "input_tokens": "100.0"})
    assert server.ask("POST", "/v1/events", json=sent).json()["accepted"] == 1
    client.events.ingest_event(event("b-1", "both"))
    assert values(client.meters.query_json("requests", subject=["both"])) == [(1, "both", {})]


def test_another_body_under_the_same_id_is_a_conflict_and_the_rest_of_the_batch_is_kept(client: Client) -> None:
    client.events.ingest_event(event("c-1", "conflict"))
    with pytest.raises(ResourceExistsError) as raised:
        client.events.ingest_events([event("c-1", "conflict", input_tokens=7), event("c-2", "conflict")])
    assert raised.value.response is not None
    assert "1 of 2 events are not kept; the others are. event 0 (conflict)" in raised.value.response.text()
    assert values(client.meters.query_json("tokens", subject=["conflict"])) == [(200, "conflict", {})]


def test_a_bad_event_is_named(client: Client) -> None:
    with pytest.raises(HttpResponseError) as raised:
        client.events.ingest_events([event("d-1", "bad", input_tokens="many"), event("d-2", "bad")])
    assert raised.value.status_code == 400
    model = raised.value.model
    assert model is not None
    assert [(e["index"], e["id"], e["code"]) for e in model["extensions"]["events"]] == [(0, "d-1", "not_a_number")]
    assert values(client.meters.query_json("requests", subject=["bad"])) == [(1, "bad", {})]


@pytest.fixture(scope="module")
def used(client: Client) -> Client:
    """Four events of `w1` and `w2`: 100 and 30 big on the 10th, 7.5 small on the 10th, 2 big on the 11th."""
    client.events.ingest_events(
        [
            event("w-1", "w1"),
            event("w-2", "w2", hour=23, input_tokens=30),
            event("w-3", "w1", hour=11, model="small", input_tokens="7.5"),
            event("w-4", "w1", day=11, input_tokens=2),
        ]
    )
    return client


TENTH, ELEVENTH = datetime(2026, 10, 10, tzinfo=UTC), datetime(2026, 10, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({}, [(109.5, "w1", {}), (30, "w2", {})], id="subjects that are asked for are told apart"),
        pytest.param({"window_size": "DAY"}, [(107.5, "w1", {}), (30, "w2", {}), (2, "w1", {})], id="days"),
        pytest.param(
            {"window_size": "DAY", "window_time_zone": "Europe/Madrid"},
            [(107.5, "w1", {}), (2, "w1", {}), (30, "w2", {})],
            id="days in Madrid: 23:00Z is the day after",
        ),
        pytest.param({"window_size": "MONTH"}, [(109.5, "w1", {}), (30, "w2", {})], id="months"),
        pytest.param(
            {"group_by": ["model"]},
            [(102, "w1", {"model": "big"}), (30, "w2", {"model": "big"}), (7.5, "w1", {"model": "small"})],
            id="by model",
        ),
        pytest.param({"filter_group_by": {"model": "small"}}, [(7.5, "w1", {})], id="only one model"),
        pytest.param({"to": ELEVENTH}, [(107.5, "w1", {}), (30, "w2", {})], id="up to an instant"),
        pytest.param({"filter_group_by": {"model": 'it\'s "none"'}}, [], id="no usage"),
    ],
)
def test_a_meter_is_queried(used: Client, asked: dict[str, Any], expected: list[Any]) -> None:
    result = used.meters.query_json("tokens", **{**OCTOBER, "subject": ["w1", "w2"], **asked})
    assert sorted(values(result), key=str) == sorted(expected, key=str)


def test_windows_have_their_ends_and_the_whole_period_its_own(used: Client) -> None:
    hours = used.meters.query_json("tokens", subject=["w2"], window_size="HOUR")
    assert [(row.window_start.hour, row.window_end.hour) for row in hours.data] == [(23, 0)]
    whole = used.meters.query_json("tokens", subject=["w1"], **OCTOBER)
    assert (whole.from_property, whole.to) == tuple(OCTOBER.values())
    assert (whole.data[0].window_start, whole.data[0].window_end) == tuple(OCTOBER.values())
    open_end = used.meters.query_json("tokens", subject=["w1"], from_parameter=ELEVENTH)
    assert (open_end.data[0].window_start, open_end.data[0].window_end) == (
        ELEVENTH,
        datetime(2026, 10, 11, 10, 1, tzinfo=UTC),
    )


def test_customers_are_told_apart(used: Client) -> None:
    used.events.ingest_event(event("o-1", "acme", input_tokens=40))
    owned = used.meters.query_json("tokens", filter_customer_id=["acme"], window_size="DAY")
    assert [(row.value, row.customer_id) for row in owned.data] == [(40, "acme")]


def test_the_question_may_be_in_the_body(used: Client) -> None:
    body = {"filterGroupBy": {"model": ["small", "none"]}, "subject": ["w1", "w2"], "groupBy": ["model"]}
    assert values(used.meters.query("tokens", body)) == [(7.5, "w1", {"model": "small"})]


def test_csv(used: Client) -> None:
    text = used.meters.query_csv("tokens", subject=["w1"], window_size="DAY", group_by=["model"])
    assert text.splitlines() == [
        "window_start,window_end,model,subject,value",
        "2026-10-10T00:00:00Z,2026-10-11T00:00:00Z,big,w1,100",
        "2026-10-10T00:00:00Z,2026-10-11T00:00:00Z,small,w1,7.5",
        "2026-10-11T00:00:00Z,2026-10-12T00:00:00Z,big,w1,2",
    ]
    assert used.meters.query_csv("tokens", subject=["nobody"]).splitlines() == ["window_start,window_end,subject,value"]
    assert used.meters.query_csv_post("requests").startswith("window_start,window_end,value\n")


def test_a_value_has_all_its_digits(client: Client, server: Server) -> None:
    """The client reads a float; what the server writes is exact."""
    client.events.ingest_event(event("x-1", "exact", input_tokens="123456789012345.123456789"))
    answer = server.ask("GET", "/api/v1/meters/tokens/query", params={"subject": "exact"})
    assert b'"value":123456789012345.123456789' in answer.content
    assert client.meters.query_json("tokens", subject=["exact"]).data[0].value == 123456789012345.123456789


def test_the_meters_of_the_catalog_are_listed(used: Client) -> None:
    tokens = used.meters.get("tokens")
    assert (tokens.slug, tokens.aggregation, tokens.event_type) == ("tokens", "SUM", "llm.request")
    assert (tokens.value_property, dict(tokens.group_by or {})) == ("$.input_tokens", {"model": "$.model"})
    assert [meter.slug for meter in used.meters.list()] == ["requests", "tokens"]
    assert [meter.slug for meter in used.meters.list(page=2, page_size=1, order="DESC")] == ["requests"]
    assert {"w1", "w2"} <= set(used.meters.list_subjects("tokens", **OCTOBER))
    assert used.meters.list_group_by_values("tokens", "model", **OCTOBER) == ["big", "small"]


def test_what_is_not_served_says_where_it_is(client: Client, server: Server) -> None:
    with pytest.raises(ResourceNotFoundError, match=r"meters come from the catalog file"):
        client.meters.delete("tokens")
    with pytest.raises(ResourceNotFoundError):
        client.meters.query_json("none")
    with pytest.raises(HttpResponseError, match="use filterGroupBy"):
        client.meters.query_json("tokens", advanced_meter_group_by_filters={"model": {"$eq": "big"}})
    answer = server.ask("GET", "/api/v1/customers/acme")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "/v1/customers/{key}" in answer.json()["detail"]


@pytest.mark.parametrize("text", ["model", "['big']", "{'model': 1}", "{" * 5000, "__import__('os')", "{'a': 'b'"])
def test_a_filter_that_is_no_mapping_is_refused(server: Server, text: str) -> None:
    answer = server.ask("GET", "/api/v1/meters/tokens/query", params={"filterGroupBy": text})
    assert answer.status_code == 422
    assert "filterGroupBy[model]=big" in answer.json()["detail"]


def test_filters_as_the_other_clients_write_them(used: Client, server: Server) -> None:
    params = {"subject": "w1", "filterGroupBy[model]": "small"}
    assert server.ask("GET", "/api/v1/meters/tokens/query", params=params).json()["data"][0]["value"] == 7.5


def test_events_are_listed_the_newest_first(client: Client, server: Server) -> None:
    assert server.ask("PUT", "/v1/customers/lister", json={"subjects": ["list-a", "list-b"]}).status_code == 200
    client.events.ingest_events([event(f"list-{day}", f"list-{'ab'[day % 2]}", day=day) for day in range(1, 5)])
    since = OCTOBER["from_parameter"]

    def ids(**question: Any) -> list[str]:
        found = client.events.list(**{"from_parameter": since, "subject": "list-", **question})
        return [one.event.id for one in found]

    assert ids() == ["list-4", "list-3", "list-2", "list-1"]
    assert ids(subject="list-a") == ["list-4", "list-2"]
    assert ids(id="list-3") == ["list-3"]
    assert ids(customer_id=["lister"], limit=1) == ["list-4"]
    assert ids(customer_id=["nobody"]) == []
    assert ids(to=datetime(2026, 10, 3, 10, tzinfo=UTC)) == ["list-3", "list-2", "list-1"]
    assert ids(ingested_at_to=datetime(2020, 1, 1, tzinfo=UTC)) == []
    [newest] = client.events.list(from_parameter=since, subject="list-", limit=1)
    assert (newest.customer_id, newest.event.data) == ("lister", {"model": "big", "input_tokens": 100})
    assert newest.event.time == datetime(2026, 10, 4, 10, tzinfo=UTC)
    assert newest.ingested_at == newest.stored_at
