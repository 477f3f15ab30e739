"""What a customer's open periods come to is what a run of now makes of them. Now is 15 October 2026, 12:00 UTC."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx2
import polars as pl
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from polars.testing import assert_frame_equal
from starlette.testclient import TestClient

import ingest.recent_usage
from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from rating.core.lines import CHARGE_LINE
from store.errors import StoreError
from store.subscription_changes import AskedChange
from store.subscriptions import Subscription
from tests.api.conftest import CATALOG, NOW, event, is_documented
from tests.api.test_bitemporal_machine import CUSTOMERS, PLANS, STARTS, Bitemporal, amounts, customers, days, subjects
from tests.api.test_corrections import correct, void
from tests.api.test_events import post
from tests.api.test_rating import lines_of
from tests.conftest import PROFILE

CURRENT = "/v1/customers/acme/charges/current"


def asked(client: httpx2.Client, path: str = CURRENT) -> dict[str, Any]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def run_of(client: httpx2.Client, period: str) -> list[dict[str, Any]]:
    """The lines of a run, as an answer about now has them."""
    answer = client.post("/v1/rating-runs", json={"period": period})
    assert answer.status_code == 201, answer.text
    return [{name: value for name, value in line.items() if name != "run"} for line in lines_of(client, answer.json())]


def test_the_open_period_is_charged_as_a_run_would(sold: httpx2.Client) -> None:
    post(sold, event("1", data={"model": "big", "input_tokens": 1500}))
    post(sold, event("late", time="2026-09-10T10:00:00Z"))  # of a period that is over
    found = asked(sold)
    assert found["items"] == run_of(sold, "2026-10")
    # fee 20; 1,000 at 2.50 and 500 at 1, for a thousand each: 2.50 + 0.50
    assert [(t["currency"], t["rounded_amount"], t["lines"]) for t in found["totals"]] == [("USD", "23", 2)]
    assert found["last_sequence"] == 2
    assert found["as_of"] == "2026-10-15T12:00:00Z"
    assert found["periods"] == [
        {
            "subscription": "acme-pro",
            "period": "2026-10",
            "time_zone": "UTC",
            "from": "2026-10-01T00:00:00Z",
            "to": "2026-11-01T00:00:00Z",
        }
    ]


def test_every_acknowledged_event_and_correction_is_in_the_next_answer(sold: httpx2.Client, engine: Engine) -> None:
    asked(sold)
    for number in range(5):
        post(sold, event(f"{number}", data={"model": "big", "input_tokens": 100 + number}))
        engine.charges._recent.wait()
        if number == 3:
            correct(sold, void("2"))
        assert asked(sold)["items"] == run_of(sold, "2026-10")


def test_periods_that_end_in_different_months_are_answered_together(sold: httpx2.Client) -> None:
    anniversary = {"customer": "acme", "plan": "free", "starts_at": "2026-09-20T00:00:00Z"}
    terms = {**anniversary, "plan": "pro", "anchor": "2026-09-12T06:30:00Z"}
    assert sold.put("/v1/subscriptions/second", json=terms).status_code == 200
    weekly = {**anniversary, "interval": "week"}
    assert sold.put("/v1/subscriptions/third", json=weekly).status_code == 200
    post(sold, event("1", time="2026-10-11T10:00:00Z"))
    post(sold, event("2", time="2026-10-14T10:00:00Z"))
    found = asked(sold)
    assert [(p["subscription"], p["from"], p["to"]) for p in found["periods"]] == [
        ("acme-pro", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        ("second", "2026-10-12T06:30:00Z", "2026-11-12T06:30:00Z"),
        ("third", "2026-10-12T00:00:00Z", "2026-10-19T00:00:00Z"),
    ]
    both = run_of(sold, "2026-10") + run_of(sold, "2026-11")
    is_now = [line for line in both if line["period_start"] <= found["as_of"] < line["period_end"]]
    assert found["items"] == sorted(is_now, key=lambda line: str(line["line"]))
    events = {line["subscription"]: line["events"] for line in found["items"] if line["kind"] == "usage"}
    assert events == {"acme-pro": 2, "second": 1, "third": 1}


def test_what_ended_within_the_period_is_in_it_and_what_begins_later_is_not(sold: httpx2.Client) -> None:
    terms = {"customer": "acme", "plan": "pro"}
    ended = {"starts_at": "2026-10-02T00:00:00Z", "ends_at": "2026-10-09T00:00:00Z"}
    assert sold.put("/v1/subscriptions/ended", json={**terms, **ended}).status_code == 200
    assert sold.put("/v1/subscriptions/later", json={**terms, "starts_at": "2026-10-20T00:00:00Z"}).status_code == 200
    trial = {"starts_at": "2026-10-10T00:00:00Z", "trial_ends_at": "2026-10-25T00:00:00Z"}
    assert sold.put("/v1/subscriptions/trial", json={**terms, **trial}).status_code == 200
    found = asked(sold)
    assert [period["subscription"] for period in found["periods"]] == ["acme-pro", "ended"]
    assert {line["subscription"] for line in found["items"]} == {"acme-pro", "ended"}


def test_a_customer_without_a_subscription_has_no_charges(sold: httpx2.Client) -> None:
    assert sold.put("/v1/customers/idle", json={}).status_code == 200
    found = asked(sold, "/v1/customers/idle/charges/current")
    assert (found["periods"], found["totals"], found["items"]) == ([], [], [])


def test_what_is_recorded_between_two_questions_is_in_the_second(sold: httpx2.Client) -> None:
    post(sold, event("1", data={"model": "big", "input_tokens": 1500}))
    before = asked(sold)["items"]
    grant = {"id": "gift", "amount": "5", "currency": "USD", "effective_at": "2026-10-01T00:00:00Z"}
    assert sold.post("/v1/customers/acme/credits", json=grant).status_code == 201
    granted = asked(sold)["items"]
    assert {line["kind"] for line in granted} == {"fee", "usage", "credit"}
    assert granted == run_of(sold, "2026-10") != before
    more = {"customer": "acme", "plan": "pro", "starts_at": "2026-10-01T00:00:00Z"}
    assert sold.put("/v1/subscriptions/more", json=more).status_code == 200
    assert asked(sold)["items"] == run_of(sold, "2026-10") != granted


def test_what_is_not_there_is_said(client: httpx2.Client, sold: httpx2.Client) -> None:
    assert sold.get("/v1/customers/nobody/charges/current").status_code == 404


def test_without_a_catalog_it_says_what_to_do(client: httpx2.Client) -> None:
    assert client.put("/v1/customers/acme", json={}).status_code == 200
    answer = client.get(CURRENT)
    assert answer.status_code == 422
    assert "no catalog is in force" in answer.json()["detail"]


@pytest.mark.parametrize("key", ["eu/acme", "a/charges/current", "charges/current", "ü b?"])
def test_a_key_may_hold_anything(sold: httpx2.Client, key: str) -> None:
    assert sold.put(f"/v1/customers/{quote(key, safe='')}", json={"subjects": []}).status_code == 200
    assert asked(sold, f"/v1/customers/{quote(key, safe='')}/charges/current")["customer"] == key


def test_much_that_came_behind_is_taken_up_beside(
    sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.recent_usage, "BEHIND_MAX", 2)
    for number in range(12):
        post(sold, event(f"{number}"))
        if number % 5 == 0:
            assert asked(sold)["items"] == run_of(sold, "2026-10")
            engine.charges._recent.wait()
        assert asked(sold)["items"][0]["events"] in (0, number + 1)
    assert asked(sold)["items"] == run_of(sold, "2026-10")


def test_a_log_that_is_too_large_for_the_memory_is_asked_itself(
    sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.recent_usage, "EVENTS_MAX", 1)
    post(sold, event("1"), event("2"))
    for _ in range(2):
        assert asked(sold)["items"] == run_of(sold, "2026-10")
        engine.charges._recent.wait()
    assert engine.charges._recent._kept is None


@pytest.fixture
def restarted(settings: Settings) -> Iterator[httpx2.Client]:
    for number in range(3):
        engine = Engine.open(settings, now=lambda: NOW)
        with TestClient(create_app(settings, engine=engine), raise_server_exceptions=False) as client:
            client.event_hooks["response"].append(is_documented)
            if number == 0:
                client.put("/v1/catalog", json=CATALOG)
                client.put("/v1/customers/acme", json={})
                client.put(
                    "/v1/subscriptions/s", json={"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
                )
            post(client, event(f"{number}"))
            asked(client)
            if number == 2:
                yield client
        engine.close()


def test_after_a_restart_nothing_is_missing(restarted: httpx2.Client) -> None:
    found = asked(restarted)["items"]
    assert found == run_of(restarted, "2026-10")
    assert sum(line["events"] for line in found if line["kind"] == "usage") == 3


class Current(Bitemporal):
    """Any history of accounts, credits, usage, corrections, backfills, catalogs and restarts: whenever it is asked, the
    answer is what runs of now make of the open periods."""

    def teardown(self) -> None:
        self.ask_now()
        self.engine.close()

    @rule(key=customers, seats=st.sampled_from(("1", "3", "0.5")), day=st.sampled_from((5, 12, 20)))
    def change(self, key: str, seats: str, day: int) -> None:
        change_id = f"change-{next(self.numbers)}"
        plan = "free" if seats == "3" else None
        at = datetime(2026, 10, day, 13, tzinfo=UTC)
        asked = AskedChange(id=change_id, effective_at=at, plan=plan, seats=Decimal(seats), given={"id": change_id})
        with suppress(StoreError):  # of a subscription that begins later
            self.engine.change_subscription(key, [asked])

    @rule(key=customers, plan=st.sampled_from(PLANS), start=st.sampled_from(STARTS), ends=st.booleans())
    def put_subscription(self, key: str, plan: str, start: datetime, ends: bool) -> None:
        with suppress(StoreError):  # behind one of its changes
            super().put_subscription(key, plan, start, ends)

    @rule(key=customers, day=st.sampled_from((2, 20, 31)), interval=st.sampled_from(("month", "week")))
    def subscribe(self, key: str, day: int, interval: str) -> None:
        anchor = datetime(2026, 8, day, 6, tzinfo=UTC)
        started = datetime(2026, 8, 1, tzinfo=UTC)
        more = Subscription(f"{key}-more", key, "pro", started, interval=interval, anchor=anchor)
        self.engine.put_subscriptions([more])

    @rule(subject=subjects, day=days, amount=amounts)
    def post_and_ask(self, subject: str, day: str, amount: int) -> None:
        self.post(subject, day, amount, 1)
        self.ask_now()

    @rule()
    def ask_now(self) -> None:
        made = [self.engine.rate(period) for period in ("2026-10", "2026-11")]
        run_lines = [self.engine.rating.lines(run.id).select(CHARGE_LINE.names()).collect() for run in made]
        now = self.clock()
        is_open = (pl.col("period_start") <= now) & (pl.col("period_end") > now)
        lines = pl.concat(run_lines).filter(is_open).sort("line")
        for customer in CUSTOMERS:
            own = lines.filter(pl.col("customer") == customer)
            for _ in range(2):  # from the log, and from memory
                found = self.engine.current_charges(customer)
                assert_frame_equal(found.lines, own)
                self.engine.charges._recent.wait()
            assert found.periods.is_empty() or self.engine.charges._recent._kept is not None


TestCurrent = Current.TestCase
TestCurrent.settings = hypothesis_settings(max_examples=100 if PROFILE == "long" else 5, stateful_step_count=15)
