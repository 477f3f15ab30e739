"""Prepaid credits over HTTP: granted, burnt by runs, voided, refunded, and told entry by entry."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import httpx2
import polars as pl
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import event, is_documented
from tests.api.test_rating import lines_of, rate

CATALOG: dict[str, Any] = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": {
        "tokens": {"event_type": "llm.request", "aggregation": "sum", "property": "input_tokens"},
        "peak": {"event_type": "llm.request", "aggregation": "max", "property": "input_tokens"},
    },
    "features": {"tokens": {"meter": "tokens"}},
    "prices": {
        "tokens": {"meter": "tokens", "currency": "USD", "model": "per_unit", "versions": [{"unit_amount": "0.01"}]},
        "fee": {"currency": "USD", "model": "flat", "versions": [{"amount": "20"}]},
    },
    "plans": {
        "plain": {"currency": "USD", "prices": ["fee", "tokens"]},
        "included": {
            "currency": "USD",
            "prices": ["fee", "tokens"],
            "credits": {"free": {"units": "100", "meters": ["tokens"], "lasts_periods": 2, "priority": 1}},
        },
    },
}


SECOND = "2026-10-02T00:00:00Z"


class Clock:
    """What the engine takes for now."""

    def __init__(self) -> None:
        self.now = datetime(2026, 10, 15, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@contextmanager
def served(settings: Settings, clock: Clock) -> Iterator[httpx2.Client]:
    """A client of an application that is started and stopped."""
    engine = Engine.open(settings, now=clock)
    try:
        with TestClient(create_app(settings, engine=engine), raise_server_exceptions=False) as client:
            client.event_hooks["response"].append(is_documented)
            yield client
    finally:
        engine.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(settings: Settings, clock: Clock) -> Iterator[httpx2.Client]:
    """Customer `acme` on plan `plain` and `beta` on `included`, both since September."""
    with served(settings, clock) as opened:
        set_up(opened)
        yield opened


def set_up(client: httpx2.Client) -> None:
    assert client.put("/v1/catalog", json=CATALOG).status_code == 200
    for customer, plan in (("acme", "plain"), ("beta", "included")):
        assert client.put(f"/v1/customers/{customer}", json={}).status_code == 200
        subscription = {"customer": customer, "plan": plan, "starts_at": "2026-09-01T00:00:00Z"}
        assert client.put(f"/v1/subscriptions/{customer}-1", json=subscription).status_code == 200


def use(client: httpx2.Client, event_id: str, tokens: int, time: str, subject: str = "acme") -> None:
    given = event(event_id, subject=subject, time=time, data={"model": "big", "input_tokens": tokens})
    assert client.post("/v1/events", json=[given]).json()["accepted"] == 1


def grant(client: httpx2.Client, key: str, customer: str = "acme", **given: Any) -> dict[str, Any]:
    body = {"id": key, **given}
    answer = client.post(f"/v1/customers/{customer}/credits", json=body)
    assert answer.status_code == 201, answer.text
    granted: dict[str, Any] = answer.json()
    return granted


def usd(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "USD"}


def left(client: httpx2.Client, customer: str = "acme") -> dict[str, tuple[str, str, str]]:
    """`balance`, `pending` and `state` of each grant."""
    page = client.get(f"/v1/customers/{customer}/credits").json()
    return {item["id"]: (item["balance"], item["pending"], item["state"]) for item in page["items"]}


def ledger(client: httpx2.Client, customer: str = "acme", **params: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/customers/{customer}/credits/ledger", params=params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def told(entries: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    return [(e["kind"], e["grant"], e["amount"], e["balance_after"]) for e in entries]


def assert_conserved(entries: list[dict[str, Any]]) -> None:
    """Every grant's entries follow on each other, and add up to what it closes with."""
    last: dict[str, Decimal] = {}
    for entry in entries:
        before, amount, after = (Decimal(entry[name]) for name in ("balance_before", "amount", "balance_after"))
        assert before == (after if entry["kind"] == "closing" else last.get(entry["grant"], Decimal(0)))
        assert after == before + amount
        assert after >= 0
        last[entry["grant"]] = after


def totals(run: dict[str, Any]) -> dict[str, Any]:
    (found,) = [total for total in run["report"]["credits"]["totals"] if total["unit"] == "USD"]
    return {name: value for name, value in found.items() if value != "0"}


