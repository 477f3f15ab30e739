"""Final bills: a subscription that ends before its billing period does is billed then, where the rule says so."""

from decimal import Decimal
from typing import Any

import httpx2
import pytest

from tests.api.test_closing import CATALOG, Clock, billed, client, clock, close, engine, put, used
from tests.api.test_rating import lines_of

__all__ = ["client", "clock", "engine"]  # fixtures
AT_END = {**CATALOG, "closing": {"grace_hours": 12, "final_bill": "at_end"}}
BACK = ("adjustment", "fee", "2026-09", Decimal("-20.00"))


@pytest.fixture(autouse=True)
def begun(client: httpx2.Client, clock: Clock) -> None:
    """A subscription that ends when September is a third over; its fee was billed in advance."""
    put(client, "/v1/catalog", AT_END)
    clock.set("2026-09-05T12:00:00")
    used(client, "1", "2026-09-05T00:00:00Z", 500)
    close(client)
    changed(client, {"at": "2026-09-11T00:00:00Z", "state": "ended"})


def changed(client: httpx2.Client, change: dict[str, Any]) -> None:
    answer = client.post("/v1/subscriptions/s/changes", json=change)
    assert answer.status_code == 201, answer.text


def test_a_subscription_is_billed_when_it_has_ended_and_grace_is_over(client: httpx2.Client, clock: Clock) -> None:
    clock.set("2026-09-11T11:59:00")
    assert close(client, 200) == []
    clock.set("2026-09-11T12:00:00")
    (run,) = close(client)
    assert billed(client, run) == [BACK, ("usage", "tokens", "2026-09", Decimal(5))]
    assert run["report"]["periods"]["closed"] == 1
    assert run["report"]["next_due"] == "2026-10-01T00:00:00+00:00"
    assert client.post(f"/v1/rating-runs/{run['id']}/verify").json()["result"] == "equal"
    for line in lines_of(client, run):
        shares = client.get(f"/v1/rating-runs/{run['id']}/rated-events", params={"line": line["line"]})
        assert shares.status_code == 200, shares.text
    clock.set("2026-09-30T00:00:00")
    assert close(client, 200) == []


def test_usage_that_comes_behind_a_final_bill_is_found_when_the_period_is_over(
    client: httpx2.Client, clock: Clock
) -> None:
    clock.set("2026-09-12T00:00:00")
    close(client)
    used(client, "late", "2026-09-10T00:00:00Z", 100)
    clock.set("2026-10-02T00:00:00")
    (run,) = close(client)
    assert billed(client, run) == [("adjustment", "tokens", "2026-09", Decimal(1))]


def test_a_subscription_that_is_renewed_is_billed_when_the_period_is_over(client: httpx2.Client, clock: Clock) -> None:
    changed(client, {"at": "2026-09-21T00:00:00Z", "state": "active"})
    clock.set("2026-09-12T00:00:00")
    assert close(client, 200) == []
    clock.set("2026-10-02T00:00:00")
    lines = [line for run in close(client) for line in billed(client, run)]
    assert ("usage", "tokens", "2026-09", Decimal(5)) in lines


def test_a_paused_subscription_has_not_ended(client: httpx2.Client, clock: Clock) -> None:
    changed(client, {"at": "2026-09-11T00:00:00Z", "state": "paused"})
    clock.set("2026-09-29T00:00:00")
    assert close(client, 200) == []


def test_another_rule_bills_what_ended_before_when_the_period_is_over(client: httpx2.Client, clock: Clock) -> None:
    put(client, "/v1/catalog", CATALOG)
    clock.set("2026-09-20T00:00:00")
    assert close(client, 200) == []
    put(client, "/v1/catalog", AT_END)
    clock.set("2026-10-02T00:00:00")
    lines = [line for run in close(client) for line in billed(client, run)]
    assert ("usage", "tokens", "2026-09", Decimal(5)) in lines
