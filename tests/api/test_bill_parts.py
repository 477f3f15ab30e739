"""Runs in parts: what they come to is the same in one part and in many, also when a crash came between two of them."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.making import AHEAD, Making, made_ahead
from api.parts import EVERYONE, Span, spans
from api.settings import Settings
from rating.core.schema import SUBSCRIPTION
from store.runs import Run, Runs
from tests.api.conftest import event
from tests.api.test_closing import Clock, close, put
from tests.api.test_corrections import correct, void
from tests.api.test_events import post
from tests.api.test_rating import lines_of

CATALOG: dict[str, Any] = {
    "tallystick": 1,
    "currencies": ["USD", "EUR"],
    "meters": {
        "tokens": {"event_type": "llm.request", "aggregation": "sum", "property": "input_tokens"},
        "models": {"event_type": "llm.request", "aggregation": "count", "group_by": ["model"]},
    },
    "prices": {
        "tokens": {"meter": "tokens", "currency": "USD", "model": "per_unit", "versions": [{"unit_amount": "0.013"}]},
        "fee": {"currency": "USD", "model": "flat", "prorate": "days", "versions": [{"amount": "30"}]},
        "euro": {"meter": "tokens", "currency": "EUR", "model": "per_unit", "versions": [{"unit_amount": "0.007"}]},
        "calls": {"meter": "models", "currency": "USD", "model": "per_unit", "versions": [{"unit_amount": "1"}]},
        "dear": {"meter": "tokens", "currency": "USD", "model": "per_unit", "versions": [{"unit_amount": "1000000"}]},
    },
    "plans": {
        "pro": {"currency": "USD", "prices": ["fee", "tokens"]},
        "euro": {"currency": "EUR", "prices": ["euro"]},
        "dear": {"currency": "USD", "prices": ["dear", "calls"]},
    },
    "closing": {"grace_hours": 12},
}
CUSTOMERS = [f"c{number:02}" for number in range(13)]
HUGE = "c05"  # cannot be rated


@contextmanager
def served(directory: Path, clock: Clock, part: int) -> Iterator[tuple[httpx2.Client, Engine]]:
    settings = Settings(data=directory, body_bytes_max=1 << 20, part_subscriptions_max=part)
    engine = Engine.open(settings, now=clock)
    try:
        with TestClient(create_app(settings, engine=engine), raise_server_exceptions=False) as client:
            yield client, engine
    finally:
        engine.close()


def prepare(client: httpx2.Client, clock: Clock, catalog: dict[str, Any] = CATALOG) -> None:
    """Customers with one to three subscriptions, some of them with credits; usage that nobody pays for."""
    clock.set("2026-09-01T00:00:00")
    put(client, "/v1/catalog", catalog)
    for number, customer in enumerate(CUSTOMERS):
        put(client, f"/v1/customers/{customer}", {"time_zone": "Asia/Tokyo" if number % 4 == 3 else "UTC"})
        plan = "dear" if customer == HUGE else "euro" if number % 3 == 2 else "pro"
        for place in range(1 + number % 3):
            terms = {"customer": customer, "plan": plan, "starts_at": "2026-09-01T00:00:00Z"}
            put(client, f"/v1/subscriptions/z{place}-{number}", terms)
        if number % 2 == 0 and plan == "pro":
            grant = {"id": f"g{number}", "currency": "USD", "amount": "7.5", "effective_at": "2026-09-02T00:00:00Z"}
            answer = client.post(f"/v1/customers/{customer}/credits", json=grant)
            assert answer.status_code in (200, 201), answer.text
    clock.set("2026-09-10T00:00:00")
    for number, subject in enumerate([*CUSTOMERS, "stranger"]):
        tokens = 10**15 if subject == HUGE else 100 + number
        post(client, event(f"e{number}", subject=subject, time="2026-09-05T00:00:00Z", data={"input_tokens": tokens}))
    post(client, event("other", type="nobody.counts", time="2026-09-06T00:00:00Z"))


def comparable(run: dict[str, Any]) -> dict[str, Any]:
    """The run without the names of runs, which are random."""
    report = {name: value for name, value in run["report"].items() if name != "credits"}
    credits = {name: value for name, value in run["report"].get("credits", {}).items() if name != "opened_by"}
    known = {name: run[name] for name in ("kind", "status", "digest", "due_after", "due_until")}
    return {**known, "report": report, "credits": credits}


def lines_without_run(client: httpx2.Client, run: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "run"} for line in lines_of(client, run)]


def ledger_of(engine: Engine, run: dict[str, Any]) -> list[dict[str, Any]]:
    return engine.rating.sources.ledgers.rows(run["id"]).drop("run").collect().to_dicts()


def made(directory: Path, part: int, catalog: dict[str, Any] = CATALOG) -> list[Any]:
    """Two months closed, with late usage, a correction and a subscription that moves between them; all runs with their
    lines and ledgers."""
    clock = Clock()
    with served(directory, clock, part) as (client, engine):
        prepare(client, clock, catalog)
        clock.set("2026-10-02T00:00:00")
        runs = close(client)
        for number, subject in enumerate(CUSTOMERS[:9]):
            late = {"time": "2026-09-21T00:00:00Z", "data": {"input_tokens": 40 + number}}
            post(client, event(f"late{number}", subject=subject, **late))
        assert correct(client, void("e11")).json()["accepted"] == 1
        moved = {"customer": "c09", "plan": "pro", "starts_at": "2026-09-01T00:00:00Z"}
        put(client, "/v1/subscriptions/z0-1", moved)  # it was c01's, who is in another part
        clock.set("2026-11-02T00:00:00")
        runs += close(client)
        items = client.get("/v1/rating-runs").json()["items"]
        every = sorted(items, key=lambda run: (run["due_until"], run["kind"]))  # all begin at the same instant here
        assert {run["id"] for run in runs} <= {run["id"] for run in every}
        for run in every:
            assert client.post(f"/v1/rating-runs/{run['id']}/verify").json()["result"] == "equal"
            assert run["progress"] is None
        return [(comparable(run), lines_without_run(client, run), ledger_of(engine, run)) for run in every]


@pytest.mark.parametrize("late", ["adjust", "document"])
def test_one_part_and_many_come_to_the_same(tmp_path: Path, late: str) -> None:
    catalog = {**CATALOG, "closing": {"grace_hours": 12, "late": late}}
    whole = made(tmp_path / "whole", 1_000, catalog)
    assert any(lines for _, lines, _ in whole)
    assert any(ledger for _, _, ledger in whole)
    reports = [run["report"] for run, _, _ in whole if run["kind"] == "final"]
    assert any(report["unsubscribed"]["rows"] for report in reports)
    assert any(report["unmetered"]["rows"] for report in reports)
    assert any(report["unpriced"]["rows"] for report in reports)
    assert any([one["customer"] for one in report["skipped"]] == [HUGE] for report in reports)
    assert any(line["kind"] == "adjustment" for _, lines, _ in whole for line in lines)
    for one, other in zip(made(tmp_path / "parts", 4, catalog), whole, strict=True):
        for of_parts, of_one in zip(one, other, strict=True):
            assert of_parts == of_one


def test_a_month_in_parts_is_the_same_month(tmp_path: Path) -> None:
    digests = []
    for part in (1_000, 3):
        clock = Clock()
        with served(tmp_path / str(part), clock, part) as (client, _):
            prepare(client, clock, {**CATALOG, "plans": {**CATALOG["plans"], "dear": CATALOG["plans"]["pro"]}})
            clock.set("2026-10-02T00:00:00")
            run = client.post("/v1/rating-runs", json={"period": "2026-09"}).json()
            digests.append((run["digest"], run["report"]))
    assert digests[0] == digests[1]


class Crash(Exception):
    pass


@pytest.mark.parametrize("parts", [1, 3])
def test_a_run_goes_on_behind_the_parts_that_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    clock = Clock()
    noted, note = [], Runs.note

    def note_and_stop(runs: Runs, run: Run) -> None:
        note(runs, run)
        noted.append(run.id)
        if len(noted) == parts:
            monkeypatch.setattr(Runs, "finish", _crash)  # nothing is recorded any more, as after a kill
            raise Crash

    with served(tmp_path / "data", clock, 4) as (client, _):
        prepare(client, clock)
        clock.set("2026-10-02T00:00:00")
        with monkeypatch.context() as broken:
            broken.setattr(Runs, "note", note_and_stop)
            assert client.post("/v1/rating-runs", json={"due": True}).status_code == 500
    monkeypatch.undo()
    worked: list[str] = []
    store = Making._store_part

    def counted(making: Making, run: Run, *rest: Any) -> None:
        worked.append(run.id)
        store(making, run, *rest)

    monkeypatch.setattr(Making, "_store_part", counted)
    with served(tmp_path / "data", clock, 7) as (client, engine):  # parted as it was begun
        runs = close(client)
        again = [(comparable(run), lines_without_run(client, run), ledger_of(engine, run)) for run in runs]
    with served(tmp_path / "unbroken", clock, 4) as (client, engine):
        prepare(client, clock)
        clock.set("2026-10-02T00:00:00")
        unbroken = [(comparable(run), lines_without_run(client, run), ledger_of(engine, run)) for run in close(client)]
    assert runs[0]["id"] == noted[0]
    assert again == unbroken
    everyone = worked.count(unbroken_id(unbroken, runs))
    assert everyone == PARTS_OF_FOUR - parts


PARTS_OF_FOUR = 7


def unbroken_id(unbroken: list[Any], runs: list[dict[str, Any]]) -> str:
    assert len(unbroken) == len(runs)
    return str(runs[0]["id"])


def _crash(*_: Any) -> None:
    raise Crash


def test_progress_is_shown_while_a_run_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, reached, go_on = Clock(), threading.Event(), threading.Event()
    note = Runs.note

    def note_and_wait(runs: Runs, run: Run) -> None:
        note(runs, run)
        if len((run.report or {})["parts"]) == 2:
            reached.set()
            assert go_on.wait(60)

    monkeypatch.setattr(Runs, "note", note_and_wait)
    with served(tmp_path / "data", clock, 4) as (client, _):
        prepare(client, clock)
        clock.set("2026-09-10T00:00:00")
        answers: list[Any] = []
        closing = threading.Thread(target=lambda: answers.append(close(client)))
        closing.start()
        try:
            assert reached.wait(60)
            (listed,) = client.get("/v1/rating-runs").json()["items"]
            run = client.get(f"/v1/rating-runs/{listed['id']}").json()
            assert client.post("/v1/rating-runs", json={"due": True}).status_code == 409
        finally:
            go_on.set()
            closing.join()
        assert (run["status"], listed["progress"]["parts_all"]) == ("running", PARTS_OF_FOUR)
        shown = run["progress"]
        assert (shown["parts_done"], shown["percent"]) == (1, round(100 / PARTS_OF_FOUR, 1))
        assert shown["lines"] > 0
        assert shown["lines_per_second"] > 0
        assert shown["eta_seconds"] > 0
        assert client.get(f"/v1/rating-runs/{run['id']}").json()["progress"] is None
        assert answers[0][0]["id"] == run["id"]


def test_spans_tile_the_customers() -> None:
    owners = ["b"] * 5 + ["a"] + ["d"] * 2 + ["c"] + ["é"]
    frame = pl.DataFrame({"customer": owners}).match_to_schema(SUBSCRIPTION, missing_columns="insert")
    ordered = frame.sort("customer")
    for size in range(1, 12):
        cut = spans(frame, size)
        pieces = [span.rows(ordered) for span in cut]
        assert pl.concat(pieces).equals(ordered)
        assert all(piece.equals(ordered.filter(span.filter())) for span, piece in zip(cut, pieces, strict=True))
        assert all(piece.height <= size or size < 5 for piece in pieces[:1])
    assert spans(frame, 10) == [EVERYONE]
    assert spans(frame.clear(), 1) == [EVERYONE]
    assert spans(frame, 1)[0] == Span(None, "b")


def test_what_is_made_ahead_comes_in_order_and_never_far_ahead() -> None:
    begun: list[int] = []
    taken = 0

    def work(number: int) -> int:
        begun.append(number)
        assert len(begun) <= taken + AHEAD + 1
        return number

    for number in made_ahead([partial(work, number) for number in range(9)]):
        assert number == taken
        taken += 1
    assert sorted(begun) == list(range(9))
    assert list(made_ahead([])) == []


def test_who_stops_taking_waits_for_what_is_being_made_and_begins_no_more() -> None:
    begun: list[int] = []
    done: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.02)
        done.append(number)
        return number

    with closing(made_ahead([partial(work, number) for number in range(20)])) as made:
        assert next(made) == 0
    assert sorted(begun) == sorted(done)
    assert len(done) <= AHEAD + 1


def test_a_part_that_fails_fails_where_it_is_taken() -> None:
    def failing() -> int:
        raise ValueError("the second")

    made = made_ahead([lambda: 1, failing, lambda: 3])
    assert next(made) == 1
    with pytest.raises(ValueError, match="the second"):
        next(made)
