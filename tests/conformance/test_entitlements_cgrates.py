"""CGRateS' balances in units as grants of a quota, over HTTP: what a customer was granted, and what is left of each.

The heavier balance is the smaller priority, a factor is the meter's expression, a debit that must be paid in full (a
blocker) is consumed, and a debit after the fact is an event. Increments, balances in money, and prices of what units do
not pay, are the ledger's (test_credits_cgrates.py). Behind the cases of the source are others of the same kind.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.conftest import SHARED

NOW = datetime(2026, 10, 15, 12, 0, tzinfo=UTC)
SECONDS = {
    "event_type": "call",
    "aggregation": "sum",
    "expression": "CASE WHEN step = 10 THEN ceil(seconds * 0.1) * 10 ELSE seconds END * factor",
    "properties": {"seconds": "number", "step": "number", "factor": "number"},
}
CATALOG = {"tallystick": 1, "currencies": ["USD"], "meters": {"s": SECONDS}, "features": {"voice": {"meter": "s"}}}

Case = Mapping[str, Any]
FILE = SHARED / "cases" / "cgrates_balances.json"
UNITS_ALONE = ("010", "017", "036", "043", "047", "051", "052")
"""The cases of balances in units that have no increments and for which money pays nothing (docs/conformance.md)."""
CASES = [c for c in (json.loads(FILE.read_text()) if FILE.exists() else []) if c["id"][-3:] in UNITS_ALONE]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(data=tmp_path_factory.mktemp("cgrates") / "data")
    engine = Engine.open(settings, now=lambda: NOW)
    with TestClient(create_app(settings, engine=engine)) as opened:
        assert opened.put("/v1/catalog", json=CATALOG).status_code == 200
        yield opened
    engine.close()


class Account:
    """A customer and what it was granted."""

    def __init__(self, client: TestClient, key: str) -> None:
        self._client, self._key, self._events = client, key, 0
        assert client.put(f"/v1/customers/{key}", json={}).status_code == 200

    def grant(self, id: str, amount: str, weight: str = "0", **more: Any) -> None:
        given = {"id": f"{self._key}-{id}", "feature": "voice", "amount": amount, "priority": 100 - int(weight), **more}
        given = {"effective_at": "2026-10-01T00:00:00Z", **given}
        made = self._client.post(f"/v1/customers/{self._key}/quota-grants", json=given)
        assert made.status_code == 201, made.json()

    def debit(self, seconds: str, *, step: str = "1", factor: str = "1", must_be_paid: bool = True) -> bool:
        """Whether it was taken; without `must_be_paid` it has happened."""
        self._events += 1
        event = {
            "specversion": "1.0", "source": "switch", "id": f"{self._key}-{self._events}", "type": "call",
            "subject": self._key, "time": NOW.isoformat(), "data": {"seconds": seconds, "step": step, "factor": factor},
        }  # fmt: skip
        if must_be_paid:
            answer = self._client.post("/v1/quota/consume", json={"event": event})
            assert answer.status_code in (200, 402, 403, 429), answer.json()
            return answer.status_code == 200
        assert self._client.post("/v1/events", json=[event]).json()["accepted"] == 1
        return True

    def voice(self) -> dict[str, Any]:
        listed = self._client.get(f"/v1/customers/{self._key}/entitlements").json()["items"]
        found: dict[str, Any] = next(item for item in listed if item["feature"] == "voice")
        return found

    def left(self) -> dict[str, str]:
        return {grant["id"].removeprefix(f"{self._key}-"): grant["left"] for grant in self.voice()["grants"]}

    def owed(self) -> Decimal:
        found = self.voice()
        return max(Decimal(found["used"]) - Decimal(found["limit"]), Decimal(0))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_balances_after_each_operation(client: TestClient, case: Case) -> None:
    account, usage = Account(client, case["id"]), case["usage"]
    balances = [b for b in usage["balances"] if b["type"] != "money"]
    for b in balances:
        account.grant(b["id"], b["value"], b.get("weight", "0"))
    for operation, expected in zip(usage["operations"], case["expected"]["steps"], strict=True):
        if operation["op"] == "max_usage":
            most = min(Decimal(account.voice()["remaining"]), Decimal(operation["quantity"]))
            assert most == Decimal(expected["max_usage"])
            continue
        factor = next((b["factors"][operation["factor"]] for b in balances if "factor" in operation), "1")
        in_debt = Decimal(expected.get("balances", {}).get("default", 0))
        taken = account.debit(operation["quantity"], factor=factor, must_be_paid=not in_debt)
        assert taken == ("error" not in expected)
        names = {b["id"] for b in balances} & expected["balances"].keys()
        assert {name: account.left()[name] for name in names} == {name: expected["balances"][name] for name in names}
        assert account.owed() == -in_debt


def test_the_heaviest_is_burnt_first_and_the_rest_by_the_next(client: TestClient) -> None:
    account = Account(client, "weights")
    for name, amount, weight in (("light", "50", "1"), ("heavy", "10", "30"), ("middle", "20", "20")):
        account.grant(name, amount, weight)
    assert account.debit("35")
    assert account.left() == {"heavy": "0", "middle": "0", "light": "45"}


def test_of_equal_weights_the_one_that_expires_first_is_burnt_first(client: TestClient) -> None:
    account = Account(client, "expiries")
    account.grant("never", "10")
    account.grant("late", "10", expires_at="2026-12-01T00:00:00Z")
    account.grant("soon", "10", expires_at="2026-11-01T00:00:00Z")
    assert account.debit("12")
    assert account.left() == {"soon": "0", "late": "8", "never": "10"}


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("expired", {"expires_at": "2026-10-15T12:00:00Z"}),
        ("later", {"effective_at": "2026-10-15T12:00:00.000001Z"}),
    ],
)
def test_what_has_expired_or_is_not_yet_there_pays_nothing(client: TestClient, name: str, when: Any) -> None:
    account = Account(client, name)
    account.grant("other", "100", "50", **when)
    account.grant("own", "10")
    assert not account.debit("11")
    assert account.debit("10")
    assert account.left()["own"] == "0"


def test_a_balance_that_is_reset_each_day_is_whole_again(client: TestClient) -> None:
    account = Account(client, "daily")
    account.grant("daily", "10", recurs_every="1d")
    assert account.debit("10")
    assert not account.debit("1")
    tomorrow = client.get("/v1/customers/daily/entitlements", params={"at": "2026-10-16T00:00:00Z"}).json()["items"]
    assert [grant["left"] for item in tomorrow for grant in item.get("grants", [])] == ["10"]


def test_a_top_up_pays_what_is_owed_first(client: TestClient) -> None:
    account = Account(client, "debt")
    account.grant("first", "10")
    assert account.debit("30", must_be_paid=False)
    assert account.owed() == 20
    account.grant("top-up", "50")
    assert (account.left()["top-up"], account.owed()) == ("30", 0)


def test_a_refund_goes_back_to_what_paid(client: TestClient) -> None:
    account = Account(client, "refund")
    account.grant("heavy", "10", "20")
    account.grant("light", "10", "10")
    assert account.debit("15")
    assert account.debit("-7", must_be_paid=False)  # the light one has its 5 again, the heavy one 2
    assert account.left() == {"heavy": "2", "light": "10"}


def test_a_debit_that_no_balances_together_pay_takes_nothing(client: TestClient) -> None:
    account = Account(client, "whole")
    account.grant("a", "5", "20")
    account.grant("b", "5", "10")
    assert not account.debit("12")
    assert account.left() == {"a": "5", "b": "5"}
    assert account.debit("10")
    assert not account.debit("0.000000001")


def test_started_increments_count_whole_and_by_their_factor(client: TestClient) -> None:
    account = Account(client, "increments")
    account.grant("voice", "100")
    assert account.debit("17", step="10", factor="2")  # 2 * 20
    assert account.debit("20", step="10", factor="2")  # 2 * 20, on the edge
    assert account.left() == {"voice": "20"}
    assert not account.debit("11", step="10", factor="2")
    assert account.debit("1", step="10", factor="2")


def test_a_free_destination_takes_nothing_also_of_an_empty_balance(client: TestClient) -> None:
    account = Account(client, "free")
    account.grant("voice", "10")
    assert account.debit("10")
    assert account.debit("600", factor="0")
    assert account.left() == {"voice": "0"}


def test_all_cases_of_units_alone_are_there() -> None:
    assert not FILE.exists() or len(CASES) == len(UNITS_ALONE)
