"""Closing: what is due is billed once, and what comes later is found and posted as what it changes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import polars as pl
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import event, is_documented
from tests.api.test_corrections import correct, void
from tests.api.test_events import post
from tests.api.test_rating import lines_of

CATALOG: dict[str, Any] = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": {"tokens": {"event_type": "llm.request", "aggregation": "sum", "property": "input_tokens"}},
    "prices": {
        "tokens": {"meter": "tokens", "currency": "USD", "model": "per_unit", "versions": [{"unit_amount": "0.01"}]},
        "fee": {"currency": "USD", "model": "flat", "prorate": "days", "versions": [{"amount": "30"}]},
        "dear": {"meter": "tokens", "currency": "USD", "model": "per_unit", "versions": [{"unit_amount": "1000000"}]},
        "big_fee": {"currency": "USD", "model": "flat", "prorate": "days", "versions": [{"amount": "60"}]},
    },
    "plans": {
        "pro": {"currency": "USD", "prices": ["fee", "tokens"]},
        "dear": {"currency": "USD", "prices": ["dear"]},
        "big": {"currency": "USD", "prices": ["big_fee", "tokens"]},
    },
    "closing": {"grace_hours": 12},
}


class Clock:
    """The time that the engine sees."""

    def __init__(self) -> None:
        self.at = datetime(2026, 9, 1, 0, 0, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def set(self, text: str) -> None:
        self.at = datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(settings: Settings, clock: Clock) -> Iterator[Engine]:
    opened = Engine.open(settings, now=clock)
    yield opened
    opened.close()


@pytest.fixture
def client(settings: Settings, engine: Engine) -> Iterator[httpx2.Client]:
    with TestClient(create_app(settings, engine=engine), raise_server_exceptions=False) as opened:
        opened.event_hooks["response"].append(is_documented)
        put(opened, "/v1/catalog", CATALOG)
        put(opened, "/v1/customers/acme", {})
        put(opened, "/v1/subscriptions/s", {"customer": "acme", "plan": "pro", "starts_at": "2026-09-01T00:00:00Z"})
        yield opened


def put(client: httpx2.Client, path: str, body: dict[str, Any]) -> None:
    answer = client.put(path, json=body)
    assert answer.status_code == 200, answer.text


def used(client: httpx2.Client, key: str, time: str, tokens: int) -> None:
    post(client, event(key, time=time, data={"input_tokens": tokens}))


def close(client: httpx2.Client, status: int = 201, **options: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/rating-runs", json={"due": True, **options})
    assert answer.status_code == status, answer.text
    runs: list[dict[str, Any]] = answer.json()["runs"]
    return runs


def billed(client: httpx2.Client, run: dict[str, Any]) -> list[tuple[str, str, str, Decimal]]:
    """Kind, price, period and rounded amount of each line."""
    found = lines_of(client, run)
    return sorted((one["kind"], one["price"], one["period"], Decimal(one["rounded_amount"])) for one in found)


def test_usage_is_billed_when_its_period_is_over_and_fees_in_advance(client: httpx2.Client, clock: Clock) -> None:
    clock.set("2026-09-10T00:00:00")
    used(client, "1", "2026-09-05T00:00:00Z", 500)
    (first,) = close(client)
    assert first["kind"] == "final"
    assert billed(client, first) == [("fee", "fee", "2026-09", Decimal(30))]
    assert close(client, 200) == []  # nothing is due
    clock.set("2026-10-01T06:00:00")
    assert close(client, 200) == []  # the grace is not over
    used(client, "2", "2026-09-30T23:00:00Z", 100)
    clock.set("2026-10-01T13:00:00")
    *_, run = close(client)
    assert billed(client, run) == [
        ("fee", "fee", "2026-10", Decimal(30)),
        ("usage", "tokens", "2026-09", Decimal(6)),
    ]
    assert run["report"]["periods"] == {"closed": 1, "rated_again": 0}
    assert run["report"]["next_due"] == "2026-11-01T00:00:00+00:00"


def month_closed(client: httpx2.Client, clock: Clock) -> None:
    """September with 500 tokens, and October's fee."""
    clock.set("2026-09-10T00:00:00")
    used(client, "1", "2026-09-05T00:00:00Z", 500)
    clock.set("2026-10-02T00:00:00")
    close(client)


def test_late_usage_is_posted_with_the_next_close_as_an_adjustment(client: httpx2.Client, clock: Clock) -> None:
    month_closed(client, clock)
    clock.set("2026-10-06T00:00:00")
    used(client, "late", "2026-09-20T00:00:00Z", 250)
    used(client, "now", "2026-10-05T00:00:00Z", 100)
    clock.set("2026-11-02T00:00:00")
    *_, run = close(client)
    assert billed(client, run) == [
        ("adjustment", "tokens", "2026-09", Decimal("2.50")),
        ("fee", "fee", "2026-11", Decimal(30)),
        ("usage", "tokens", "2026-10", Decimal(1)),
    ]
    (adjustment,) = [one for one in lines_of(client, run) if one["kind"] == "adjustment"]
    explained = client.get(f"/v1/charge-lines/{adjustment['line']}/explain").json()
    assert "750 instead of 500" in str(explained["steps"])
    adjusted = client.get(f"/v1/charge-lines/{adjustment['adjusts']}/explain").json()
    assert (adjusted["line"], adjusted["period"]) == (adjustment["adjusts"], "2026-09")
    assert Decimal(adjusted["rounded_amount"]) == 5