def line_of(client: httpx2.Client, run: dict[str, Any], price: str, customer: str = "acme") -> dict[str, Any]:
    """The line of a price, not what credits pay of it."""
    lines = lines_of(client, run, customer=customer)
    (found,) = [line for line in lines if line["price"] == price and line["pays"] is None]
    return found


def test_two_months_with_a_top_up_a_void_a_refund_an_expiry_and_a_restart(settings: Settings, clock: Clock) -> None:
    """October costs 20 + 1,000 x 0.01 = 30 and November 20 + 500 x 0.01 = 25."""
    with served(settings, clock) as client:
        set_up(client)
        grant(client, "gift", **usd("5"), priority=1, effective_at=SECOND, expires_at="2026-11-15T00:00:00Z")
        grant(client, "prepaid", **usd("40"), effective_at=SECOND)
        use(client, "1", 1000, "2026-10-10T00:00:00Z")
        assert left(client) == {"gift": ("5", "5", "active"), "prepaid": ("40", "25", "active")}
        clock.now = datetime(2026, 11, 2, 12, tzinfo=UTC)
        october = rate(client)
        assert totals(october) == {"unit": "USD", "granted": "45", "burnt": "30", "closing": "15"}
        entries = ledger(client)
        assert_conserved(entries)
        assert told(entries) == [
            ("grant", "gift", "5", "5"),
            ("grant", "prepaid", "40", "40"),
            ("burn", "gift", "-5", "0"),  # usage is paid first
            ("burn", "prepaid", "-5", "35"),
            ("burn", "prepaid", "-20", "15"),
            ("closing", "gift", "0", "0"),
            ("closing", "prepaid", "0", "15"),
        ]
        tokens, fee = line_of(client, october, "tokens"), line_of(client, october, "fee")
        assert [(e["grant"], e["covered"]) for e in entries if e["line"] == tokens["line"]] == [
            ("gift", "5"), ("prepaid", "5"),
        ]  # fmt: skip
        # 7 of the 10 for tokens go back, to prepaid first; then 1.5 of what prepaid paid of the fee
        paid_by = client.get(f"/v1/charge-lines/{tokens['line']}/explain").json()["paid_by"]
        assert [(p["grant"], p["balance_after"]) for p in paid_by] == [("gift", "0"), ("prepaid", "35")]
        assert all(p["line"] in {x["line"] for x in lines_of(client, october)} for p in paid_by)
        back = client.post(f"/v1/charge-lines/{tokens['line']}/refund", json={"id": "ticket", "amount": "7"})
        assert {part["grant"]: part["amount"] for part in back.json()["parts"]} == {"gift": "2", "prepaid": "5"}
        paid = next(x for x in lines_of(client, october) if x["pays"] == fee["line"])
        back = client.post(f"/v1/charge-lines/{paid['line']}/refund", json={"id": "ticket 2", "amount": "1.5"})
        assert back.json()["line"] == fee["line"]
        grant(client, "top", **usd("2"), kind="top_up", priority=0)
        grant(client, "mistake", **usd("9"))
        assert client.post("/v1/credits/mistake/void", json={}).json()["voided_at"] == "2026-11-02T12:00:00Z"
        use(client, "2", 500, "2026-11-01T00:00:00Z")
    assert_november(settings, clock, october)


def assert_november(settings: Settings, clock: Clock, october: dict[str, Any]) -> None:
    """After the restart: 15 are left of October, and 8.5 came back."""
    with served(settings, clock) as client:
        clock.now = datetime(2026, 11, 3, tzinfo=UTC)
        # money pays at the period's end, and gift will have expired by then
        assert left(client) == {
            "gift": ("2", "0", "active"),
            "mistake": ("0", "0", "voided"),
            "prepaid": ("21.5", "21.5", "active"),
            "top": ("2", "2", "active"),
        }
        clock.now = datetime(2026, 12, 3, tzinfo=UTC)
        november = rate(client, "2026-11")
        assert november["report"]["credits"]["opened_by"] == october["id"]
        assert totals(november) == {
            "unit": "USD", "opening": "15", "granted": "2", "refunded": "8.5", "burnt": "23.5", "expired": "2",
        }  # fmt: skip
        entries = ledger(client)
        assert_conserved(entries)
        assert ("expiry", "gift", "-2", "0") in told(entries)
        assert {e["refund"] for e in entries if e["kind"] == "refund"} == {"ticket", "ticket 2"}
        assert sum(Decimal(x["rounded_amount"]) for x in lines_of(client, november, customer="acme")) == Decimal("1.5")
        assert rate(client, "2026-11")["digest"] == november["digest"]
        assert rate(client)["digest"] == october["digest"]


