"""The outbox: what is counted is recorded by its own thread; and what a level change becomes."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from api.engine import Engine
from api.level_signals import raised_by
from api.outbox import Outbox
from api.quota import QuotaService
from rating.core.quota.seam import CustomerState, LevelChange
from store.errors import DatabaseUnavailable
from tests.api.conftest import CATALOG, NOW
from tests.api.test_quota import ask, use

END = datetime(2026, 11, 1, tzinfo=UTC)
START = datetime(2026, 10, 1, tzinfo=UTC)
EXHAUSTED = LevelChange(
    kind="exhausted", scope="customer", owner="acme", customer="acme", feature="tokens", window_start=START,
    window_end=END, level="100%", limit=Decimal(2000), used=Decimal(2001), arm=0, at=NOW, source="gateway", id="7",
)  # fmt: skip
RESTORED = replace(EXHAUSTED, kind="restored", because="reset", source=None, id=None)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_comes_while_a_commit_is_made_is_the_next_commit() -> None:
    commits: list[list[str]] = []
    is_first, go_on = threading.Event(), threading.Event()

    def record(changes: Sequence[LevelChange]) -> None:
        commits.append([change.feature for change in changes])
        is_first.set()
        go_on.wait(30)

    outbox = Outbox(record, lambda: None)
    outbox.start()
    outbox.put([replace(EXHAUSTED, feature="0")])
    assert is_first.wait(30)
    for number in range(1, 50):
        outbox.put([replace(EXHAUSTED, feature=str(number))])
    assert outbox.waiting == 50
    go_on.set()
    until(lambda: not outbox.waiting)
    outbox.close()
    assert commits == [["0"], [str(number) for number in range(1, 50)]]


def test_what_cannot_be_recorded_waits_once_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.outbox.TICK_SECONDS", 0.02)
    away, recorded = [True], []

    def record(changes: Sequence[LevelChange]) -> None:
        if away[0]:
            raise DatabaseUnavailable("away")
        recorded.extend(changes)

    outbox = Outbox(record, lambda: None)
    for _ in range(3):
        outbox.put([EXHAUSTED, RESTORED])
        outbox.record()
    assert outbox.waiting == 2
    away[0] = False
    outbox.start()
    until(lambda: not outbox.waiting)
    outbox.close()
    assert recorded == [EXHAUSTED, RESTORED]


def test_time_passes_also_when_nothing_is_raised_and_a_fault_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.outbox.TICK_SECONDS", 0.02)
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        raise (RuntimeError("a bug") if len(ticks) == 1 else DatabaseUnavailable("away"))

    outbox = Outbox(lambda _: None, tick)
    outbox.start()
    until(lambda: len(ticks) >= 3)
    outbox.close()


def test_the_id_of_an_exhausted_quota_is_that_of_before() -> None:
    """Four fields of the customer's own window; what is new in a change has ids of its own."""
    content = ["acme", "tokens", "2026-10-01T00:00:00+00:00", "2000"]
    old = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
    assert raised_by(EXHAUSTED, (), NOW).signal.id == f"sig_{old}"
    others: list[dict[str, Any]] = [
        {"kind": "threshold", "level": "80%"}, {"kind": "threshold", "level": "90%"}, {"kind": "restored"},
        {"scope": "key"}, {"scope": "pool", "owner": "parent"}, {"arm": 1}, {"limit": Decimal(3000)},
    ]  # fmt: skip
    assert len({raised_by(replace(EXHAUSTED, **other), (), NOW).signal.id for other in others}) == len(others)


def test_what_a_level_change_records() -> None:
    raised = raised_by(EXHAUSTED, (), NOW)
    assert raised.signal.type == "quota.exhausted"
    assert raised.signal.data == {
        "feature": "tokens", "window_start": "2026-10-01T00:00:00+00:00", "window_end": "2026-11-01T00:00:00+00:00",
        "level": "100%", "limit": "2000", "used": "2001", "reached_at": NOW.isoformat(),
        "event": {"source": "gateway", "id": "7"},
    }  # fmt: skip
    assert raised.opens is not None
    assert raised.restores is None
    back = raised_by(RESTORED, (), NOW)
    assert (back.signal.type, back.signal.data["because"], "event" in back.signal.data) == (
        "quota.restored",
        "reset",
        False,
    )
    assert (back.opens, back.restores is not None) == (None, True)


