"""States of customers: asked for over HTTP, obeyed by the next check, told as signals."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from api.engine import Engine
from api.settings import Settings
from rating.core.quota.seam import CustomerState
from store.errors import DatabaseUnavailable
from tests.api.conftest import NOW
from tests.api.test_quota import ask

STATES = "/v1/customers/acme/states"


def begin(client: httpx2.Client, **given: Any) -> httpx2.Response:
    return client.post(STATES, json={"state": "suspended", "reason": "unpaid since August", **given})


def test_a_suspended_customer_is_refused_with_the_reason_until_somebody_ends_it(sold: httpx2.Client) -> None:
    made = begin(sold)
    assert made.status_code == 201
    refused = ask(sold)
    assert (refused.status_code, refused.json()["reason"]) == (403, "suspended")
    assert refused.json()["message"] == "unpaid since August"
    ended = sold.delete(f"{STATES}/{made.json()['id']}").json()
    assert (ended["ended_at"], ended["ended_because"]) == ("2026-10-15T12:00:00Z", "asked")
    assert ask(sold).status_code == 200
    assert sold.delete(f"{STATES}/{made.json()['id']}").json() == ended
    assert sold.get(STATES).json() == {"items": [ended], "next": None}
    signals = sold.get("/v1/signals").json()["items"]
    assert [signal["type"] for signal in signals] == ["customer.suspended", "customer.resumed"]
    assert signals[0]["data"]["reason"] == "unpaid since August"
    assert signals[1]["data"]["because"] == "asked"


def test_a_state_may_be_of_some_features_and_end_by_itself(sold: httpx2.Client, engine: Engine) -> None:
    until = NOW + timedelta(hours=1)
    begin(sold, features=["tokens"], until=until.isoformat())
    assert engine.quota.check("acme", "tokens", Decimal(0), NOW).reason == "suspended"
    assert engine.quota.check("acme", "tokens", Decimal(0), until).reason == "allowed"
    engine.store.customer_states.__dict__["now"] = lambda: until
    engine.signalling.states.end_due()
    assert sold.get("/v1/signals").json()["items"][-1]["type"] == "customer.resumed"
    begin(sold, features=["others"])
    assert ask(sold).status_code == 200


def test_the_same_state_again_under_its_id_is_one(sold: httpx2.Client) -> None:
    first, again = begin(sold, id="ticket-7"), begin(sold, id="ticket-7")
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert begin(sold, id="ticket-7", reason="another").status_code == 409
    assert len(sold.get(STATES).json()["items"]) == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"plan": "free"}, "`plan` goes with"),
        ({"amount": "5"}, "`amount` goes with"),
        ({"state": "restricted"}, "`plan` goes with"),
        ({"state": "restricted", "plan": "gold"}, "no plan 'gold'"),
        ({"state": "overage"}, "`amount` goes with"),
        ({"until": "2026-10-15T12:00:00Z"}, "has passed"),
        ({"reason": ""}, "reason"),
        ({"state": "deleted"}, "state"),
    ],
)
def test_a_state_that_makes_no_sense_is_refused(sold: httpx2.Client, given: dict[str, Any], says: str) -> None:
    answer = begin(sold, **given)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_who_is_not_there_has_no_states(sold: httpx2.Client) -> None:
    body = {"state": "suspended", "reason": "x"}
    assert sold.post("/v1/customers/nobody/states", json=body).status_code == 404
    assert sold.get("/v1/customers/nobody/states").status_code == 404
    assert sold.delete("/v1/customers/acme/states/nothing").status_code == 404


def test_a_state_is_obeyed_after_a_restart(sold: httpx2.Client, engine: Engine, settings: Settings) -> None:
    for number in range(3):
        begin(sold, id=str(number), features=["tokens"], reason=f"reason {number}")
    assert [item["id"] for item in sold.get(STATES, params={"limit": 2}).json()["items"]] == ["0", "1"]
    engine.close()
    again = Engine.open(settings, now=lambda: NOW)
    assert again.quota.check("acme", "tokens", Decimal(0), NOW).reason == "suspended"
    again.close()


def test_who_reads_of_a_state_finds_it_obeyed_and_one_that_is_not_recorded_is_not(
    sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Obeyed before the commit, and no longer when that fails."""
    obeyed: list[tuple[str, int]] = []
    put, away = engine.quota.put_states, [False]

    def put_states(states: Sequence[CustomerState]) -> None:
        put(states)
        obeyed.append((ask(sold).json()["reason"], len(sold.get(STATES).json()["items"])))
        if away[0]:
            away[0] = False
            raise DatabaseUnavailable("away")

    monkeypatch.setattr(engine.quota, "put_states", put_states)
    assert begin(sold, id="a").status_code == 201
    assert obeyed[0] == ("suspended", 0)
    sold.delete(f"{STATES}/a")
    away[0] = True
    assert begin(sold, id="b").status_code == 503
    assert (ask(sold).json()["reason"], len(sold.get(STATES).json()["items"])) == ("allowed", 1)
