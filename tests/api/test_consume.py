"""Check and record in one step. The limit is 2,000 tokens in October; it is noon on the 15th."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from api.engine import Engine
from api.settings import Settings
from ingest.errors import CommitUnknown, DiskFull
from ingest.verdicts import BatchVerdict
from tests.api.conftest import CATALOG, NOW, event
from tests.api.test_quota import ask, use


def amount(id: str, tokens: object, **changes: Any) -> dict[str, Any]:
    return {"id": id, "source": "gateway", "subject": "acme", "feature": "tokens", "amount": tokens, **changes}


def consume(client: httpx2.Client, body: Any) -> httpx2.Response:
    return client.post("/v1/quota/consume", content=body if isinstance(body, bytes | str) else json.dumps(body))


def used(client: httpx2.Client) -> str:
    found: str = ask(client).json()["used"]
    return found


def events_of(engine: Engine) -> list[tuple[Any, ...]]:
    frame = engine.log.scan().frame.collect()
    return frame.select("source", "id", "subject", "data_input_tokens").sort("id").rows()


@pytest.mark.parametrize("tokens", ["1200", 1200, "1200.000"])
def test_what_fits_is_recorded_and_counted(sold: httpx2.Client, engine: Engine, tokens: object) -> None:
    answer = consume(sold, amount("1", tokens))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["allowed"], answer.json()["duplicate"]) == (True, False)
    [item] = answer.json()["items"]
    assert (item["used"], item["remaining"], item["reserved"]) == ("1200", "800", "0")
    assert Decimal(item["amount"]) == 1200
    assert events_of(engine) == [("gateway", "1", "acme", Decimal(1200))]


def test_what_does_not_fit_is_not_recorded(sold: httpx2.Client, engine: Engine) -> None:
    assert consume(sold, amount("1", "1999.5")).status_code == 200
    refused = consume(sold, amount("2", "0.500000001"))
    assert (refused.status_code, refused.json()["allowed"]) == (429, False)
    assert refused.json()["items"][0]["reason"] == "would_exceed"
    assert refused.headers["retry-after"] == str(16 * 86400 + 12 * 3600)
    assert consume(sold, amount("3", "0.5")).json()["items"][0]["remaining"] == "0"
    assert consume(sold, amount("4", "1")).json()["items"][0]["reason"] == "exhausted"
    assert [row[1] for row in events_of(engine)] == ["1", "3"]
    assert engine.quota.reserved().is_empty()


def test_more_than_the_whole_limit_is_refused_without_a_time_to_wait_for(sold: httpx2.Client) -> None:
    refused = consume(sold, amount("1", "2001"))
    assert refused.status_code == 402
    assert "retry-after" not in refused.headers


def test_the_same_again_consumes_nothing_also_where_nothing_is_left(sold: httpx2.Client) -> None:
    for attempt in range(3):
        answer = consume(sold, amount("1", "2000"))
        assert (answer.status_code, answer.json()["duplicate"]) == (200, attempt > 0)
    assert consume(sold, amount("2", "1")).status_code == 429
    assert used(sold) == "2000"


def test_another_amount_under_the_same_id_is_a_conflict(sold: httpx2.Client) -> None:
    assert consume(sold, amount("1", "10")).status_code == 200
    assert consume(sold, amount("1", "11")).status_code == 409
    assert consume(sold, amount("1", "1990")).status_code == 409
    assert consume(sold, amount("1", "5000")).status_code == 409
    assert used(sold) == "10"


def test_a_whole_event_is_taken_in_its_own_digits(sold: httpx2.Client, engine: Engine) -> None:
    raw = json.dumps({"event": event("1")}).replace("100", "0.100000001")
    assert consume(sold, raw).json()["items"][0]["used"] == "0.100000001"
    assert sold.post("/v1/events", content=json.dumps(event("1")).replace("100", "0.100000001"),
                     headers={"content-type": "application/cloudevents+json"}).json()["duplicates"] == 1  # fmt: skip
    assert events_of(engine) == [("gateway", "1", "acme", Decimal("0.100000001"))]


def test_an_event_that_counts_in_nothing_is_recorded(sold: httpx2.Client, engine: Engine) -> None:
    answer = consume(sold, {"event": event("1", type="other")})
    assert (answer.status_code, answer.json()) == (200, {"allowed": True, "duplicate": False, "items": []})
    refund = consume(sold, {"event": event("2", data={"input_tokens": -5})})
    assert (refund.status_code, refund.json()["items"][0]["used"]) == (200, "-5")


WRONG = [
    ("{", 400, "no object"),  # no JSON
    ([], 400, "no object"),  # an array
    ({}, 422, "Field required"),  # nothing
    (amount("1", "-1"), 422, "amount"),  # a negative amount
    (amount("1", 1.5), 422, "amount"),  # a float
    (amount("1", "1", other=1), 422, "other"),  # an unknown member
    ({"event": event(), "other": 1}, 422, "other"),  # an unknown member beside an event
    ({"event": event(), "features": []}, 422, "features"),  # no features
    ({"event": 5}, 422, "send a JSON object"),  # an event that is none
    ({"event": []}, 422, "one event at a time"),  # events that are none
    ({"event": event(time="soon")}, 422, "invalid_time"),  # a bad event
    (amount("1", "1", feature="images"), 422, "no feature 'images'"),  # an unknown feature
    (amount("1", "1", time="2026-09-30T23:59:59Z"), 422, "another window"),  # usage of last month
    (amount("1", "1", subject="nobody"), 403, "no customer"),  # nobody's subject
    ({"event": event(), "features": ["images"]}, 403, "includes images"),  # a feature of no plan
]


def test_what_is_wrong_is_said_and_nothing_recorded(sold: httpx2.Client, engine: Engine) -> None:
    for body, status, says in WRONG:
        answer = consume(sold, body)
        assert (answer.status_code, says in answer.text) == (status, True), answer.text
        assert engine.quota.reserved().is_empty()
    assert events_of(engine) == []


PAID = {"property": "kind", "in": ["paid"]}
ANY = {"property": "kind", "in": ["paid", "free"]}
NUMBERS = {"a": "number", "b": "number"}
METERS: dict[str, dict[str, Any]] = {
    "calls": {"event_type": "call", "aggregation": "count", "filters": [PAID]},
    "sold": {"event_type": "call", "aggregation": "sum", "property": "size", "filters": [ANY]},
    "both": {
        "event_type": "call",
        "aggregation": "sum",
        "properties": {"a": "number", "b": "number"},
        "expression": "a * b",
    },
}


@pytest.fixture
def filtered(sold: httpx2.Client) -> httpx2.Client:
    features = {name: {"meter": name} for name in METERS}
    limits = {name: {"limit": "10", "window": "month"} for name in METERS}
    catalog = {**CATALOG, "meters": {**CATALOG["meters"], **METERS}, "features": {**CATALOG["features"], **features}}
    pro = {**CATALOG["plans"]["pro"], "entitlements": {**CATALOG["plans"]["pro"]["entitlements"], **limits}}
    put = sold.put("/v1/catalog", json={**catalog, "plans": {**CATALOG["plans"], "pro": pro}})
    assert put.status_code == 200, put.text
    return sold


GIVEN = [
    (amount("0", 1, feature="calls"), 200, ""),  # one call; its filter says which
    (amount("1", 2, feature="calls"), 200, ""),  # two calls are two events
    (amount("1", "2.5", feature="calls"), 422, "2.5"),  # half a call is none
    (amount("2", 2, feature="sold", data={"kind": "free"}), 200, ""),  # of one of two kinds
    (amount("3", 2, feature="sold", data={"kind": "x"}), 422, "counts 0 instead"),  # filtered out
    (amount("4", 2, feature="both"), 422, "send the event"),  # a product is no amount
]


def test_an_amount_becomes_the_event_that_counts_as_it(filtered: httpx2.Client) -> None:
    for given, status, says in GIVEN:
        answer = consume(filtered, given)
        assert (answer.status_code, says in answer.text) == (status, True), answer.text
        if status == 200:
            [item] = answer.json()["items"]
            assert (item["feature"], item["amount"]) == (given["feature"], str(given["amount"]))
    assert [ask(filtered, feature=feature).json()["used"] for feature in ("calls", "sold")] == ["3", "2"]


def test_what_was_used_is_recorded_also_where_nothing_is_left(filtered: httpx2.Client) -> None:
    late = {"was_used": True, "time": "2026-09-30T23:59:59Z"}
    for _ in range(2):
        assert consume(filtered, amount("1", 5000, was_used=True)).json()["allowed"] is True
        assert consume(filtered, amount("2", 7, **late)).status_code == 200
        answer = consume(filtered, amount("3", 11, feature="calls", was_used=True))
        assert (answer.status_code, answer.json()["items"][0]["used"]) == (200, "11")
    assert (used(filtered), ask(filtered).json()["remaining"]) == ("5000", "0")


def test_an_event_of_several_features_is_taken_when_all_have_room(filtered: httpx2.Client, engine: Engine) -> None:
    big = {"event": event("1", type="call", data={"kind": "paid", "size": 11})}
    refused = consume(filtered, big)
    assert (refused.status_code, [i["feature"] for i in refused.json()["items"]]) == (402, ["sold"])
    assert events_of(engine) == []
    taken = consume(filtered, {**big, "features": ["calls"]})
    assert (taken.status_code, [i["used"] for i in taken.json()["items"]]) == (200, ["1"])
    assert ask(filtered, feature="sold").json()["used"] == "11"


THREADS = 64


def race(engine: Engine, asked: list[tuple[str, object]]) -> list[bool]:
    """All at the same moment, each in a thread of its own pool of 64; whether each was allowed."""
    start = threading.Barrier(THREADS)

    def one(thread: int) -> list[bool]:
        start.wait()
        return [
            engine.consuming.consume(json.dumps(event(key, data={"input_tokens": tokens})).encode()).allowed
            for key, tokens in asked[thread::THREADS]
        ]

    with ThreadPoolExecutor(THREADS) as threads:
        return [allowed for found in threads.map(one, range(THREADS)) for allowed in found]


def test_64_threads_pass_a_hard_limit_by_no_unit_and_reach_it(sold: httpx2.Client, engine: Engine) -> None:
    """2,000 units; 64 threads ask for 7 each, 320 times (2,240), then for 1 each until all is taken."""
    allowed = race(engine, [(f"seven-{n}", 7) for n in range(320)])
    assert sum(allowed) * 7 == int(used(sold)) <= 2000
    race(engine, [(f"one-{n}", 1) for n in range(640)])
    assert (used(sold), ask(sold).json()["reserved"]) == ("2000", "0")
    assert len(events_of(engine)) == sum(allowed) + 2000 - 7 * sum(allowed)


@pytest.mark.long
def test_64_threads_reach_a_hard_limit_in_thousands_of_rounds(
    sold: httpx2.Client, engine: Engine, eager_switches: None
) -> None:
    """4,000 times 0.5 is all; 6,400 are asked for, each tenth of them twice."""
    allowed = race(engine, [(f"{n}", "0.5") for n in range(6_400) for _ in range(1 + (n % 10 == 0))])
    assert (used(sold), ask(sold).json()["reserved"]) == ("2000", "0")
    assert len(events_of(engine)) == 4_000
    assert sum(allowed) >= 4_000


def test_the_same_event_from_64_threads_is_taken_once(sold: httpx2.Client, engine: Engine) -> None:
    assert all(race(engine, [("1", 2000)] * THREADS))
    assert used(sold) == "2000"


def test_plain_checks_overshoot_by_no_more_than_what_was_under_way(sold: httpx2.Client, engine: Engine) -> None:
    """What the other way costs: each of 64 threads checks 10, is allowed, and sends its event of 10 afterwards."""
    use(sold, "before", 1990)
    start = threading.Barrier(THREADS)

    def one(thread: int) -> bool:
        answer = engine.quota.check("acme", "tokens", Decimal(10), NOW)
        start.wait()
        if answer.allowed:
            body = json.dumps(event(str(thread), data={"input_tokens": 10})).encode()
            engine.log.submit(body, "application/cloudevents+json").result(30)
        return answer.allowed

    with ThreadPoolExecutor(THREADS) as threads:
        allowed = sum(threads.map(one, range(THREADS)))
    overshoot = int(used(sold)) - 2000
    assert overshoot == 10 * (allowed - 1)
    assert ask(sold).json()["used"] == str(2000 + overshoot)


Submit = Callable[..., "Future[BatchVerdict]"]


def test_a_full_disk_gives_back_what_was_held(
    sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> "Future[BatchVerdict]":
        failed: Future[BatchVerdict] = Future()
        failed.set_exception(DiskFull("no room"))
        return failed

    monkeypatch.setattr(engine.log, "submit_screened", full)
    assert consume(sold, amount("1", "2000")).status_code == 507
    monkeypatch.undo()
    assert consume(sold, amount("1", "2000")).json()["duplicate"] is False


def test_nobody_gets_the_room_of_an_event_of_which_it_is_unknown_whether_it_is_kept(
    sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> "Future[BatchVerdict]":
        failed: Future[BatchVerdict] = Future()
        failed.set_exception(CommitUnknown("the disk failed"))
        return failed

    monkeypatch.setattr(engine.log, "submit_screened", unknown)
    assert consume(sold, amount("1", "2000")).status_code == 503
    monkeypatch.undo()
    assert consume(sold, amount("2", "1")).status_code == 429


def test_a_restart_knows_what_was_consumed(sold: httpx2.Client, engine: Engine, settings: Settings) -> None:
    assert consume(sold, amount("1", "2000")).status_code == 200
    engine.close()
    again = Engine.open(settings, now=lambda: NOW)
    body = json.dumps(event("2", data={"input_tokens": 1})).encode()
    assert not again.consuming.consume(body).allowed
    again.close()