def test_of_a_window_that_is_over_nothing_is_open_and_nothing_begins() -> None:
    state = CustomerState("s", "acme", (), "suspended", None, None, "x", NOW, END, "sig_1")
    late = raised_by(EXHAUSTED, [state], END)
    assert (late.opens, late.begins) == (None, ())
    assert raised_by(EXHAUSTED, [state], END - timedelta(seconds=1)).begins == (state,)


def policy(change: LevelChange) -> Sequence[CustomerState]:
    """Suspended when exhausted, until the window ends."""
    if change.kind != "exhausted":
        return ()
    why = f"{change.feature} used up"
    signal = f"sig_{change.key}"
    return [CustomerState(f"{signal}/0", change.customer, (), "suspended", None, None, why, NOW, END, signal)]


def test_a_policy_suspends_within_a_moment_and_a_restored_quota_lets_go_on(
    sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.signalling, "_policies", policy)
    use(sold, "1", 2000)
    until(lambda: ask(sold).json()["reason"] == "suspended")
    assert ask(sold).json()["message"] == "tokens used up"
    assert ask(sold).status_code == 403
    engine.signalling.outbox.put([replace(RESTORED, because="top_up")])
    until(lambda: ask(sold).json()["reason"] == "exhausted")
    types = [signal["type"] for signal in sold.get("/v1/signals").json()["items"]]
    assert types == ["quota.exhausted", "customer.suspended", "quota.restored", "customer.resumed"]


def test_whom_a_person_has_let_go_on_stays_so_over_a_restart(
    sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.signalling, "_policies", policy)
    use(sold, "1", 2000)
    until(lambda: len(sold.get("/v1/customers/acme/states").json()["items"]) == 1)
    assert ask(sold).json()["reason"] == "suspended"
    [state] = sold.get("/v1/customers/acme/states").json()["items"]
    assert sold.delete(f"/v1/customers/acme/states/{state['id'].replace('/', '%2F')}").status_code == 200
    engine.close()
    monkeypatch.setattr(QuotaService, "led_to", lambda _, change: policy(change))
    again = Engine.open(engine.settings, now=lambda: NOW)
    try:
        assert len(again.signals(0, 100)) == 3
        assert again.quota.check("acme", "tokens", Decimal(0), NOW).reason == "exhausted"
    finally:
        again.close()


def test_what_ends_soon_is_told_once(sold: httpx2.Client, engine: Engine) -> None:
    """7 days before, unless the feature says otherwise; of 5 with 2 used it is the 3 that are left."""
    ends = {"soon": timedelta(days=7), "later": timedelta(days=7, seconds=1), "voided": timedelta(days=1)}
    for key, after in ends.items():
        lasts = {"effective_at": START.isoformat(), "expires_at": (NOW + after).isoformat()}
        given = {"id": key, "feature": "tokens", "amount": "5", "priority": 1 + (key == "voided"), **lasts}
        assert sold.post("/v1/customers/acme/quota-grants", json=given).status_code == 201
    assert sold.post("/v1/quota-grants/voided/void", json={}).status_code == 200
    use(sold, "1", 2)
    assert ask(sold).status_code == 200
    for _ in range(2):
        engine.signalling.look_for_expiring()
    [signal] = sold.get("/v1/signals").json()["items"]
    assert (signal["type"], signal["customer"], signal["scope"]) == ("grant.expiring", "acme", "customer")
    assert signal["data"] == {
        "feature": "tokens", "grant": "soon", "amount": "5", "left": "3", "expires_at": "2026-10-22T12:00:00+00:00",
    }  # fmt: skip
    rules = {**CATALOG["features"]["tokens"], "expiring_days": 8}
    assert sold.put("/v1/catalog", json={**CATALOG, "features": {"tokens": rules}}).status_code == 200
    assert ask(sold).status_code == 200
    engine.signalling.look_for_expiring()
    assert [s["data"]["grant"] for s in sold.get("/v1/signals").json()["items"]] == ["soon", "later"]