def test_units_pay_events_and_the_ledger_names_them(clock: Clock, client: httpx2.Client) -> None:
    """beta has 100 free tokens a month that last two: 60 + 90 take September's first, then October's."""
    use(client, "1", 60, "2026-10-10T00:00:00Z", "beta")
    use(client, "2", 190, "2026-10-11T00:00:00Z", "beta")
    clock.now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    run = rate(client)
    assert run["report"]["credits"]["rated_before"] == ["2026-09"]
    entries = ledger(client, "beta")
    assert_conserved(entries)
    burns = [e for e in entries if e["kind"] == "burn"]
    assert [(e["event"]["id"], e["grant"], e["covered"]) for e in burns] == [
        ("1", "beta-1/free/2026-09", "60"),
        ("2", "beta-1/free/2026-09", "40"),
        ("2", "beta-1/free/2026-10", "100"),
    ]
    line = next(x for x in lines_of(client, run, customer="beta") if x["price"] == "tokens")
    assert {e["line"] for e in burns} == {line["line"]}
    assert (line["quantity"], line["amount"]) == ("250", "0.5")
    explained = client.get(f"/v1/charge-lines/{line['line']}/explain").json()
    assert [(p["grant"], p["amount"], p["unit"], p["burns"]) for p in explained["paid_by"]] == [
        ("beta-1/free/2026-09", "100", "units", 2),
        ("beta-1/free/2026-10", "100", "units", 1),
    ]
    back = client.post(
        f"/v1/charge-lines/{line['line']}/refund",
        json={"id": "r", "amount": "110", "event": burns[1]["event"]["sequence"]},
    )
    assert {p["grant"]: p["amount"] for p in back.json()["parts"]} == {
        "beta-1/free/2026-10": "100", "beta-1/free/2026-09": "10",
    }  # fmt: skip
    clock.now = datetime(2026, 12, 2, tzinfo=UTC)
    rate(client, "2026-11")
    entries = ledger(client, "beta")
    assert_conserved(entries)
    ended = [told([e])[0] for e in entries if e["grant"] == "beta-1/free/2026-09"]
    assert ended == [("refund", "beta-1/free/2026-09", "10", "10"), ("expiry", "beta-1/free/2026-09", "-10", "0")]
    assert ("refund", "beta-1/free/2026-10", "100", "100") in told(entries)


def test_a_month_without_a_run_before_it_is_rated_from_the_first_grant(clock: Clock, client: httpx2.Client) -> None:
    """September and October cost the fee of 20 each; 20 of 60 are there when November begins, by whichever runs."""
    grant(client, "prepaid", **usd("60"), effective_at="2026-09-01T00:00:00Z")
    clock.now = datetime(2026, 12, 2, tzinfo=UTC)
    alone = rate(client, "2026-11")
    assert alone["report"]["credits"]["rated_before"] == ["2026-09", "2026-10"]
    assert totals(alone) == {"unit": "USD", "opening": "20", "burnt": "20"}
    again = rate(client, "2026-11")
    assert (again["digest"], again["report"]["credits"]) == (alone["digest"], alone["report"]["credits"])
    for period in ("2026-09", "2026-10"):
        rate(client, period)
    chained = rate(client, "2026-11")
    assert chained["digest"] == alone["digest"]
    assert chained["report"]["credits"]["rated_before"] == []
    assert chained["report"]["credits"]["totals"] == alone["report"]["credits"]["totals"]


def test_a_run_of_an_open_month_is_no_opening(clock: Clock, client: httpx2.Client) -> None:
    grant(client, "prepaid", **usd("60"), effective_at="2026-10-01T00:00:00Z")
    early = rate(client)
    use(client, "1", 100, "2026-10-14T00:00:00Z")
    clock.now = datetime(2026, 12, 2, tzinfo=UTC)
    run = rate(client, "2026-11")
    assert run["report"]["credits"]["opened_by"] is None
    assert run["report"]["credits"]["rated_before"] == ["2026-09", "2026-10"]
    assert totals(run)["opening"] == "39"
    assert totals(early)["closing"] == "40"


