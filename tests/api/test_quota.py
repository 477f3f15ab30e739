"""The question of a gateway, and the signal when a limit is reached. The limit is 2,000 tokens a month."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import numpy as np
import polars as pl
import pytest
from sqlalchemy import Connection
from sqlalchemy.event import listen
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.quota import QuotaService
from api.settings import Settings
from rating.catalog import compile_catalog, load_catalog
from rating.core.quota.seam import QUOTA_ASKED
from rating.core.schema import SUBJECT, SUBSCRIPTION, usage_event_schema
from rating.quota_terms import QuotaTerms as Terms
from store.customers import Customer
from store.errors import DatabaseFull, DatabaseUnavailable
from store.signals import Signal
from tests.api.conftest import CATALOG, NOW, event
from tests.api.test_corrections import correct, replacement, void
from tests.api.test_events import post
from tests.recording import record_signals

PAYERS = pl.DataFrame(schema={**SUBJECT, "time_zone": pl.String()})
SUBSCRIPTIONS = pl.DataFrame(schema=SUBSCRIPTION)


def ask(client: httpx2.Client, amount: Any = None, subject: str = "acme", feature: str = "tokens") -> httpx2.Response:
    return client.get(f"/v1/quota/{subject}/{feature}", params={} if amount is None else {"amount": amount})


def use(client: httpx2.Client, event_id: str, tokens: int, **changes: Any) -> None:
    assert post(client, event(event_id, data={"input_tokens": tokens}, **changes)).json()["accepted"] == 1


@pytest.mark.parametrize(
    ("used", "amount", "status", "reason", "remaining"),
    [
        pytest.param(0, None, 200, "allowed", "2000", id="nothing used"),
        pytest.param(1999, None, 200, "allowed", "1", id="one left"),
        pytest.param(1999, "1", 200, "allowed", "1", id="exactly the rest fits"),
        pytest.param(1999, "1.000000001", 429, "would_exceed", "1", id="a little more than the rest does not"),
        pytest.param(2000, None, 429, "exhausted", "0", id="all used"),
        pytest.param(2001, "0", 429, "exhausted", "0", id="more than all used"),
    ],
)
def test_an_amount_fits_up_to_the_limit(
    sold: httpx2.Client, used: int, amount: str | None, status: int, reason: str, remaining: str
) -> None:
    if used:
        use(sold, "1", used)
    answer = ask(sold, amount)
    assert answer.status_code == status
    body = answer.json()
    assert (body["reason"], body["allowed"], body["remaining"]) == (reason, status == 200, remaining)
    assert (body["limit"], body["used"], body["resets_at"]) == ("2000", str(used), "2026-11-01T00:00:00Z")
    if status == 429:
        assert answer.headers["retry-after"] == str(16 * 86400 + 12 * 3600)  # 15 October noon to 1 November


@pytest.mark.parametrize(
    ("subject", "feature", "says"),
    [
        pytest.param("nobody", "tokens", "no customer has this subject", id="an unknown subject"),
        pytest.param("acme", "images", "no plan of acme includes images", id="a feature of no plan"),
        pytest.param("a/b/c", "tokens", "no customer has this subject", id="a subject with slashes"),
    ],
)
def test_who_is_not_entitled_is_refused(sold: httpx2.Client, subject: str, feature: str, says: str) -> None:
    answer = ask(sold, subject=subject, feature=feature)
    assert answer.status_code == 403
    assert (answer.json()["subject"], answer.json()["message"]) == (subject, says)
    assert answer.json()["limit"] is None


@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity", "1e400", "1.0000000001", "x", ""])
def test_an_amount_that_is_none_is_refused(sold: httpx2.Client, amount: str) -> None:
    assert ask(sold, amount).status_code == 422


def test_the_check_after_an_acknowledgement_sees_the_event(sold: httpx2.Client) -> None:
    for index in range(1, 11):
        use(sold, str(index), 100)
        assert ask(sold).json()["used"] == str(100 * index)


def test_a_new_limit_and_a_new_subject_count_at_once(sold: httpx2.Client) -> None:
    use(sold, "1", 100)
    use(sold, "2", 30, subject="second")
    assert ask(sold).json()["used"] == "100"
    sold.put("/v1/customers/acme", json={"subjects": ["acme", "second"]})
    assert ask(sold).json()["used"] == "130"
    assert ask(sold, subject="second").json()["used"] == "130"
    term = {"customer": "acme", "plan": "free", "starts_at": "2026-01-01T00:00:00Z"}
    sold.put("/v1/subscriptions/acme-pro", json=term)
    assert ask(sold).status_code == 403


def test_usage_of_another_month_does_not_count(sold: httpx2.Client) -> None:
    use(sold, "1", 5000, time="2026-09-30T23:59:59Z")
    use(sold, "2", 1, time="2026-10-01T00:00:00Z")
    assert ask(sold).json()["used"] == "1"


def test_a_limit_that_is_reached_raises_one_signal_and_what_is_beyond_it_another(sold: httpx2.Client) -> None:
    use(sold, "1", 1999)
    assert sold.get("/v1/signals").json() == {"items": [], "next": 0}
    use(sold, "2", 1)
    use(sold, "3", 500)
    page = sold.get("/v1/signals").json()
    signal, beyond = page["items"]
    assert (beyond["type"], beyond["data"]["used"], beyond["data"]["event"]["id"]) == ("quota.negative", "2500", "3")
    assert (signal["type"], signal["customer"], page["next"]) == ("quota.exhausted", "acme", beyond["sequence"])
    assert (signal["data"]["feature"], signal["data"]["used"], signal["data"]["limit"]) == ("tokens", "2000", "2000")
    assert signal["data"]["event"] == {"source": "gateway", "id": "2"}
    assert sold.get("/v1/signals", params={"after": page["next"]}).json() == {"items": [], "next": page["next"]}


def test_a_restart_keeps_the_counters_and_repeats_no_signal(settings: Settings) -> None:
    for start in range(3):
        engine = Engine.open(settings, now=lambda: NOW)
        with TestClient(create_app(settings, engine=engine)) as client:
            if start == 0:
                client.put("/v1/catalog", json=CATALOG)
                client.put("/v1/customers/acme", json={})
                term = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
                client.put("/v1/subscriptions/s", json=term)
                use(client, "1", 2000)
            assert ask(client).json()["used"] == "2000"
            assert len(client.get("/v1/signals").json()["items"]) == 1
        engine.close()


def test_a_thousand_changes_cost_one_rebuild() -> None:
    reads = []

    def read_usage(_since: datetime | None, _subjects: object) -> tuple[pl.LazyFrame, int]:
        reads.append(1)
        return usage_event_schema({}).to_frame(eager=False), 0

    empty = Terms(compile_catalog(load_catalog({"tallystick": 1, "currencies": ["USD"]})), PAYERS, SUBSCRIPTIONS)
    service = QuotaService(lambda: empty, read_usage, lambda _: None, lambda: datetime.now(UTC))
    for _ in range(1000):
        service.terms_changed()
        assert service.check_at_once("acme", "tokens", Decimal(0), NOW) is None
    assert service.check("acme", "tokens", Decimal(0), NOW).reason == "not_entitled"
    assert service.check_at_once("acme", "tokens", Decimal(0), NOW) is not None
    assert reads == [1]


def test_counters_stay_right_while_terms_change_under_load(sold: httpx2.Client, engine: Engine) -> None:
    """8 threads post 20 events of 1 token each, and resend them, while customers are put and quotas are asked."""

    def post_and_resend(thread: int) -> None:
        body = json.dumps([event(f"{thread}-{i}", data={"input_tokens": 1}) for i in range(20)]).encode()
        for _ in range(2):
            engine.log.submit(body, "application/cloudevents-batch+json").result(30)

    def change_terms(thread: int) -> None:
        for i in range(10):
            engine.put_customers([Customer(f"other-{thread}-{i}", "", "UTC", NOW, (f"other-{thread}-{i}",))])
            engine.quota.check("acme", "tokens", Decimal(1), NOW)

    with ThreadPoolExecutor(10) as threads:
        done = [threads.submit(post_and_resend, i) for i in range(8)] + [
            threads.submit(change_terms, i) for i in (0, 1)
        ]
        for future in done:
            future.result(60)
    assert ask(sold).json()["used"] == str(8 * 20)


class FullDatabase:
    """The database of `engine` without room for one more record, until `has_room`."""

    def __init__(self, engine: Engine) -> None:
        self.pages = 1  # taken for as many as there are
        listen(engine.store.engine, "begin", self._limit)
        big = "x" * 200
        fillers = (Signal(f"filler-{number}", "filler", "acme", NOW, {"text": big}) for number in range(1_000))
        with pytest.raises(DatabaseFull):
            _record_each(engine, fillers)

    def has_room(self) -> None:
        self.pages = 1 << 30

    def _limit(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={self.pages}")


def _record_each(engine: Engine, signals: Iterable[Signal]) -> None:
    for signal in signals:
        record_signals(engine.store, [signal])


def exhausted(client: httpx2.Client) -> list[dict[str, Any]]:
    found = client.get("/v1/signals", params={"limit": 1000}).json()["items"]
    return [signal["data"]["event"] for signal in found if signal["type"] == "quota.exhausted"]


def test_a_full_database_refuses_no_event_and_loses_and_doubles_no_signal(sold: httpx2.Client, engine: Engine) -> None:
    full = FullDatabase(engine)
    for number, tokens in enumerate((1999, 1, 5)):
        use(sold, str(number), tokens)
    assert ask(sold).json()["reason"] == "exhausted"
    assert exhausted(sold) == []
    assert engine.failure is None
    refused = sold.post("/v1/customers", json=[{"key": f"other-{number}"} for number in range(200)])
    assert (refused.status_code, refused.headers["retry-after"]) == (507, "1")
    full.has_room()
    for _ in range(2):
        assert exhausted(sold) == [{"source": "gateway", "id": "1"}]
    assert sold.put("/v1/customers/other", json={}).status_code == 200
    use(sold, "3", 5)
    assert exhausted(sold) == [{"source": "gateway", "id": "1"}]


def test_a_signal_that_was_not_recorded_is_found_by_the_next_start(
    sold: httpx2.Client, engine: Engine, settings: Settings
) -> None:
    FullDatabase(engine)
    use(sold, "1", 2000)
    assert exhausted(sold) == []
    engine.close()
    again = Engine.open(settings, now=lambda: NOW)
    recorded = [signal.data["event"]["id"] for signal in again.signals(0, 1_000) if signal.type == "quota.exhausted"]
    again.close()
    assert recorded == ["1"]


def test_an_event_is_taken_while_the_terms_cannot_be_read(
    sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Terms:
        raise DatabaseUnavailable("away")

    read_terms = engine.quota._read_terms
    monkeypatch.setattr(engine.quota, "_read_terms", away)
    engine.quota.terms_changed()
    use(sold, "1", 1500)
    assert ask(sold).status_code == 503
    monkeypatch.setattr(engine.quota, "_read_terms", read_terms)
    assert ask(sold).json()["used"] == "1500"


PRODUCT = {
    "event_type": "llm.request",
    "aggregation": "sum",
    "expression": "seats * days",
    "properties": {"seats": "number", "days": "number"},
}
TOO_LARGE = 10**15  # each of two numbers may be it, and their product is no quantity


def sell_products(client: httpx2.Client, window: str = "month") -> None:
    """`acme` may use 2,000 tokens, which are now the product of two properties."""
    limits = {"tokens": {"limit": "2000", "window": window}}
    pro = {**CATALOG["plans"]["pro"], "prices": ["fee"], "entitlements": limits}
    plans = {"pro": pro, "free": {"currency": "USD", "prices": ["fee"]}}
    prices = {"fee": CATALOG["prices"]["fee"]}
    changed = {**CATALOG, "meters": {"tokens": PRODUCT}, "prices": prices, "plans": plans}
    assert client.put("/v1/catalog", json=changed).status_code == 200


def use_product(client: httpx2.Client, event_id: str, seats: int, days: int, **changes: Any) -> None:
    assert post(client, event(event_id, data={"seats": seats, "days": days}, **changes)).json()["accepted"] == 1


def test_an_expression_is_counted_before_the_answer(sold: httpx2.Client, engine: Engine, settings: Settings) -> None:
    sell_products(sold)
    assert ask(sold).json()["used"] == "0"
    for number in range(3):
        use_product(sold, str(number), 5, number)
        assert ask(sold).json()["used"] == str(5 * sum(range(number + 1)))
    engine.close()
    again = Engine.open(settings, now=lambda: NOW)
    assert again.quota.check("acme", "tokens", Decimal(0), NOW).used == 15
    again.close()


def test_what_cannot_be_counted_refuses_no_event_and_no_start(
    sold: httpx2.Client, engine: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    sell_products(sold)
    use_product(sold, "1", 2, 3)
    assert ask(sold).json()["used"] == "6"
    use_product(sold, "2", TOO_LARGE, TOO_LARGE)
    assert "quota cannot be counted" in caplog.text
    use_product(sold, "3", 4, 5)
    assert engine.failure is None
    engine.close()
    again = Engine.open(settings, now=lambda: NOW)
    with TestClient(create_app(settings, engine=again)) as client:
        use_product(client, "4", 6, 7)
        assert correct(client, void("2")).json()["accepted"] == 1
        assert ask(client).json()["used"] == str(2 * 3 + 4 * 5 + 6 * 7)
    again.close()


@pytest.mark.parametrize("window", ["month", "year"])
def test_a_feature_that_cannot_be_counted_leaves_the_others_alone(
    sold: httpx2.Client, engine: Engine, window: str
) -> None:
    """`calls` counts the same events; tokens are a product that has no quantity for one of them."""
    meters = {"tokens": PRODUCT, "calls": {"event_type": "llm.request", "aggregation": "count"}}
    limits = {feature: {"limit": "2000", "window": window} for feature in meters}
    plan = {"currency": "USD", "prices": ["fee"], "entitlements": limits}
    features = {feature: {"meter": feature} for feature in meters}
    prices, plans = {"fee": CATALOG["prices"]["fee"]}, {"pro": plan, "free": plan}
    changed = {**CATALOG, "meters": meters, "features": features, "prices": prices, "plans": plans}
    assert sold.put("/v1/catalog", json=changed).status_code == 200
    use_product(sold, "1", 2, 3)
    use_product(sold, "2", TOO_LARGE, TOO_LARGE)
    asked = pl.DataFrame({"subject": "acme", "feature": ["tokens", "calls"], "amount": [Decimal(1)] * 2})
    for counted_again in (False, True):
        assert ask(sold, feature="calls").json()["used"] == "2"
        problem = ask(sold)
        assert (problem.status_code, problem.json()["type"]) == (503, "urn:tallystick:problem:feature-not-counted")
        assert "the usage of feature 'tokens' cannot be counted" in problem.json()["detail"]
        answers = engine.quota.check_many(asked.cast(QUOTA_ASKED), NOW)
        assert answers["reason"].to_list() == ["not_counted", "allowed"]
        if not counted_again:
            engine.quota.terms_changed()
    assert correct(sold, void("2")).json()["accepted"] == 1
    assert (ask(sold).json()["used"], ask(sold, feature="calls").json()["used"]) == ("6", "1")


@pytest.mark.parametrize("window", ["month", "year"])
def test_an_event_that_cannot_be_counted_concerns_its_customer_alone(
    sold: httpx2.Client, engine: Engine, settings: Settings, window: str
) -> None:
    sell_products(sold, window)
    sold.put("/v1/customers/other", json={"subjects": ["o-1"], "time_zone": "UTC"}).raise_for_status()
    term = {"customer": "other", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
    sold.put("/v1/subscriptions/other", json=term).raise_for_status()
    use_product(sold, "1", 2, 3)
    use_product(sold, "2", 2, 3, subject="o-1")
    assert ask(sold, subject="o-1").json()["used"] == "6"
    assert ask(sold).status_code == 200
    use_product(sold, "3", TOO_LARGE, TOO_LARGE)
    use_product(sold, "4", 1, 1, subject="o-1")
    assert_not_counted(ask(sold))
    assert ask(sold, subject="o-1").json()["used"] == "7"
    engine.close()
    again = Engine.open(settings, now=lambda: NOW)
    with TestClient(create_app(settings, engine=again)) as client:
        assert_not_counted(ask(client))
        assert ask(client, subject="o-1").json()["used"] == "7"
        use_product(client, "5", 5, 2000, subject="o-1")  # reaches the limit, beside the event that has no quantity
        answer = ask(client, subject="o-1")
        assert (answer.status_code, answer.json()["used"]) == (429, "10007")
        compared = client.get("/v1/quota/comparison").json()
        assert (compared["compared"], compared["different"], list(compared["uncounted"])) == (1, 0, ["tokens of acme"])
        assert correct(client, void("3")).json()["accepted"] == 1
        assert ask(client).json()["used"] == "6"
    again.close()


def assert_not_counted(answer: httpx2.Response) -> None:
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:tallystick:problem:feature-not-counted")
    assert "(subject 'acme')" in answer.json()["detail"]


def test_every_counter_is_compared_with_the_log(sold: httpx2.Client, engine: Engine) -> None:
    """Of open windows: what `t-2` used in the September of Tokyo is over."""
    sold.put("/v1/customers/tokyo", json={"subjects": ["t-1", "t-2"], "time_zone": "Asia/Tokyo"}).raise_for_status()
    use(sold, "1", 70, time="2026-10-01T00:00:00Z")
    use(sold, "2", 30, subject="t-1", time="2026-09-30T15:00:00Z")
    use(sold, "3", 8, subject="t-2", time="2026-09-30T14:59:59Z")
    use(sold, "4", 5, subject="nobody")
    assert correct(sold, void("1")).json()["accepted"] == 1
    use(sold, "5", 9)
    equal = {"compared": 2, "different": 0, "items": [], "uncounted": {}}
    assert sold.get("/v1/quota/comparison").json() == equal
    counters = engine.quota._live._plain._counters["tokens"]
    counters.add(np.array([0]), np.array([10**9]))
    found = sold.get("/v1/quota/comparison").json()
    wrong = {"customer": "acme", "feature": "tokens", "window_start": "2026-10-01T00:00:00Z"}
    assert (found["different"], found["items"]) == (1, [{**wrong, "counted": "10", "metered": "9"}])
    engine.quota.usage_changed()
    assert sold.get("/v1/quota/comparison").json() == equal


def test_a_correction_that_cannot_be_counted_is_taken(sold: httpx2.Client, engine: Engine) -> None:
    sell_products(sold)
    use_product(sold, "1", 2, 3)
    assert ask(sold).json()["used"] == "6"
    too_large = replacement("1", "2", 0, data={"seats": TOO_LARGE, "days": TOO_LARGE})
    assert correct(sold, too_large).json()["accepted"] == 1
    use_product(sold, "3", 4, 5)
    assert engine.failure is None
    assert correct(sold, void("2")).json()["accepted"] == 1
    assert ask(sold).json()["used"] == "20"
