"""Clocks that jump, seconds that should not be, days that are not: nothing is lost or counted twice for them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import time_machine

from api.engine import Engine
from api.settings import Settings
from api.usage import UsageQuery
from store.customers import Customer
from store.subscriptions import Subscription
from tests.api.conftest import CATALOG, NOW, event

JUMPS = [
    pytest.param(NOW - timedelta(hours=1), id="back by an hour"),
    pytest.param(NOW + timedelta(days=400), id="400 days ahead"),
    pytest.param(datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC), id="the last second of 32 bits"),
    pytest.param(datetime(2100, 2, 28, 23, 59, 59, tzinfo=UTC), id="2100, which is no leap year"),
    pytest.param(datetime(2028, 2, 29, 12, tzinfo=UTC), id="a leap day"),
    pytest.param(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), id="the end of a year"),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def sold(settings: Settings) -> Settings:
    """A data directory in which `acme` has the plan `pro`, made at NOW."""
    with time_machine.travel(NOW, tick=True):
        engine = Engine.open(settings)
        engine.apply_catalog(orjson.dumps(CATALOG), format="json")
        engine.put_customers([Customer("acme", "Acme", "Europe/Madrid", NOW, ("acme",))])
        engine.put_subscriptions([Subscription("acme-pro", "acme", "pro", datetime(2026, 1, 1, tzinfo=UTC))])
        engine.close()
    return settings


def post(engine: Engine, *keys: str) -> tuple[int, int]:
    """Number of the events that were accepted, and of the duplicates; all others are refused."""
    events = [event(key, time="2026-09-10T10:00:00Z") for key in keys]
    verdict = engine.log.submit(orjson.dumps(events), "application/cloudevents-batch+json").result(30)
    assert verdict.conflict + verdict.rejected == 0, verdict
    return verdict.accepted, verdict.duplicate


def total(engine: Engine) -> Decimal:
    return Decimal(engine.usage(UsageQuery("tokens"))["quantity"].sum())


@pytest.mark.parametrize("there", JUMPS)
def test_a_clock_that_jumps_under_load_changes_no_count(sold: Settings, there: datetime) -> None:
    """There, and back again; with a flush, a merge, a rating run and a start in each of both times."""
    with time_machine.travel(NOW, tick=True) as clock:
        engine = Engine.open(sold)
        assert post(engine, "1", "2") == (2, 0)
        for number, at in enumerate((there, NOW), start=1):
            clock.move_to(at, tick=True)
            assert post(engine, "1", f"new {number}") == (1, 1)
            engine.log.flush()
            engine.log.maintain()
            assert total(engine) == 100 * (2 + number)
            assert engine.quota.check("acme", "tokens", Decimal(1), at).customer == "acme"
            run = engine.rate("2026-09")
            assert run.status == "done"
            assert run.report is not None
            engine.close()
            engine = Engine.open(sold)
            assert post(engine, "1", "2", f"new {number}") == (0, 3)
            assert total(engine) == 100 * (2 + number)
        engine.close()


@pytest.mark.parametrize(
    ("time", "accepted"),
    [
        ("2016-12-31T23:59:60Z", None),
        ("2026-06-30T23:59:60.5+00:00", None),
        ("2026-02-29T00:00:00Z", False),
        ("2024-02-29T23:59:59.999999Z", True),
        ("2100-02-29T00:00:00Z", False),
        ("2026-10-10T24:00:00Z", None),
        ("2026-10-10T23:59:61Z", False),
        ("1969-12-31T23:59:59Z", None),
        ("0000-01-01T00:00:00Z", False),
        ("9999-12-31T23:59:59.9999999Z", False),
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson", "text/csv"])
def test_a_second_that_is_none_is_an_answer_and_no_fault(
    client: httpx2.Client, time: str, accepted: bool | None, content_type: str
) -> None:
    """Null: either is right; what matters is that the event has a verdict."""
    body: dict[str, Any] = {
        "application/json": event("1", time=time),
        "application/x-ndjson": event("1", time=time),
    }
    text = f"id,source,type,subject,time\n1,gateway,llm.request,acme,{time}\n"
    content = text if content_type == "text/csv" else orjson.dumps(body[content_type])
    answer = client.post("/v1/events", content=content, headers={"content-type": content_type})
    assert answer.status_code in ((200, 422) if accepted is None else (200,) if accepted else (422,)), answer.text
    assert sum(answer.json()[name] for name in ("accepted", "rejected")) == 1
