"""Subscriptions over time, over HTTP. Now is 15 October 2026, 12:00 UTC."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.bitemporal import Ticking
from tests.api.conftest import CATALOG, NOW, is_documented
from tests.api.test_quota import ask, use

SOLD = "/v1/subscriptions/acme-pro"
JANUARY = "2026-01-01T00:00:00Z"
TERMS = {"customer": "acme", "plan": "pro", "starts_at": JANUARY}


@pytest.fixture
def clock() -> Ticking:
    return Ticking(NOW)


@pytest.fixture
def ticking(settings: Settings, clock: Ticking) -> Iterator[httpx2.Client]:
    """`sold`, at a time that goes on."""
    engine = Engine.open(settings, now=clock)
    with TestClient(create_app(settings, engine=engine), raise_server_exceptions=False) as client:
        client.event_hooks["response"].append(is_documented)
        client.put("/v1/catalog", json=CATALOG)
        client.put("/v1/customers/acme", json={})
        assert client.put(SOLD, json=TERMS).status_code == 200
        yield client
    engine.close()


def changed(client: httpx2.Client, *changes: dict[str, Any], path: str = SOLD) -> list[dict[str, Any]]:
    answer = client.post(f"{path}/changes", json=list(changes) if len(changes) > 1 else changes[0])
    assert answer.status_code == 201, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def timeline(client: httpx2.Client, path: str = SOLD, **params: Any) -> dict[str, Any]:
    answer = client.get(f"{path}/timeline", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def told(client: httpx2.Client, **params: Any) -> list[tuple[Any, ...]]:
    """Each segment: item, plan, seats, state, and the days from which and to which it holds."""
    return [
        (s["item"], s["plan"], s["seats"], s["state"], s["from"][:10], s["to"] and s["to"][:10])
        for s in timeline(client, **params)["segments"]
    ]


def test_terms_are_those_of_a_calendar_month_and_one_seat_unless_given(sold: httpx2.Client) -> None:
    plain = {"ends_at": None, "interval": "month", "intervals": 1, "anchor": None, "seats": "1", "trial_ends_at": None}
    assert sold.get(SOLD).json() == {"key": "acme-pro", **TERMS, **plain}
    given = {
        **TERMS,
        "ends_at": "2027-01-01T00:00:00Z",
        "interval": "quarter",
        "intervals": 2,
        "anchor": "2026-01-31T10:00:00Z",
        "seats": "12.50",
        "trial_ends_at": "2026-01-15T00:00:00Z",
    }
    stored = sold.put("/v1/subscriptions/new", json=given)
    assert stored.status_code == 200
    assert stored.json() == {"key": "new", **given, "interval": "month", "intervals": 6, "seats": "12.5"}
    assert sold.get("/v1/subscriptions/new").json() == stored.json()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"interval": "decade"}, "interval", id="an unknown interval"),
        pytest.param({"intervals": 0}, "intervals", id="no interval"),
        pytest.param({"seats": "-1"}, "seats", id="less than no seats"),
        pytest.param({"seats": "1e3"}, "seats", id="seats with an exponent"),
        pytest.param({"trial_ends_at": JANUARY}, "its trial ends at", id="an empty trial"),
        pytest.param({"anchor": "0001-01-01T00:00:00+14:00"}, "years 2 to 9998", id="an anchor out of the calendar"),
    ],
)
def test_terms_that_make_no_sense_are_refused(sold: httpx2.Client, changes: dict[str, Any], says: str) -> None:
    answer = sold.put("/v1/subscriptions/new", json={**TERMS, **changes})
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_changes_take_effect_now_at_the_end_of_the_period_on_a_date_and_in_the_past(sold: httpx2.Client) -> None:
    recorded = changed(
        sold,
        {"at": "period_end", "plan": "free"},
        {"at": "now", "seats": "10"},
        {"at": "2026-12-01T01:00:00+01:00", "item": "extra", "plan": "pro", "seats": "2"},
        {"at": "2026-03-01T00:00:00Z", "seats": "5.0"},
    )
    assert [change["effective_at"] for change in recorded] == [
        "2026-11-01T00:00:00Z", "2026-10-15T12:00:00Z", "2026-12-01T00:00:00Z", "2026-03-01T00:00:00Z"
    ]  # fmt: skip
    assert [change["item"] for change in recorded] == ["plan", "plan", "extra", "plan"]
    assert told(sold) == [
        ("extra", "pro", "2", "active", "2026-12-01", None),
        ("plan", "pro", "1", "active", "2026-01-01", "2026-03-01"),
        ("plan", "pro", "5", "active", "2026-03-01", "2026-10-15"),
        ("plan", "pro", "10", "active", "2026-10-15", "2026-11-01"),
        ("plan", "free", "10", "active", "2026-11-01", None),
    ]
    assert sold.get(f"{SOLD}/changes").json() == {"items": recorded, "next": None}


def test_a_trial_a_pause_and_an_end_and_back_again(sold: httpx2.Client) -> None:
    sold.put(SOLD, json={**TERMS, "trial_ends_at": "2026-01-15T00:00:00Z"})
    changed(sold, {"at": "2026-06-01T00:00:00Z", "item": "extra", "plan": "free"})
    changed(
        sold,
        {"at": "2026-07-01T00:00:00Z", "state": "paused"},
        {"at": "2026-08-01T00:00:00Z", "state": "active"},
        {"at": "2026-09-01T00:00:00Z", "item": "extra", "state": "ended"},
        {"at": "2026-10-01T00:00:00Z", "state": "ended"},
        {"at": "2026-12-01T00:00:00Z", "item": "plan", "state": "active", "plan": "free"},
    )
    assert told(sold) == [
        ("extra", "free", "1", "active", "2026-06-01", "2026-07-01"),
        ("extra", "free", "1", "active", "2026-08-01", "2026-09-01"),
        ("plan", "pro", "1", "trial", "2026-01-01", "2026-01-15"),
        ("plan", "pro", "1", "active", "2026-01-15", "2026-07-01"),
        ("plan", "pro", "1", "active", "2026-08-01", "2026-10-01"),
        ("plan", "free", "1", "active", "2026-12-01", None),
    ]


def test_periods_follow_the_interval_the_anchor_and_the_time_zone(sold: httpx2.Client) -> None:
    """An anniversary on the 31st at midnight in Madrid: that of November is the 30th; the clock goes back between."""
    sold.put("/v1/customers/acme", json={"time_zone": "Europe/Madrid"})
    sold.put(SOLD, json={**TERMS, "anchor": "2026-01-30T23:00:00Z"})
    found = timeline(sold)
    periods = [tuple(found[name].values()) for name in ("current_period", "next_period")]
    assert periods == [
        ("2026-09-30/2026-10-31", "2026-09-29T22:00:00Z", "2026-10-30T23:00:00Z"),
        ("2026-10-31/2026-11-30", "2026-10-30T23:00:00Z", "2026-11-29T23:00:00Z"),
    ]
    [change] = changed(sold, {"at": "period_end", "state": "ended"})
    assert change["effective_at"] == "2026-10-30T23:00:00Z"


def test_another_billing_cycle_cuts_the_period_that_it_comes_into(sold: httpx2.Client) -> None:
    """What is left out of it stays as it was: years counted as the months were, and then two of them from there on."""
    both = changed(
        sold,
        {"at": "2026-10-11T00:00:00Z", "cycle": {"interval": "year"}},
        {"at": "2026-10-21T00:00:00Z", "cycle": {"intervals": 2, "anchor": "change"}},
    )
    assert [(c["item"], c["interval"], c["intervals"], c["anchor"]) for c in both] == [
        (None, "year", 1, None),
        (None, "year", 2, "2026-10-21T00:00:00Z"),
    ]
    found = timeline(sold)
    assert (found["interval"], found["intervals"], found["anchor"]) == ("year", 1, None)
    assert [found[name]["period"] for name in ("current_period", "next_period")] == [
        "2026-10-11/2026-10-21",
        "2026-10-21/2028-10-21",
    ]
    assert [(s["interval"], s["intervals"], s["to"]) for s in found["segments"]] == [
        ("month", 1, "2026-10-11T00:00:00Z"),
        ("year", 1, "2026-10-21T00:00:00Z"),
        ("year", 2, None),
    ]
    [calendar] = changed(sold, {"at": "period_end", "cycle": {"interval": "quarter", "anchor": "calendar"}})
    assert calendar["effective_at"] == "2026-10-21T00:00:00Z"
    assert timeline(sold)["next_period"]["period"] == "2026-10-21/2027-01-01"


def test_other_prices_stand_in_for_those_of_the_plan(sold: httpx2.Client) -> None:
    changed(sold, {"at": "now", "prices": {"fee": "tokens/big"}})
    changed(sold, {"at": "period_end", "prices": {}})
    assert [(s["plan"], s["prices"]) for s in timeline(sold)["segments"]] == [
        ("pro", {}), ("pro", {"fee": "tokens/big"}), ("pro", {})
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"at": "now"}, "it changes nothing", id="nothing"),
        pytest.param({"at": "soon", "seats": "1"}, "at", id="no instant"),
        pytest.param({"at": "2026-10-01T00:00:00", "seats": "1"}, "timezone", id="an instant without a zone"),
        pytest.param({"at": "9500-01-01T00:00:00Z", "seats": "1"}, "between 1970 and 9000", id="the far future"),
        pytest.param({"at": "2025-12-31T00:00:00Z", "seats": "1"}, "before the subscription begins", id="too early"),
        pytest.param({"at": "now", "plan": "gold"}, "no plan 'gold'", id="an unknown plan"),
        pytest.param({"at": "now", "item": "extra", "seats": "2"}, "no item 'extra'", id="an unknown item"),
        pytest.param({"at": "now", "prices": {"fee": "x"}}, "no price 'x'", id="an unknown price"),
        pytest.param({"at": "now", "prices": {"fee": "euro"}}, "'euro' is in EUR and cannot stand in", id="a currency"),
        pytest.param({"at": "now", "plan": "free", "state": "active"}, "give `item` for both", id="of all and of one"),
        pytest.param({"at": "now", "plna": "free"}, "plna", id="an unknown field"),
        pytest.param({"at": "now", "cycle": {}}, "it changes nothing", id="no cycle"),
        pytest.param({"at": "now", "cycle": {"anchor": "soon"}}, "anchor", id="no anchor"),
        pytest.param(
            {"at": "now", "item": "extra", "cycle": {"interval": "day"}},
            "of the whole subscription",
            id="not of an item",
        ),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_with_all_others(
    sold: httpx2.Client, changes: dict[str, Any], says: str
) -> None:
    euro = {"currency": "EUR", "model": "flat", "versions": [{"amount": "20"}]}
    both = {**CATALOG, "currencies": ["USD", "EUR"], "prices": {**CATALOG["prices"], "euro": euro}}
    assert sold.put("/v1/catalog", json=both).status_code == 200
    answer = sold.post(f"{SOLD}/changes", json=[{"at": "now", "state": "paused"}, changes])
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert sold.get(f"{SOLD}/changes").json()["items"] == []


def test_the_same_change_under_its_id_is_recorded_once(ticking: httpx2.Client) -> None:
    change = {"id": "order-1", "at": "now", "seats": "3"}
    first = changed(ticking, change)
    assert changed(ticking, {**change, "seats": "3.0"}) == first
    again = changed(ticking, change, {"id": "order-2", "at": "2026-12-01T00:00:00Z", "state": "ended"})
    assert again[0] == first[0]
    assert changed(ticking, {"id": "order-2", "at": "2026-12-01T01:00:00+01:00", "state": "ended"}) == again[1:]
    other = ticking.post(f"{SOLD}/changes", json={**change, "seats": "4"})
    assert (other.status_code, other.json()["type"]) == (409, "urn:tallystick:problem:id-taken")
    assert len(ticking.get(f"{SOLD}/changes").json()["items"]) == 2


def test_a_timeline_is_told_as_it_was_known(ticking: httpx2.Client, clock: Ticking) -> None:
    before = clock()
    changed(ticking, {"at": "2026-11-01T00:00:00Z", "plan": "free"})
    between = clock()
    changed(ticking, {"at": "2026-11-01T00:00:00Z", "plan": "pro"})
    then = ("plan", "pro", "1", "active", "2026-01-01", "2026-11-01")
    assert told(ticking, as_of=before.isoformat()) == told(ticking) == [(*then[:5], None)]
    assert told(ticking, as_of=between.isoformat()) == [then, ("plan", "free", "1", "active", "2026-11-01", None)]
    listed = [
        len(ticking.get(f"{SOLD}/changes", params=params).json()["items"])
        for params in ({"as_of": before.isoformat()}, {"as_of": between.isoformat()}, {})
    ]
    assert listed == [0, 1, 2]
    late = {"as_of": (clock() + timedelta(hours=1)).isoformat()}
    for path in ("changes", "timeline"):
        assert "is in the future" in ticking.get(f"{SOLD}/{path}", params=late).json()["detail"]


def test_changes_are_read_in_pages(sold: httpx2.Client) -> None:
    recorded = changed(sold, *({"at": "now", "seats": str(n)} for n in range(25)))
    seen: list[dict[str, Any]] = []
    after: dict[str, Any] = {}
    while True:
        page = sold.get(f"{SOLD}/changes", params={"limit": 10, **after}).json()
        seen += page["items"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == recorded


@pytest.mark.parametrize("key", ["a/b", "a/changes/b", "x y", "Ünïcode", "100%"])
def test_any_key_has_a_timeline(sold: httpx2.Client, key: str) -> None:
    path = f"/v1/subscriptions/{quote(key, safe='')}"
    assert sold.put(path, json=TERMS).status_code == 200
    changed(sold, {"at": "now", "item": "a b/c", "plan": "free"}, path=path)
    found = timeline(sold, path)
    assert found["subscription"] == key
    assert [s["item"] for s in found["segments"]] == ["a b/c", "plan"]
    assert sold.get(path).json()["key"] == key


@pytest.mark.parametrize(("method", "path"), [("POST", "changes"), ("GET", "changes"), ("GET", "timeline")])
def test_what_is_not_there_has_no_timeline(sold: httpx2.Client, method: str, path: str) -> None:
    body = {"at": "period_end", "state": "ended"} if method == "POST" else None
    assert sold.request(method, f"/v1/subscriptions/x/{path}", json=body).status_code == 404


def test_a_plan_and_a_price_stay_while_a_change_needs_them(sold: httpx2.Client) -> None:
    other = {**CATALOG["prices"]["fee"], "versions": [{"amount": "1"}]}
    with_other = {**CATALOG, "prices": {**CATALOG["prices"], "other": other}}
    assert sold.put("/v1/catalog", json=with_other).status_code == 200
    changed(sold, {"at": "period_end", "plan": "free"}, {"at": "now", "prices": {"fee": "other"}})
    dropped = sold.put("/v1/catalog", json=CATALOG)
    assert (dropped.status_code, "price 'other' stands in" in dropped.json()["detail"]) == (409, True)
    less = {**with_other, "plans": {"pro": CATALOG["plans"]["pro"]}}
    assert "plan 'free' has running" in sold.put("/v1/catalog", json=less).json()["detail"]
    changed(sold, {"at": "period_end", "plan": "pro"}, {"at": "now", "prices": {}})
    assert sold.put("/v1/catalog", json={**CATALOG, "plans": less["plans"]}).status_code == 200


def test_a_parent_pays_for_its_children(sold: httpx2.Client) -> None:
    refused = sold.put("/v1/customers/acme", json={"parent": "group"})
    assert (refused.status_code, "no customer 'group'" in refused.json()["detail"]) == (422, True)
    many = [{"key": "acme", "parent": "group"}, {"key": "group"}]
    assert sold.post("/v1/customers", json=many).json() == {"stored": 2}
    assert sold.get("/v1/customers/acme").json()["parent"] == "group"
    found = timeline(sold)
    assert (found["customer"], found["billed_to"]) == ("acme", "group")


def test_an_entitlement_moves_at_the_instant_of_a_change(ticking: httpx2.Client, clock: Ticking) -> None:
    """2,000 tokens on pro, none on free; an add-on of plan pro adds its own; replaced prices change no limit."""
    use(ticking, "1", 1999)
    assert ask(ticking, 1).status_code == 200
    at = clock().replace(hour=13)
    changed(ticking, {"at": at.isoformat(), "plan": "free"}, {"at": "now", "prices": {"fee": "tokens/big"}})
    assert (ask(ticking, 1).json()["reason"], ask(ticking, 2).json()["reason"]) == ("allowed", "would_exceed")
    clock.at = at
    assert ask(ticking, 1).json()["reason"] == "not_entitled"
    changed(ticking, {"at": "now", "item": "extra", "plan": "pro"}, {"at": "now", "plan": "pro"})
    assert ask(ticking).json()["limit"] == "4000"
    changed(ticking, {"at": "now", "state": "paused"})
    assert ask(ticking).json()["reason"] == "not_entitled"
    changed(ticking, {"at": "now", "state": "active"}, {"at": "now", "item": "extra", "state": "ended"})
    assert ask(ticking).json()["limit"] == "2000"


def test_a_restart_keeps_the_timeline(settings: Settings) -> None:
    def answer(step: Any) -> Any:
        engine = Engine.open(settings, now=lambda: datetime.fromisoformat("2026-10-15T12:00:00+00:00"))
        with TestClient(create_app(settings, engine=engine)) as client:
            found = step(client)
        engine.close()
        return found

    def put(client: httpx2.Client) -> dict[str, Any]:
        client.put("/v1/catalog", json=CATALOG)
        client.put("/v1/customers/acme", json={})
        client.put(SOLD, json=TERMS)
        changed(client, {"at": "period_end", "plan": "free", "seats": "0.5"})
        return timeline(client)

    assert answer(put) == answer(timeline)
