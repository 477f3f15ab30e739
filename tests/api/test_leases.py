"""Slices of a quota that gateways spend by themselves. The limit is 2,000 tokens in October; it is noon on the 15th."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.leases import KEPT, LeaseAsked, ReportAsked
from api.settings import Settings
from ingest.errors import DiskFull
from ingest.verdicts import BatchVerdict
from rating.core.quota.answer import QuotaAnswer
from store.errors import DatabaseUnavailable
from tests.api.conftest import CATALOG, NOW, is_documented
from tests.api.test_consume import amount, consume, events_of
from tests.api.test_quota import ask, use

FIRST = {"id": "first", "subject": "acme", "feature": "tokens", "amount": "500", "seconds": 60}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def on(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(settings: Settings, clock: Clock) -> Iterator[Engine]:
    opened = Engine.open(settings, now=clock)
    yield opened
    opened.close()


def lease(client: httpx2.Client, **changes: Any) -> Any:
    answer = client.post("/v1/leases", json={**FIRST, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


def report(client: httpx2.Client, sequence: int, used: object, id: str = "first", **more: Any) -> httpx2.Response:
    return client.post(f"/v1/leases/{id}/report", json={"sequence": sequence, "used": used, **more})


def release(client: httpx2.Client, id: str = "first", **more: Any) -> httpx2.Response:
    return client.post(f"/v1/leases/{id}/release", json=more)


def standing(client: httpx2.Client) -> tuple[str, str, str]:
    """Used, reserved, remaining."""
    body = ask(client).json()
    return body["used"], body["reserved"], body["remaining"]


def test_a_slice_is_held_until_it_is_used_or_released(sold: httpx2.Client, engine: Engine) -> None:
    made = lease(sold)
    assert (made["granted"], made["used"], made["sequence"], made["renew_at"]) == ("500", "0", 0, "400")
    assert (made["expires_at"], made["state"], made["customer"]) == ("2026-10-15T12:01:00Z", "open", "acme")
    assert made["quota"] == {
        "limit": "2000", "used": "0", "reserved": "500", "remaining": "1500", "resets_at": "2026-11-01T00:00:00Z"
    }  # fmt: skip
    assert report(sold, 1, "120").json()["used"] == "120"
    assert standing(sold) == ("120", "380", "1500")
    released = release(sold, sequence=2, used="150").json()
    assert (released["state"], released["used"], released["quota"]["remaining"]) == ("released", "150", "1850")
    assert standing(sold) == ("150", "0", "1850")
    assert events_of(engine) == [("lease:first", "1", "acme", Decimal(120)), ("lease:first", "2", "acme", Decimal(30))]


def test_what_others_hold_cannot_be_used(sold: httpx2.Client) -> None:
    lease(sold, amount="1999")
    assert ask(sold, "2").json()["reason"] == "would_exceed"
    assert consume(sold, amount("1", 2)).status_code == 429
    assert consume(sold, amount("1", 1)).status_code == 200
    refused = sold.post("/v1/leases", json={**FIRST, "id": "second", "amount": 1})
    assert (refused.status_code, refused.json()["reason"]) == (429, "exhausted")
    assert int(refused.headers["retry-after"]) == 16 * 86400 + 12 * 3600
    assert release(sold).json()["quota"]["remaining"] == "1999"


def test_slices_become_smaller_towards_the_limit(sold: httpx2.Client) -> None:
    """All of what is asked for while nobody else holds any; then half of what is left, in whole units, and at least
    the minimum: 2000 - 1001 = 999; 499 of it; 250 of 500; 125 of 250; 62 of 125; 31 of 63; 30 of 32; 2 are left."""
    wanted = [("1001", "1", "1001"), ("900", "1", "499"), ("900", "1", "250"), ("900", "1", "125"), ("900", "1", "62"),
              ("900", "1", "31"), ("900", "30", "30")]  # fmt: skip
    for number, (most, least, granted) in enumerate(wanted):
        assert lease(sold, id=f"{number}", amount=most, minimum=least)["granted"] == granted
    assert sold.post("/v1/leases", json={**FIRST, "minimum": "3"}).status_code == 429
    assert lease(sold, amount="900", minimum="0.000000001")["granted"] == "1"
    assert standing(sold)[1:] == ("1999", "1")


def test_reports_repeated_out_of_order_late_and_back(sold: httpx2.Client, engine: Engine, clock: Clock) -> None:
    lease(sold)
    assert report(sold, 1, 100).json()["used"] == "100"
    assert report(sold, 5, "200.5").json()["used"] == "200.5"  # gaps are fine
    for sequence, used in ((1, 100), (3, 150), (5, "200.5"), (5, 300), (4, 5000)):
        assert report(sold, sequence, used).json()["used"] == "200.5"
    back = report(sold, 6, 200)
    assert (back.status_code, back.json()["type"]) == (409, "urn:tallystick:problem:usage-goes-back")
    assert standing(sold) == ("200.5", "299.5", "1500")
    clock.on(seconds=61)
    engine.leases.tick()
    assert standing(sold) == ("200.5", "0", "1799.5")
    late = report(sold, 6, 400, renew="500").json()
    assert (late["state"], late["used"], late["granted"], late["overspent"]) == ("expired", "400", "500", "0")
    assert standing(sold) == ("400", "0", "1600")
    times = engine.log.scan().frame.collect().sort("sequence")["time"].to_list()
    assert times == [NOW, NOW, NOW + timedelta(seconds=60, microseconds=-1)]
    assert engine.leases.status() == {"open": 0, "unreported": 1, "overspent": 0}


def test_more_than_the_slice_is_usage_and_is_shown(sold: httpx2.Client, engine: Engine) -> None:
    lease(sold, amount=10)
    assert report(sold, 1, 25).json()["overspent"] == "15"
    assert standing(sold) == ("25", "0", "1975")
    assert report(sold, 2, 25, renew=10).json()["granted"] == "35"
    assert standing(sold) == ("25", "10", "1965")
    assert engine.leases.status() == {"open": 1, "unreported": 0, "overspent": 1}


def test_a_renewal_fills_the_slice_up_and_takes_nothing_back(sold: httpx2.Client, clock: Clock) -> None:
    lease(sold, amount=100, minimum=1)
    clock.on(seconds=50)
    renewed = report(sold, 1, 80, renew=100).json()
    assert (renewed["granted"], renewed["renew_at"], renewed["expires_at"]) == ("180", "160", "2026-10-15T12:01:50Z")
    assert standing(sold) == ("80", "100", "1820")
    assert report(sold, 2, 90, renew=50).json()["granted"] == "180"
    assert report(sold, 2, 90, renew=95).json()["granted"] == "185"  # sent again: as far as it is not there already
    assert report(sold, 1, 90, renew=1000).json()["granted"] == "185"  # an older one asks for nothing
    assert report(sold, 3, 90, renew=1000).json()["granted"] == "1090"  # nobody else holds any
    assert report(sold, 3, 90, renew=95).json()["granted"] == "1090"
    release(sold)
    lease(sold, id="first-2", amount=95, minimum=1)
    lease(sold, id="other", amount=1000)
    assert report(sold, 3, 0, "first-2", renew=5000).json()["granted"] == str(95 + (2000 - 90 - 95 - 1000) // 2)
    assert standing(sold) == ("90", str(95 + 407 + 1000), "408")


def test_what_is_not_renewed_is_free_again(sold: httpx2.Client, engine: Engine, clock: Clock) -> None:
    lease(sold)
    clock.on(seconds=59, microseconds=999_999)
    engine.leases.tick()
    assert standing(sold)[1] == "500"
    clock.on(microseconds=1)
    assert sold.get("/v1/leases/first").json()["state"] == "expired"
    engine.leases.tick()
    assert standing(sold)[1] == "0"
    assert sold.get("/v1/leases", params={"state": "expired"}).json()["items"][0]["id"] == "first"
    assert sold.get("/v1/leases", params={"state": "open"}).json()["items"] == []


def test_no_slice_outlives_its_window(sold: httpx2.Client, engine: Engine, clock: Clock) -> None:
    clock.now = datetime(2026, 10, 31, 23, 59, 30, tzinfo=UTC)
    assert lease(sold)["expires_at"] == "2026-11-01T00:00:00Z"
    assert report(sold, 1, 20, renew=500).json()["expires_at"] == "2026-11-01T00:00:00Z"
    clock.on(seconds=40)
    engine.leases.tick()
    assert standing(sold) == ("0", "0", "2000")
    assert report(sold, 2, 30).json()["state"] == "expired"
    assert standing(sold) == ("0", "0", "2000")  # it counts in October, where the slice was of
    times = engine.log.scan().frame.collect().sort("sequence")["time"].to_list()
    assert times[1] == datetime(2026, 11, 1, tzinfo=UTC) - timedelta(microseconds=1)


def test_the_same_request_is_answered_as_the_first_time(sold: httpx2.Client) -> None:
    made = lease(sold)
    assert lease(sold, amount="500.0") == made
    assert sold.post("/v1/leases", json={**FIRST, "amount": "501"}).status_code == 409
    assert release(sold, used=7).json() == release(sold, used=7).json() == release(sold).json()
    assert lease(sold)["state"] == "released"
    assert standing(sold) == ("7", "0", "1993")
    ids = [sold.post("/v1/leases", json={**FIRST, "id": None}).json()["id"] for _ in range(2)]
    assert ids[0] != ids[1]


def test_a_call_reserves_what_it_may_use_and_settles_what_it_used(sold: httpx2.Client) -> None:
    """A prompt of 300 tokens with max_tokens 1,000 is let through with room for 1,300, and has used 412 in the end."""
    use(sold, "before", 700)
    lease(sold, id="call-1", amount=1300)
    assert sold.post("/v1/leases", json={**FIRST, "id": "call-2", "amount": 1}).status_code == 429
    assert release(sold, "call-1", used=412).json()["quota"]["used"] == "1112"
    assert standing(sold) == ("1112", "0", "888")


def test_who_sends_events_before_reporting_records_nothing_twice(sold: httpx2.Client, engine: Engine) -> None:
    lease(sold, records="nothing")
    use(sold, "own", 70)
    assert standing(sold) == ("70", "500", "1430")
    report(sold, 1, 70)
    assert standing(sold) == ("70", "430", "1500")
    assert [row[1] for row in events_of(engine)] == ["own"]


def test_a_meter_that_counts_events_gets_as_many(sold: httpx2.Client, engine: Engine) -> None:
    features = {**CATALOG["features"], "requests": {"meter": "requests"}}
    limits = {**CATALOG["plans"]["pro"]["entitlements"], "requests": {"limit": "50", "window": "month"}}
    pro = {**CATALOG["plans"]["pro"], "entitlements": limits}
    catalog = {**CATALOG, "features": features, "plans": {**CATALOG["plans"], "pro": pro}}
    assert sold.put("/v1/catalog", json=catalog).status_code == 200
    lease(sold, feature="requests", amount=20, data={"model": "big"})
    for _ in range(2):
        assert report(sold, 1, 3).json()["quota"]["used"] == "3"
    assert [row[:2] for row in events_of(engine)] == [("lease:first", f"1.{n}") for n in (1, 2, 3)]
    assert engine.log.scan().frame.collect()["data_model"].to_list() == ["big"] * 3
    assert report(sold, 2, "3.5").status_code == 422
    assert report(sold, 2, 4).json()["quota"]["used"] == "4"


def test_what_is_wrong_is_said_and_nothing_held(sold: httpx2.Client, engine: Engine) -> None:
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"amount": "0"}, 422, "above 0"),
        ({"amount": "-1"}, 422, "amount"),
        ({"minimum": "501"}, 422, "at most `amount` 500"),
        ({"seconds": 3601}, 422, "at most 3600"),
        ({"feature": "images"}, 422, "no feature 'images'"),
        ({"feature": "images", "records": "nothing"}, 403, "no plan of acme includes images"),
        ({"subject": "nobody"}, 403, "no customer has this subject"),
        ({"amount": "2001"}, 402, "is more than the"),
        ({"id": "a/b"}, 422, "id"),
        ({"other": 1}, 422, "other"),
    ]
    for changes, status, says in wrong:
        answer = sold.post("/v1/leases", json={**FIRST, **changes})
        assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert engine.quota.reserved().is_empty()
    for path in ("report", "release"):
        assert sold.post(f"/v1/leases/none/{path}", json={"sequence": 1, "used": 1}).status_code == 404
    assert sold.get("/v1/leases/none").status_code == 404
    assert sold.get("/v1/leases").json() == {"items": [], "next": None}


def test_a_report_that_cannot_be_recorded_is_refused_and_changes_nothing(sold: httpx2.Client) -> None:
    lease(sold)
    refused = report(sold, 1, 10, data={"note": "x" * 70_000})
    assert refused.status_code == 422, refused.text
    assert sold.get("/v1/leases/first").json()["used"] == "0"
    assert standing(sold) == ("0", "500", "1500")


def test_pages_of_leases(sold: httpx2.Client) -> None:
    for number in range(5):
        lease(sold, id=f"lease-{number}", amount=1)
    page = sold.get("/v1/leases", params={"limit": 3, "customer": "acme"}).json()
    assert ([item["id"] for item in page["items"]], page["next"]) == (["lease-0", "lease-1", "lease-2"], "lease-2")
    rest = sold.get("/v1/leases", params={"limit": 3, "after": "lease-2"}).json()
    assert ([item["id"] for item in rest["items"]], rest["next"]) == (["lease-3", "lease-4"], None)
    assert sold.get("/v1/leases", params={"customer": "other"}).json()["items"] == []


def test_leases_that_ended_long_ago_are_removed(sold: httpx2.Client, engine: Engine, clock: Clock) -> None:
    lease(sold)
    release(sold, used=5)
    clock.now += KEPT + timedelta(seconds=1)
    lease(sold, id="open", amount=1)
    engine.leases.tick()
    assert [item["id"] for item in sold.get("/v1/leases").json()["items"]] == ["open"]
    assert engine.store.leases.unrecorded() == []


def asked(id: str, most: int, least: int | None = None) -> LeaseAsked:
    return LeaseAsked(id, "acme", "tokens", Decimal(most), Decimal(least or most), 60, "usage", {})


CLIENTS = 64


def spend(engine: Engine, client: int, wanted: int, slice: int) -> int:
    """A gateway that spends 1 at a time from slices, until none is granted or it has `wanted`; what it has spent."""
    spent = number = 0
    while spent < wanted:
        made = engine.leases.make(asked(f"{client}-{number}", slice, 1))
        if isinstance(made, QuotaAnswer):
            return spent
        used = min(int(made.granted), wanted - spent)
        engine.leases.report(made.id, ReportAsked(1, Decimal(used // 2)))
        engine.leases.release(made.id, ReportAsked(2, Decimal(used)))
        spent, number = spent + used, number + 1
    return spent


def test_64_clients_pass_a_hard_limit_by_no_unit_and_reach_it(sold: httpx2.Client, engine: Engine) -> None:
    """Each wants 40 of the 2,000 from slices of up to 10; whoever asks at the end gets what the others gave back."""
    stop = threading.Event()
    seen: list[Decimal] = []

    def watch() -> None:
        while not stop.wait(0.005):
            answer = engine.quota.check("acme", "tokens", Decimal(0), NOW)
            assert answer.used is not None
            assert answer.reserved is not None
            seen.append(answer.used)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(CLIENTS) as threads:
        spent = list(threads.map(lambda client: spend(engine, client, 40, 10), range(CLIENTS)))
    stop.set()
    watcher.join()
    assert max(seen) <= 2000
    assert sum(spent) + spend(engine, CLIENTS, 2000, 100) == 2000
    assert standing(sold) == ("2000", "0", "0")


@pytest.mark.long
def test_64_clients_reach_a_hard_limit_in_thousands_of_requests(
    sold: httpx2.Client, engine: Engine, eager_switches: None
) -> None:
    """Slices of 1 or 2, each made, reported and released: 1,000 leases and more."""
    with ThreadPoolExecutor(CLIENTS) as threads:
        spent = list(threads.map(lambda client: spend(engine, client, 40, 2), range(CLIENTS)))
    assert sum(spent) + spend(engine, CLIENTS, 2000, 100) == 2000
    assert standing(sold) == ("2000", "0", "0")


class Killed(BaseException):
    """The process ends here."""


def kill_at(step: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next request of a lease be the last thing that this process does, up to a step of it."""
    service = engine.leases
    write, submit = service._keeper.write, service._events.submit

    def killed(*_: object) -> None:
        raise Killed

    def committed(*given: Any) -> None:
        write(*given)
        raise Killed

    def recorded(*given: Any) -> "Future[BatchVerdict]":
        submit(*given).result()
        raise Killed

    if step == "before its commit":
        monkeypatch.setattr(service._keeper, "write", killed)
    elif step == "behind its commit":
        monkeypatch.setattr(service._keeper, "write", committed)
    elif step == "before its event":
        monkeypatch.setattr(type(service._events), "submit", killed)
    else:
        monkeypatch.setattr(type(service._events), "submit", lambda _, report: recorded(report))


