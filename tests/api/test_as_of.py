"""Usage and runs as they were known at any instant, over HTTP."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx2
import polars as pl
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from ingest.known import last_sequence_at
from tests.api.bitemporal import Ticking, forget_history
from tests.api.conftest import CATALOG, NOW, event, is_documented
from tests.api.test_backfills import load, opened, step, tokens
from tests.api.test_corrections import correct, replacement, void
from tests.api.test_events import post
from tests.api.test_rating import lines_of, rate

JANUARY = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}


@pytest.fixture
def clock() -> Ticking:
    return Ticking(NOW)


@pytest.fixture
def engine(settings: Settings, clock: Ticking) -> Iterator[Engine]:
    opened = Engine.open(settings, now=clock)
    yield opened
    opened.close()


@pytest.fixture
def used(settings: Settings, engine: Engine) -> Iterator[httpx2.Client]:
    """`acme` on plan pro, with two events of 300 tokens."""
    with TestClient(create_app(settings, engine=engine), raise_server_exceptions=False) as client:
        client.event_hooks["response"].append(is_documented)
        assert client.put("/v1/catalog", json=CATALOG).status_code == 200
        assert client.put("/v1/customers/acme", json={}).status_code == 200
        assert client.put("/v1/subscriptions/acme-pro", json=JANUARY).status_code == 200
        post(client, tokens("1", 300), tokens("2", 300))
        yield client


def usage(client: httpx2.Client, as_of: datetime | None = None, **asked: Any) -> dict[Any, str]:
    """The quantity of each group."""
    params = {**asked, **({"as_of": as_of.isoformat()} if as_of else {})}
    answer = client.get("/v1/meters/tokens/usage", params=params)
    assert answer.status_code == 200, answer.text
    return {tuple(item["group"].values()): item["quantity"] for item in answer.json()["items"]}


def test_usage_is_told_as_it_was_known(used: httpx2.Client, clock: Ticking) -> None:
    told = [(clock(), "600")]
    post(used, tokens("late", 50, time="2026-09-30T00:00:00Z"))
    told.append((clock(), "650"))
    assert correct(used, void("1"), replacement("2", "2b", 7)).json()["accepted"] == 2
    told.append((clock(), "57"))
    key = opened(used)
    load(used, key, tokens("b", 11))
    told.append((clock(), "57"))
    step(used, key, "commit")
    told.append((clock(), "61"))
    assert correct(used, replacement("b", "b2", 12)).json()["accepted"] == 1
    told.append((clock(), "62"))
    step(used, key, "revert")
    told.append((clock(), "57"))
    assert [usage(used, at)[()] for at, _ in told] == [quantity for _, quantity in told]
    assert usage(used) == {(): "57"}


def test_usage_of_customers_is_told_by_the_subjects_of_then(used: httpx2.Client, clock: Ticking) -> None:
    before = clock()
    assert used.put("/v1/customers/acme", json={"subjects": []}).status_code == 200
    between = clock()
    assert used.put("/v1/customers/beta", json={"subjects": ["acme"]}).status_code == 200
    by = {"group_by": "customer"}
    assert usage(used, before, **by) == {("acme",): "600"}
    assert usage(used, between, **by) == {(None,): "600"}
    assert usage(used, **by) == {("beta",): "600"}
    assert usage(used, before, customer="acme") == {(): "600"}
    assert usage(used, customer="acme") == {}


def test_usage_is_told_by_the_meter_of_then(used: httpx2.Client, clock: Ticking) -> None:
    before = clock()
    counts = json.loads(json.dumps(CATALOG))
    counts["meters"]["tokens"] = {"event_type": "llm.request", "aggregation": "count", "group_by": ["model"]}
    assert used.put("/v1/catalog", json=counts).status_code == 200
    assert (usage(used), usage(used, before)) == ({(): "2"}, {(): "600"})


def test_an_instant_that_cannot_be_answered_is_refused(used: httpx2.Client, engine: Engine, clock: Ticking) -> None:
    path = "/v1/meters/tokens/usage"
    late = used.get(path, params={"as_of": (clock() + timedelta(hours=1)).isoformat()})
    assert (late.status_code, late.json()["type"]) == (422, "urn:tallystick:problem:refused")
    assert "is in the future" in late.json()["detail"]
    early = used.get(path, params={"as_of": "2026-01-01T00:00:00Z"})
    assert (early.status_code, "no catalog was in force" in early.json()["detail"]) == (422, True)
    assert used.get(path, params={"as_of": "2026-10-15T12:00:00"}).status_code == 422
    before, run = clock(), rate(used)
    forget_history(engine, run)
    assert usage(used, before) == {(): "600"}
    gone = used.get(path, params={"as_of": before.isoformat(), "customer": "acme"})
    assert (gone.status_code, gone.json()["type"]) == (409, "urn:tallystick:problem:not-reproducible")
    assert "their history begins at" in gone.json()["detail"]
    assert used.post("/v1/rating-runs", json={"period": "2026-10", "as_of": before.isoformat()}).status_code == 409


def test_a_month_is_rated_as_it_was_known(used: httpx2.Client, clock: Ticking) -> None:
    first, at = rate(used), clock()
    post(used, tokens("3", 1000))
    assert used.put("/v1/subscriptions/acme-pro", json={**JANUARY, "plan": "free"}).status_code == 200
    second = rate(used)
    answer = used.post("/v1/rating-runs", json={"period": "2026-10", "as_of": at.isoformat()})
    assert answer.status_code == 201
    again = answer.json()
    assert again["digest"] == first["digest"] != second["digest"]
    assert datetime.fromisoformat(again["as_of"]) == at
    assert [{**line, "run": ""} for line in lines_of(used, again)] == [
        {**line, "run": ""} for line in lines_of(used, first)
    ]
    assert used.post(f"/v1/rating-runs/{again['id']}/verify").json()["result"] == "equal"
    listed = used.get("/v1/rating-runs", params={"as_of": at.isoformat()}).json()["items"]
    assert [run["id"] for run in listed] == [first["id"]]


def test_sequences_end_before_the_first_event_that_was_received_later(
    used: httpx2.Client, engine: Engine, clock: Ticking
) -> None:
    """Though one behind it was received before: a large batch that waited is acknowledged after smaller ones."""
    before = clock()
    post(used, event("3"))
    view = engine.log.view()
    asked = (NOW - timedelta(days=1), before, clock())
    assert [last_sequence_at(view, instant) for instant in asked] == [0, 2, 3]
    waited = view.frames[-1].with_columns(sequence=pl.col("sequence") + 1, received_at=pl.lit(before))
    overtaken = replace(view, frames=(*view.frames, waited), last_sequence=4)
    assert [last_sequence_at(overtaken, instant) for instant in asked] == [0, 2, 4]
    engine.log.flush()
    assert [last_sequence_at(engine.log.view(), instant) for instant in asked] == [0, 2, 3]