def test_a_void_takes_back_what_was_billed(client: httpx2.Client, clock: Clock) -> None:
    month_closed(client, clock)
    assert correct(client, void("1")).json()["accepted"] == 1
    clock.set("2026-11-02T00:00:00")
    *_, run = close(client)
    assert ("adjustment", "tokens", "2026-09", Decimal(-5)) in billed(client, run)
    clock.set("2026-12-02T00:00:00")
    *_, after = close(client)
    assert not [line for line in billed(client, after) if line[0] == "adjustment"]  # once


def test_an_upgrade_takes_back_the_rest_of_the_fee_and_charges_the_new_one(client: httpx2.Client, clock: Clock) -> None:
    """September has 30 days: 10 of them at 30, 20 at 60: -30 + 10 + 40."""
    clock.set("2026-09-01T13:00:00")
    close(client)
    clock.set("2026-09-11T00:00:00")
    change = {"at": "2026-09-11T00:00:00Z", "plan": "big"}
    assert client.post("/v1/subscriptions/s/changes", json=change).status_code in (200, 201)
    clock.set("2026-10-02T00:00:00")
    runs = close(client)
    lines = [line for run in runs for line in billed(client, run) if line[2] == "2026-09"]
    assert sorted(lines) == [("adjustment", "fee", "2026-09", Decimal(-20)), ("fee", "big_fee", "2026-09", Decimal(40))]


@pytest.mark.parametrize("recorded", ["2026-09-11T00:00:00", "2026-11-20T00:00:00"], ids=["at once", "backdated"])
def test_another_cycle_closes_the_period_that_it_cuts(client: httpx2.Client, clock: Clock, recorded: str) -> None:
    """From months to weeks on 11 September, a Friday: 10 days of the month, 3 of a week, and weeks from the 14th on."""
    clock.set("2026-09-10T00:00:00")
    used(client, "1", "2026-09-05T00:00:00Z", 500)
    close(client)
    clock.set(recorded)
    if recorded > "2026-10":
        close(client)
    change = {"at": "2026-09-11T00:00:00Z", "cycle": {"interval": "week"}}
    assert client.post("/v1/subscriptions/s/changes", json=change).status_code == 201
    clock.set("2026-12-02T00:00:00")
    used(client, "2", "2026-09-12T00:00:00Z", 100)
    close(client)
    sums: dict[tuple[str, str], Decimal] = {}
    for run in client.get("/v1/rating-runs").json()["items"]:
        for _, price, period, amount in billed(client, run):
            sums[price, period] = sums.get((price, period), Decimal(0)) + amount
    assert {key: amount for key, amount in sums.items() if key[1] < "2026-09-21" and amount} == {
        ("fee", "2026-09-01/2026-09-11"): Decimal(10),
        ("tokens", "2026-09-01/2026-09-11"): Decimal(5),
        ("fee", "2026-09-11/2026-09-14"): Decimal("12.86"),  # 30 x 3/7
        ("tokens", "2026-09-11/2026-09-14"): Decimal(1),
        ("fee", "2026-09-14/2026-09-21"): Decimal(30),
    }
    assert not any(amount for key, amount in sums.items() if "/" not in key[1])  # months are given back whole
    for run in client.get("/v1/rating-runs").json()["items"]:
        assert client.post(f"/v1/rating-runs/{run['id']}/verify").json()["result"] == "equal"


def test_backdated_changes_of_closed_periods_are_posted(client: httpx2.Client, clock: Clock) -> None:
    month_closed(client, clock)
    assert client.post(
        "/v1/subscriptions/s/changes", json={"at": "2026-09-16T00:00:00Z", "state": "ended"}
    ).status_code in (200, 201)
    clock.set("2026-11-02T00:00:00")
    (run,) = [one for one in close(client) if one["report"]["lines"]]
    assert billed(client, run) == [
        ("adjustment", "fee", "2026-09", Decimal(-15)),
        ("adjustment", "fee", "2026-10", Decimal(-30)),
    ]


def test_backdated_prices_are_posted_and_later_ones_are_not(client: httpx2.Client, clock: Clock) -> None:
    month_closed(client, clock)
    price = {**CATALOG["prices"]["tokens"]}
    price["versions"] = [{"unit_amount": "0.01"}, {"effective_from": "2026-12-01T00:00:00Z", "unit_amount": "9"}]
    put(client, "/v1/catalog", {**CATALOG, "prices": {**CATALOG["prices"], "tokens": price}})
    clock.set("2026-11-02T00:00:00")
    *_, later = close(client)
    assert later["report"]["periods"]["rated_again"] == 0
    price["versions"] = [{"unit_amount": "0.01"}, {"effective_from": "2026-09-03T00:00:00Z", "unit_amount": "0.02"}]
    put(client, "/v1/catalog", {**CATALOG, "prices": {**CATALOG["prices"], "tokens": price}})
    clock.set("2026-12-02T00:00:00")
    *_, run = close(client)
    usage = [line for line in billed(client, run) if line[1] == "tokens"]
    assert sum(line[3] for line in usage) == 5  # 500 x 0.02 - 500 x 0.01, as another version's line
    assert {line[2] for line in usage} == {"2026-09"}