STEPS = ["before its commit", "behind its commit", "before its event", "behind its event"]


@pytest.mark.parametrize(
    ("request_", "step"),
    [("make", step) for step in STEPS[:2]] + [(path, step) for path in ("report", "release") for step in STEPS],
)
def test_a_kill_forgets_no_lease_and_no_report_and_counts_none_twice(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch, request_: str, step: str
) -> None:
    """The request that was under way is sent again after the restart: the end is the same wherever it was broken
    off. Nobody looks at what has expired meanwhile: a killed process looks at nothing any more."""
    monkeypatch.setattr("api.leases.TICK_SECONDS", 3600.0)
    bodies: dict[str, tuple[str, Any]] = {
        "make": ("/v1/leases", FIRST),
        "report": ("/v1/leases/first/report", {"sequence": 2, "used": 200, "renew": 400}),
        "release": ("/v1/leases/first/release", {"sequence": 2, "used": 200}),
    }
    begun: dict[str, Callable[[Engine], object]] = {
        "make": lambda engine: engine.leases.make(asked("first", 500)),
        "report": lambda engine: engine.leases.report("first", ReportAsked(2, Decimal(200), renew=Decimal(400))),
        "release": lambda engine: engine.leases.release("first", ReportAsked(2, Decimal(200))),
    }
    engine = Engine.open(settings, now=clock)
    with TestClient(create_app(settings, engine=engine)) as client:
        client.put("/v1/catalog", json=CATALOG)
        client.put("/v1/customers/acme", json={})
        client.put("/v1/subscriptions/s", json={"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"})
        if request_ != "make":
            lease(client)
            report(client, 1, 50)
        kill_at(step, engine, monkeypatch)
        path, body = bodies[request_]
        with pytest.raises(Killed):
            begun[request_](engine)
        monkeypatch.setattr(engine.leases._keeper, "_write", lambda changes: None)
    engine.close()
    monkeypatch.undo()
    engine = Engine.open(settings, now=clock)
    with TestClient(create_app(settings, engine=engine)) as client:
        client.event_hooks["response"].append(is_documented)
        if request_ != "make":
            is_taken = step != "before its commit"
            is_over = is_taken and request_ == "release"
            left = "0" if is_over else "300" if is_taken else "450"
            assert standing(client)[:2] == ("200" if is_taken else "50", left)
        answer = client.post(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        assert standing(client) == {
            "make": ("0", "500", "1500"), "report": ("200", "400", "1400"), "release": ("200", "0", "1800")
        }[request_]  # fmt: skip
        assert engine.store.leases.unrecorded() == [] or engine.leases._keeper._lazily
        numbers = {"make": [], "report": ["1", "2"], "release": ["1", "2"]}[request_]
        assert [row[1] for row in events_of(engine)] == numbers
    engine.close()


def test_a_restart_holds_open_leases_again_and_ends_those_that_are_over(settings: Settings, clock: Clock) -> None:
    for start in range(3):
        engine = Engine.open(settings, now=clock)
        with TestClient(create_app(settings, engine=engine)) as client:
            if start == 0:
                client.put("/v1/catalog", json=CATALOG)
                client.put("/v1/customers/acme", json={})
                term = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
                client.put("/v1/subscriptions/s", json=term)
                lease(client, id="short", amount=300, seconds=60)
                lease(client, id="long", amount=500, seconds=3600)
                report(client, 1, 100, id="long")
            expected = [("100", "700", "1200"), ("100", "400", "1500"), ("100", "0", "1900")][start]
            assert standing(client) == expected
            states = [item["state"] for item in client.get("/v1/leases").json()["items"]]
            assert states == [["open", "open"], ["open", "expired"], ["expired", "expired"]][start]
        engine.close()
        clock.on(hours=start + 0.5)


def test_a_report_waits_for_room_on_the_disk_and_is_held_until_then(
    sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease(sold)

    def full(*_: object) -> None:
        raise DiskFull("no room")

    monkeypatch.setattr(type(engine.leases._events), "submit", full)
    assert release(sold, used=200).status_code == 507
    assert standing(sold) == ("0", "200", "1800")
    monkeypatch.undo()
    engine.leases.tick()
    assert standing(sold) == ("200", "0", "1800")
    assert release(sold, used=200).json()["state"] == "released"
    assert len(events_of(engine)) == 1


def test_a_lease_that_cannot_be_written_is_not_held(
    sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> None:
        raise DatabaseUnavailable("away")

    lease(sold, id="before", amount=100, minimum=1)
    with monkeypatch.context() as patched:
        patched.setattr(engine.leases._keeper, "_write", away)
        assert sold.post("/v1/leases", json=FIRST).status_code == 503
        assert report(sold, 1, 10, id="before").status_code == 503
        assert standing(sold) == ("0", "100", "1900")
    assert lease(sold)["granted"] == "500"
    assert report(sold, 1, 10, id="before").json()["used"] == "10"
    assert standing(sold) == ("10", "590", "1400")


def test_leases_are_for_callers_in_a_group(sold: httpx2.Client, engine: Engine) -> None:
    """64 at a time share commits: far fewer than one each."""
    commits = []
    write = engine.leases._keeper._write
    engine.leases._keeper._write = lambda changes: (commits.append(len(changes)), write(changes))[1]
    with ThreadPoolExecutor(CLIENTS) as threads:
        made = list(threads.map(lambda n: engine.leases.make(asked(str(n), 1)), range(640)))
    assert not any(isinstance(each, QuotaAnswer) for each in made)
    assert (sum(commits), len(commits) < 320) == (640, True), commits
    assert standing(sold)[1] == "640"
    assert events_of(engine) == []
