"""Anomalies from the log of a real engine: told once in a window, and by the next process when this one was killed."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import anomalies
from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import CATALOG, NOW, event
from tests.api.test_corrections import void
from tests.api.test_outbox import until

RULE = {"window": "hour", "times": "5", "history_days": 2, "at_least": "100"}
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> list[datetime]:
    return [NOW + timedelta(minutes=10)]


def catalog(rule: dict[str, Any] | None = RULE, policies: tuple[Any, ...] = ()) -> dict[str, Any]:
    feature = {**CATALOG["features"]["tokens"], **({"anomaly": rule} if rule else {})}
    pro = {**CATALOG["plans"]["pro"], "policies": list(policies)}
    pro["entitlements"] = {"tokens": {"limit": "1000000"}}
    return {**CATALOG, "features": {"tokens": feature}, "plans": {**CATALOG["plans"], "pro": pro}}


@pytest.fixture
def engine(settings: Settings, clock: list[datetime], monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(anomalies, "LOOK_SECONDS", 3600.0)  # the tests look
    opened = Engine.open(settings, now=lambda: clock[0])
    yield opened
    opened.close()


@pytest.fixture
def client(settings: Settings, engine: Engine) -> Iterator[TestClient]:
    with TestClient(create_app(settings, engine=engine)) as made:
        made.put("/v1/catalog", json=catalog())
        made.put("/v1/customers/acme", json={"subjects": ["acme", "acme-eu"]})
        term = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
        made.put("/v1/subscriptions/s", json=term)
        for hours in range(1, 11):
            use(made, f"past-{hours}", 20, NOW - hours * HOUR)
            use(made, f"eu-{hours}", 2, NOW - hours * HOUR, subject="acme-eu")
        yield made


def use(client: TestClient, id: str, tokens: int, at: datetime = NOW, **changes: Any) -> None:
    given = event(id, time=at.isoformat(), data={"input_tokens": tokens}, **changes)
    assert client.post("/v1/events", json=[given]).json()["accepted"] == 1


def told(client: TestClient, engine: Engine) -> list[dict[str, Any]]:
    engine.anomalies.look()
    items = client.get("/v1/signals").json()["items"]
    return [signal for signal in items if signal["type"] == "usage.anomaly"]


def test_a_subject_that_uses_far_more_than_usual_is_told_once_in_the_window(
    client: TestClient, engine: Engine, clock: list[datetime]
) -> None:
    use(client, "a", 100)
    use(client, "b", 99, subject="acme-eu")
    assert told(client, engine) == []
    use(client, "c", 1)
    use(client, "d", 1, subject="acme-eu")
    [first, second] = told(client, engine)
    assert (first["customer"], first["scope"], first["owner"]) == ("acme", "key", "acme")
    assert (second["owner"], second["data"]["limit"], second["data"]["used"]) == ("acme-eu", "10", "100")
    assert first["data"] == {
        "feature": "tokens", "level": "anomaly", "limit": "100", "used": "101",
        "window_start": "2026-10-15T12:00:00+00:00", "window_end": "2026-10-15T13:00:00+00:00",
        "reached_at": "2026-10-15T12:10:00+00:00",
    }  # fmt: skip
    use(client, "e", 1000)
    assert len(told(client, engine)) == 2
    clock[0] += HOUR
    use(client, "f", 101, NOW + HOUR)
    assert [signal["data"]["window_start"] for signal in told(client, engine)][2:] == ["2026-10-15T13:00:00+00:00"]


def test_another_process_in_the_same_window_counts_on_and_tells_nothing_twice(
    client: TestClient, engine: Engine, settings: Settings, clock: list[datetime]
) -> None:
    use(client, "a", 101)
    use(client, "b", 60, subject="acme-eu")
    assert len(told(client, engine)) == 1
    engine.close()
    again = Engine.open(settings, now=lambda: clock[0])
    with TestClient(create_app(settings, engine=again)) as other:
        assert len(told(other, again)) == 1
        use(other, "c", 40, subject="acme-eu")
        assert [signal["owner"] for signal in told(other, again)] == ["acme", "acme-eu"]
    again.close()


def test_what_was_voided_does_not_count(client: TestClient, engine: Engine) -> None:
    use(client, "a", 100)
    assert told(client, engine) == []
    assert client.post("/v1/events/corrections", json=void("a")).json()["accepted"] == 1
    use(client, "b", 100)
    assert told(client, engine) == []
    use(client, "c", 1)
    [signal] = told(client, engine)
    assert signal["data"]["used"] == "101"


def test_more_than_waits_is_read_from_the_log(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.anomalies.look()
    monkeypatch.setattr(anomalies, "ROWS_MAX", 2)
    for number in range(5):
        use(client, f"n{number}", 21)
    [signal] = told(client, engine)
    assert signal["data"]["used"] == "105"


def test_a_policy_may_act_on_one(client: TestClient, engine: Engine) -> None:
    policy = {"on": "anomaly", "feature": "tokens", "do": "suspend"}
    assert client.put("/v1/catalog", json=catalog(policies=(policy,))).status_code == 200
    use(client, "a", 500)
    assert len(told(client, engine)) == 1
    refused = client.get("/v1/quota/acme/tokens")
    assert (refused.status_code, refused.json()["message"]) == (403, "acme uses far more of tokens than usual")


def test_without_a_rule_nothing_is_kept_and_a_rule_that_makes_no_sense_is_refused(
    client: TestClient, engine: Engine
) -> None:
    client.put("/v1/catalog", json=catalog(None))
    engine.anomalies.look()
    use(client, "a", 500)
    assert (engine.anomalies._waiting, told(client, engine)) == ([], [])
    policy = {"on": "anomaly", "feature": "tokens", "do": "suspend"}
    answer = client.put("/v1/catalog", json=catalog(None, policies=(policy,)))
    assert (answer.status_code, "does not say what an anomaly is" in answer.text) == (422, True)
    wrong = catalog({**RULE, "times": "0"})
    assert client.put("/v1/catalog", json=wrong).status_code == 422


def test_it_is_looked_for_by_itself(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anomalies, "LOOK_SECONDS", 0.05)
    engine = Engine.open(settings, now=lambda: NOW)
    with TestClient(create_app(settings, engine=engine)) as client:
        client.put("/v1/catalog", json=catalog())
        client.put("/v1/customers/acme", json={})
        for hours in range(1, 11):
            use(client, f"past-{hours}", 20, NOW - hours * HOUR)
        use(client, "a", 500)
        until(lambda: len(client.get("/v1/signals").json()["items"]) == 1)
    engine.close()