def test_a_document_takes_what_is_restated_where_the_rule_says_so(client: httpx2.Client, clock: Clock) -> None:
    put(client, "/v1/catalog", {**CATALOG, "closing": {"grace_hours": 12, "late": "document"}})
    month_closed(client, clock)
    used(client, "late", "2026-09-20T00:00:00Z", 250)
    clock.set("2026-11-02T00:00:00")
    *_, run = close(client)
    assert {line[0] for line in billed(client, run)} == {"fee"}
    runs = client.get("/v1/rating-runs").json()["items"]
    (document,) = [one for one in runs if one["kind"] == "restatement"]
    assert billed(client, document) == [("adjustment", "tokens", "2026-09", Decimal("2.50"))]
    for one in (run, document):
        assert client.post(f"/v1/rating-runs/{one['id']}/verify").json()["result"] == "equal"


def test_a_draft_closes_nothing_before_it_is_final(client: httpx2.Client, clock: Clock) -> None:
    clock.set("2026-09-10T00:00:00")
    (draft,) = close(client, draft=True)
    assert draft["kind"] == "draft"
    (again,) = close(client, draft=True)
    assert again["digest"] == draft["digest"]
    assert client.post(f"/v1/rating-runs/{draft['id']}/finalize").json()["kind"] == "final"
    assert client.post(f"/v1/rating-runs/{again['id']}/finalize").status_code == 422
    assert close(client, 200) == []


def test_a_dry_run_keeps_nothing(client: httpx2.Client, clock: Clock) -> None:
    clock.set("2026-09-10T00:00:00")
    answer = client.post("/v1/rating-runs", json={"due": True, "dry_run": True})
    assert answer.status_code == 200
    assert answer.json()["would"][0]["report"]["lines"] == 1
    assert client.get("/v1/rating-runs").json()["items"] == []


def test_every_close_is_verified_and_its_events_are_found(client: httpx2.Client, clock: Clock) -> None:
    month_closed(client, clock)
    used(client, "late", "2026-09-20T00:00:00Z", 250)
    clock.set("2026-11-02T00:00:00")
    close(client)
    used(client, "later", "2026-09-21T00:00:00Z", 1)
    for run in client.get("/v1/rating-runs").json()["items"]:
        assert client.post(f"/v1/rating-runs/{run['id']}/verify").json()["result"] == "equal"
        for line in lines_of(client, run):
            shares = client.get(f"/v1/rating-runs/{run['id']}/rated-events", params={"line": line["line"]})
            assert shares.status_code == 200, shares.text


def test_what_cannot_be_rated_is_named_and_holds_nobody_up(client: httpx2.Client, clock: Clock) -> None:
    put(client, "/v1/customers/huge", {})
    put(client, "/v1/subscriptions/h", {"customer": "huge", "plan": "dear", "starts_at": "2026-09-01T00:00:00Z"})
    clock.set("2026-09-10T00:00:00")
    used(client, "1", "2026-09-05T00:00:00Z", 500)
    post(client, event("h", subject="huge", time="2026-09-05T00:00:00Z", data={"input_tokens": 10**15}))
    clock.set("2026-10-02T00:00:00")
    *_, run = close(client)
    assert [one["customer"] for one in run["report"]["skipped"]] == ["huge"]
    assert ("usage", "tokens", "2026-09", Decimal(5)) in billed(client, run)


def test_a_request_says_what_it_wants(client: httpx2.Client) -> None:
    for body in ({}, {"due": True, "period": "2026-10"}, {"period": "2026-10", "draft": True}):
        answer = client.post("/v1/rating-runs", json=body)
        assert answer.status_code in (400, 422)
        assert "due" in answer.text


def test_a_parent_is_billed_for_its_children_and_a_correction_is_one_in_focus(
    client: httpx2.Client, clock: Clock
) -> None:
    put(client, "/v1/customers/holding", {"subjects": []})
    put(client, "/v1/customers/acme", {"parent": "holding"})
    month_closed(client, clock)
    clock.set("2026-10-06T00:00:00")
    used(client, "late", "2026-09-20T00:00:00Z", 250)
    clock.set("2026-11-02T00:00:00")
    *_, run = close(client)
    assert {(line["customer"], line["billed_to"]) for line in lines_of(client, run)} == {("acme", "holding")}
    exported = client.get(f"/v1/rating-runs/{run['id']}/focus", headers={"accept": "text/csv"})
    assert exported.status_code == 200, exported.text
    rows = pl.read_csv(exported.content)
    assert set(rows["BillingAccountId"]) == {"holding"}
    corrected = rows.filter(pl.col("ChargeClass") == "Correction")
    assert corrected.select("ChargeCategory", "BilledCost").rows() == [("Usage", 2.5)]
