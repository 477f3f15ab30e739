"""What is used in every kind of window is what the meters make of the log, whatever was corrected and however often the
service has started; and in a billing window what the bill of that period says, also where the billing cycle changes."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import httpx2
import polars as pl
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import event
from tests.api.test_closing import Clock, close
from tests.api.test_corrections import correct, replacement, void
from tests.api.test_events import post
from tests.api.test_rating import lines_of

WINDOWS: dict[str, Any] = {
    "hourly": "hour",
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "billed": "billing",
    "ever": "lifetime",
    "rolling": {"rolling": "2d", "step": "8h"},
    "own": {"every": "5d", "time_zone": "Asia/Kathmandu"},
}
SOFT = {"limit": "100", "enforcement": "soft", "thresholds": ["50%"]}
PLAN = {
    "currency": "USD",
    "prices": ["tokens"],
    "entitlements": {feature: {**SOFT, "window": window} for feature, window in WINDOWS.items()},
}
CATALOG: dict[str, Any] = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": {"tokens": {"event_type": "llm.request", "aggregation": "sum", "property": "input_tokens"}},
    "features": {feature: {"meter": "tokens"} for feature in WINDOWS},
    "prices": {
        "tokens": {"meter": "tokens", "currency": "USD", "model": "per_unit", "versions": [{"unit_amount": "0.01"}]}
    },
    "plans": {"pro": PLAN},
    "closing": {"grace_hours": 0},
}
ZONE = "Europe/Madrid"
BEGIN, END = datetime(2026, 9, 3, tzinfo=UTC), datetime(2026, 11, 12, tzinfo=UTC)
CYCLES = [  # over the end of summer time: each cuts the period that it comes into
    {"at": "2026-09-20T10:30:00Z", "cycle": {"interval": "week", "anchor": "change"}},
    {"at": "2026-10-08T00:00:00+02:00", "cycle": {"interval": "day", "intervals": 10, "anchor": "change"}},
    {"at": "2026-10-24T22:00:00Z", "cycle": {"interval": "month", "anchor": "calendar"}},
]
STEP = timedelta(days=3, hours=7, minutes=13)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 8))])
def test_used_in_each_window_is_what_is_metered_and_billed(settings: Settings, clock: Clock, seed: int) -> None:
    random, clock.at, sent = Random(seed), BEGIN, list[str]()
    engine = Engine.open(settings, now=clock)
    with TestClient(create_app(settings, engine=engine)) as client:
        _sell(client)
    while clock.at < END:
        clock.at += STEP
        with TestClient(create_app(settings, engine=engine)) as client:
            sent += _traffic(client, random, clock.at)
            _correct_some(client, random, sent)
            _assert_metered(engine, clock.at)
        if random.random() < 0.3:
            engine.close()
            engine = Engine.open(settings, now=clock)
            _assert_metered(engine, clock.at)
    with TestClient(create_app(settings, engine=engine)) as client:
        assert client.get("/v1/quota/comparison").json()["different"] == 0
        _assert_billed(client, engine, clock.at)
    engine.close()


def _sell(client: httpx2.Client) -> None:
    assert client.put("/v1/catalog", json=CATALOG).status_code == 200
    assert client.put("/v1/customers/acme", json={"time_zone": ZONE}).status_code == 200
    term = {"customer": "acme", "plan": "pro", "starts_at": "2026-09-01T00:00:00+02:00"}
    assert client.put("/v1/subscriptions/s", json=term).status_code == 200
    for change in CYCLES:
        assert client.post("/v1/subscriptions/s/changes", json=change).status_code == 201


def _traffic(client: httpx2.Client, random: Random, now: datetime) -> list[str]:
    """Some events of the last days; some are later than that."""
    made = []
    for number in range(random.randint(2, 9)):
        ago = timedelta(minutes=random.randrange(60 * 24 * random.choice([1, 3, 12])))
        data = {"input_tokens": random.choice([1, 7, "0.5", 23])}
        made.append(event(f"{now.isoformat()}-{number}", time=max(now - ago, BEGIN).isoformat(), data=data))
    assert post(client, *made).status_code == 200
    return [one["id"] for one in made]


def _correct_some(client: httpx2.Client, random: Random, sent: list[str]) -> None:
    keys = [sent.pop(random.randrange(len(sent))) for _ in range(min(len(sent), 2))]
    given = [void(key) if random.random() < 0.5 else replacement(key, f"r-{key}", 3) for key in keys]
    assert correct(client, *given).json()["accepted"] == len(keys)


def _assert_metered(engine: Engine, now: datetime) -> None:
    """The windows at `now` by the events that are in force."""
    events = engine.log.scan().frame.select("time", pl.col("data_input_tokens").alias("n")).collect()
    for feature in WINDOWS:
        answer = engine.quota.check("acme", feature, Decimal(0), now)
        assert answer.window_start is not None
        inside = pl.col("time") >= answer.window_start
        if answer.resets_at is not None:
            inside &= pl.col("time") < answer.resets_at
        assert answer.used == sum(events.filter(inside)["n"], Decimal(0)), feature


def _assert_billed(client: httpx2.Client, engine: Engine, now: datetime) -> None:
    """The windows of all periods tile the time, and each has what its bill says."""
    billed = Counter[tuple[datetime, datetime]]()
    for run in close(client):
        for line in lines_of(client, run):
            period = tuple(datetime.fromisoformat(line[name]) for name in ("period_start", "period_end"))
            billed[period] += Decimal(line["quantity"])  # type: ignore[index]
    windows, at = [], datetime.fromisoformat("2026-08-31T22:00:00Z")
    while at < now:
        [found] = [one for one in engine.quota_records.entitlements("acme", at) if one.answer.feature == "billed"]
        start, end = found.answer.window_start, found.answer.resets_at
        assert start is not None
        assert end is not None
        last = engine.quota_records.entitlements("acme", end - timedelta(microseconds=1))
        windows.append((start, end, next(one.answer.used for one in last if one.answer.feature == "billed")))
        at = end
    assert all(before[1] == after[0] for before, after in pairwise(windows))
    assert {(start, end): used for start, end, used in windows if end <= now and used} == {
        period: quantity for period, quantity in billed.items() if quantity
    }
    assert len(billed) > 6