def test_a_grant_recorded_after_its_month_was_rated_opens_the_next_whole(clock: Clock, client: httpx2.Client) -> None:
    grant(client, "first", **usd("5"), effective_at="2026-10-01T00:00:00Z")
    clock.now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    october = rate(client)
    grant(client, "late", **usd("30"), effective_at="2026-10-01T00:00:00Z")
    clock.now = datetime(2026, 12, 2, tzinfo=UTC)
    assert totals(rate(client, "2026-11")) == {"unit": "USD", "opening": "30", "burnt": "20", "closing": "10"}
    again = rate(client)
    assert again["digest"] != october["digest"]
    assert again["report"]["credits"]["digest"] != october["report"]["credits"]["digest"]
    assert totals(again) == {"unit": "USD", "granted": "35", "burnt": "20", "closing": "15"}


def test_a_grant_sent_again_changes_nothing_and_another_under_its_id_is_refused(
    clock: Clock, client: httpx2.Client
) -> None:
    first = grant(client, "order", **usd("10.50"))
    clock.now = datetime(2026, 10, 16, tzinfo=UTC)
    assert grant(client, "order", **usd("10.5")) == first
    for customer, other in (("acme", usd("11")), ("beta", usd("10.5"))):
        answer = client.post(f"/v1/customers/{customer}/credits", json={"id": "order", **other})
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:tallystick:problem:id-taken")
    assert list(left(client)) == ["order"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"amount": "1", "currency": "EUR"}, "no currency 'EUR'", id="a currency that is not in use"),
        pytest.param(usd("0"), "above zero", id="nothing"),
        pytest.param({"units": "5", "meters": ["peak"]}, "does not add up", id="units of a maximum"),
        pytest.param({**usd("1"), "meters": ["x"]}, "no meter 'x'", id="an unknown meter"),
        pytest.param({**usd("1"), "features": ["x"]}, "no feature 'x'", id="an unknown feature"),
        pytest.param({**usd("1"), "prices": ["x*"]}, "no price 'x*'", id="a price that there is not"),
        pytest.param({**usd("1"), "subscription": "beta-1"}, "of customer 'beta'", id="another's subscription"),
        pytest.param({**usd("1"), "subscription": "x"}, "no subscription 'x'", id="an unknown subscription"),
        pytest.param({**usd("1"), "expires_at": "2026-10-15T12:00:00Z"}, "not after", id="over before it begins"),
        pytest.param({**usd("1"), "rollover_minimum": "1"}, "rollover_maximum", id="a rollover without maximum"),
        pytest.param({**usd("1"), "factor": "2"}, "increment", id="a factor without an increment"),
        pytest.param({**usd("1"), "units": "1"}, "give `amount`", id="money and units"),
        pytest.param({"amount": "1"}, "give `amount`", id="no currency"),
        pytest.param({**usd("1"), "recurs_every": "5 days"}, "recurs_every", id="no interval"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(client: httpx2.Client, given: dict[str, Any], message: str) -> None:
    answer = client.post("/v1/customers/acme/credits", json={"id": "g", **given})
    assert answer.status_code == 422
    assert message in answer.text
    assert left(client) == {}


def test_what_is_not_there_is_said(client: httpx2.Client) -> None:
    assert client.post("/v1/customers/nobody/credits", json={"id": "g", **usd("1")}).status_code == 404
    assert client.get("/v1/customers/nobody/credits").status_code == 404
    assert client.get("/v1/customers/acme/credits/ledger").status_code == 404
    assert client.post("/v1/credits/g/void", json={}).status_code == 404
    assert client.post("/v1/charge-lines/x/refund", json={"id": "r"}).status_code == 404


def test_a_void_stays_and_takes_what_is_left_alone(clock: Clock, client: httpx2.Client) -> None:
    grant(client, "g", **usd("50"), effective_at="2026-09-01T00:00:00Z")
    past = client.post("/v1/credits/g/void", json={"at": "2026-10-01T00:00:00Z"})
    assert (past.status_code, "has passed" in past.text) == (422, True)
    at = {"at": "2026-10-20T00:00:00Z"}
    voided = client.post("/v1/credits/g/void", json=at)
    assert (voided.status_code, voided.json()["voided_at"]) == (200, "2026-10-20T00:00:00Z")
    assert client.post("/v1/credits/g/void", json=at).json() == client.post("/v1/credits/g/void", json={}).json()
    assert client.post("/v1/credits/g/void", json={"at": "2026-10-21T00:00:00Z"}).status_code == 409
    assert left(client) == {"g": ("30", "0", "active")}
    clock.now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    assert totals(rate(client)) == {"unit": "USD", "opening": "30", "voided": "30"}
    assert left(client) == {"g": ("0", "0", "voided")}


def test_no_more_is_refunded_than_was_paid(clock: Clock, client: httpx2.Client) -> None:
    grant(client, "g", **usd("5"), effective_at="2026-10-01T00:00:00Z")
    open_month = rate(client)
    fee = next(
        line["line"] for line in lines_of(client, open_month) if line["kind"] == "fee" and line["customer"] == "acme"
    )
    early = client.post(f"/v1/charge-lines/{fee}/refund", json={"id": "r0"})
    assert (early.status_code, "2026-11-01T12:00:00Z" in early.text) == (422, True)
    clock.now = datetime(2026, 11, 2, tzinfo=UTC)
    rate(client)
    assert client.post(f"/v1/charge-lines/{fee}/refund", json={"id": "r1", "amount": "6"}).status_code == 422
    assert client.post(f"/v1/charge-lines/{fee}/refund", json={"id": "r1", "amount": "2"}).json()["amount"] == "2"
    other = client.post(f"/v1/charge-lines/{fee}/refund", json={"id": "r1", "amount": "1"})
    assert (other.status_code, other.json()["type"]) == (409, "urn:tallystick:problem:id-taken")
    assert client.post(f"/v1/charge-lines/{fee}/refund", json={"id": "r2"}).json()["amount"] == "3"
    assert client.post(f"/v1/charge-lines/{fee}/refund", json={"id": "r3"}).status_code == 422
    unpaid = next(line["line"] for line in lines_of(client, open_month) if line["customer"] == "beta")
    assert client.post(f"/v1/charge-lines/{unpaid}/refund", json={"id": "r4"}).status_code == 422


def test_grants_and_entries_come_in_pages_and_whole(clock: Clock, client: httpx2.Client) -> None:
    for n in range(5):
        grant(client, f"g{n}", **usd("1"), effective_at="2026-10-01T00:00:00Z")
    first = client.get("/v1/customers/acme/credits", params={"limit": 3}).json()
    assert [item["id"] for item in first["items"]] == ["g0", "g1", "g2"]
    assert first["totals"] == [{"unit": "USD", "balance": "5", "pending": "5", "available": "0"}]
    rest = client.get("/v1/customers/acme/credits", params={"limit": 3, "after": first["next"]}).json()
    assert ([item["id"] for item in rest["items"]], rest["next"]) == (["g3", "g4"], None)
    run = rate(client)
    whole = ledger(client)
    address = "/v1/customers/acme/credits/ledger"
    page = client.get(address, params={"limit": 7}).json()
    behind = client.get(address, params={"after": page["next"], "period": "2026-10"}).json()
    assert page["items"] + behind["items"] == whole
    table = pl.read_parquet(BytesIO(client.get(address, headers={"accept": "application/vnd.apache.parquet"}).content))
    assert table["run"].unique().to_list() == [run["id"]]
    assert [str(a) for a in table["amount"].cast(pl.Float64)] == [str(float(e["amount"])) for e in whole]


def test_a_line_paid_in_money_and_in_units_is_refunded_in_one_of_them(clock: Clock, client: httpx2.Client) -> None:
    """250 tokens: units pay 200, the other 50 cost 0.50, which money pays."""
    grant(client, "money", "beta", **usd("0.5"), effective_at=SECOND)
    use(client, "1", 250, "2026-10-10T00:00:00Z", "beta")
    clock.now = datetime(2026, 11, 2, tzinfo=UTC)
    run = rate(client)
    address = f"/v1/charge-lines/{line_of(client, run, 'tokens', 'beta')['line']}/refund"
    open_which = client.post(address, json={"id": "r", "amount": "0.1"})
    assert (open_which.status_code, "USD and units" in open_which.text) == (422, True)
    money = client.post(address, json={"id": "r", "amount": "0.1", "unit": "USD"}).json()
    assert (money["unit"], [(p["grant"], p["amount"]) for p in money["parts"]]) == ("USD", [("money", "0.1")])
    units = client.post(address, json={"id": "r2", "unit": "units"}).json()
    assert (units["unit"], units["amount"]) == ("units", "200")
    assert client.post(address, json={"id": "r3", "unit": "USD"}).json()["amount"] == "0.4"
