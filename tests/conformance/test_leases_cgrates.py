"""CGRateS' sessions as leases: what one reserves is a lease, an update a report that renews it, its end a release.

A balance is the limit of a month, and what the source calls the balance is what remains of it: less what is used and
what is held.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from api.engine import Engine
from api.leases import LeaseAsked, ReportAsked
from api.settings import Settings
from rating.core.quota.answer import QuotaAnswer
from store.customers import Customer
from store.leases import Lease
from store.subscriptions import Subscription
from tests.conftest import shared_path

NOW = datetime(2026, 10, 15, 12, 0, tzinfo=UTC)
AS_LEASES = ("cgr-bal-058", "cgr-bal-069", "cgr-bal-070")
LISTED = {"cgr-bal-065": "its last total, 60, is less than the 240 that were reported: usage goes back by a correction"}
"""Sessions that are no leases, and why (docs/conformance.md)."""


def cases() -> dict[str, Any]:
    document = json.loads(shared_path("cases", "cgrates_balances.json").read_text())
    found = document["cases"] if isinstance(document, dict) else document
    return {case["id"]: case for case in found}


@pytest.fixture
def engine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    [balance] = cases()[request.param]["usage"]["balances"]
    opened = Engine.open(Settings(data=tmp_path / "data"), now=lambda: NOW)
    limit = {"limit": balance["value"], "window": "month"}
    catalog = {
        "tallystick": 1, "currencies": ["USD"],
        "meters": {"units": {"event_type": "use", "aggregation": "sum", "property": "units"}},
        "features": {"balance": {"meter": "units"}},
        "plans": {"p": {"currency": "USD", "entitlements": {"balance": limit}}},
    }  # fmt: skip
    opened.apply_catalog(json.dumps(catalog), format="json")
    opened.put_customers([Customer("c", "", "UTC", NOW, ("c",))])
    opened.put_subscriptions([Subscription("s", "c", "p", datetime(2026, 1, 1, tzinfo=UTC), None)])
    yield opened
    opened.close()


class Session:
    """`used` is what the source has told; an update that tells nothing has used up what was granted last."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._lease, self._granted, self._used = engine, "", Decimal(0), Decimal(0)

    def initiate(self, requested: Decimal, minimum: Decimal | None = None) -> Decimal:
        asked = LeaseAsked("session", "c", "balance", requested, minimum or requested, 3600, "usage", {})
        made = self._engine.leases.make(asked)
        if isinstance(made, QuotaAnswer):
            return Decimal(0)
        self._lease, self._granted = made.id, requested
        return made.granted

    def update(self, requested: Decimal, last_used: Decimal | None) -> Decimal:
        """What may be used from here on, at most what is requested."""
        self._used += self._granted if last_used is None else last_used
        sequence = self._engine.leases.get(self._lease).sequence + 1
        lease = self._engine.leases.report(self._lease, ReportAsked(sequence, self._used, renew=requested))
        self._granted = min(requested, lease.granted - lease.used)
        return self._granted

    def end(self, last_used: Decimal) -> Lease:
        self._used += last_used
        return self._engine.leases.release(self._lease, ReportAsked(None, self._used))

    def balance(self) -> Decimal:
        remaining = self._engine.quota.check("c", "balance", Decimal(0), NOW).remaining
        assert remaining is not None
        return remaining


@pytest.mark.parametrize(
    ("engine", "name"), [(name, name) for name in AS_LEASES[1:]], indirect=["engine"], ids=AS_LEASES[1:]
)
def test_a_session_of_units_is_a_lease(engine: Engine, name: str) -> None:
    case, session = cases()[name], Session(engine)
    for operation, expected in zip(case["usage"]["operations"], case["expected"]["steps"], strict=True):
        said = {key: Decimal(value) for key, value in operation.items() if key != "op"}
        if operation["op"] == "initiate":
            session.initiate(said["requested"])
        elif operation["op"] == "update":
            session.update(said["requested"], said.get("last_used"))
        else:  # the usage that is configured for a session that says nothing, or what it said at its end
            session.end(said.get("ttl_usage", said.get("last_used", Decimal(0))))
        assert session.balance() == Decimal(expected["balances"]["data"]), operation


@pytest.mark.parametrize("engine", ["cgr-bal-058"], indirect=True)
def test_a_session_of_money_is_a_lease_of_it(engine: Engine) -> None:
    """1 is for the connection and 1 for each second: the first update takes 2, and each of the others 1."""
    case = cases()["cgr-bal-058"]
    [operation] = case["usage"]["operations"]
    expected, session = case["expected"], Session(engine)
    fee, second = Decimal(1), Decimal(operation["requested"])
    grants = [session.initiate(fee + second) - fee]
    assert session.balance() == Decimal(expected["balance_after_first"])
    grants += [session.update(second, None) for _ in range(operation["repeat"] - 1)]
    assert session.balance() == Decimal(expected["balance_after_9"])
    assert grants == [Decimal(expected["grants"]["first_9"])] * 9 + [Decimal(expected["grants"]["then"])] * 20
    session.end(Decimal(0))
    assert engine.quota.check("c", "balance", Decimal(0), NOW).used == 10


def test_every_session_is_a_lease_or_listed() -> None:
    sessions = {name for name, case in cases().items() if case["model"] == "session"}
    assert sessions == {*AS_LEASES, *LISTED}
