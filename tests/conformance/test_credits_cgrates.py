"""Balances of a telephone account as CGRateS' own tests expect them (../shared/cases).

A balance is a grant: the heavier is burnt first, its increment and factor are those of the grant. Units pay seconds or
pieces; what they do not pay is priced by the increments of one rate and asks the balances in money, whose increment is
what one increment costs. Their operations stand around that: `max_usage` asks and burns nothing, a blocker hides what
is behind it and lets an operation that is not paid in full burn nothing. Sessions with reservations, re-rating and the
rounding of a settlement are left out (docs/conformance.md).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import polars as pl
import pytest

from rating.core.credits.burning import Burnt, burn
from rating.core.credits.schema import BURN, GRANT, REFUND, UNITS
from tests.conftest import SHARED, shared_path
from tests.rating.credits.frames import frame

Balance = Mapping[str, Any]
FILE = SHARED / "cases" / "cgrates_balances.json"
CASES = json.loads(FILE.read_text()) if FILE.exists() else []
LEFT_OUT = {"session", "rerate", "rounding_settlement"}
NOW, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
NOTHING = Decimal(0)
USUAL = {"customer": "c", "kind": "grant", "unit": UNITS, "created_at": NOW, "effective_at": NOW}


@dataclass(frozen=True)
class Done:
    """What came of one operation: what was covered, in whole increments too, what it cost and what is owed, how many
    increments were priced, and who paid."""

    left: dict[str, Decimal]
    covered: Decimal
    booked: Decimal
    cost: Decimal
    unpaid: Decimal
    increments: Decimal
    payers: set[str]


def supported(model: str) -> pytest.MarkDecorator:
    """The cases of `refund`, or of all others that are not left out."""
    wanted = [c for c in CASES if c["model"] not in LEFT_OUT and (c["model"] == "refund") == (model == "refund")]
    return pytest.mark.parametrize("case", [pytest.param(c, id=c["id"]) for c in wanted])


def of_kind(balances: list[Balance], money: bool) -> list[Balance]:
    return [b for b in balances if (b["type"] == "money") == money and not b.get("excluded")]


def in_order(balances: list[Balance], shared: Mapping[str, Any] | None, account: str | None) -> list[Balance]:
    """As they are burnt, up to a blocker: the heavier first; in a shared group the own or the emptiest first."""
    ordered = sorted(balances, key=lambda b: -Decimal(b.get("weight", 0)))
    if shared is not None:
        mine = shared["strategy"].startswith("mine")
        ordered = sorted(ordered, key=lambda b: (b["id"] != account) if mine else Decimal(b["value"]))
    blockers = [place for place, b in enumerate(ordered) if b.get("blocker") and not b.get("excluded")]
    return ordered[: blockers[0] + 1] if blockers else ordered


def pay(balances: list[Balance], left: Mapping[str, Decimal], amount: Decimal, more: Mapping[str, Any]) -> Burnt:
    """Burn `amount` from balances in their order; `more` is said of each grant by its id."""
    grants = [
        {**USUAL, "grant": b["id"], "amount": left[b["id"]], "priority": place, **more.get(b["id"], {})}
        for place, b in enumerate(balances)
    ]
    asked = {"burn": 1, "customer": "c", "unit": UNITS, "time": NOW, "sequence": 1, "amount": amount}
    return burn(frame(GRANT, grants), frame(BURN, [asked]), LATER)


def paid_by(burnt: Burnt) -> Decimal:
    return sum(burnt.paid["paid"], NOTHING)


def left_after(left: Mapping[str, Decimal], burnt: Burnt) -> dict[str, Decimal]:
    return {**left, **dict(burnt.balances.iter_rows())}


def use(case: Mapping[str, Any], left: dict[str, Decimal], operation: Mapping[str, Any]) -> Done:
    """One debit: units first, then money for the rest, by one rate."""
    usage, rates = case["usage"], case["price"].get("rates", {})
    ordered = in_order(usage["balances"], usage.get("shared_group"), operation.get("account"))
    units, money = of_kind(ordered, money=False), of_kind(ordered, money=True)
    wanted = Decimal(operation["quantity"])
    steps = {b["id"]: _steps(b, rates, operation.get("factor")) for b in units}
    first = pay(units, left, wanted, steps)
    taken = first.ledger.filter(pl.col("kind") == "burn").select("grant", "amount").iter_rows()
    booked = sum((-amount / steps[grant]["factor"] for grant, amount in taken), NOTHING)
    after = left_after(left, first)
    rate = next((rates[b["rated_by"]] for b in money if "rated_by" in b), rates.get("standard"))
    rest = wanted - paid_by(first)
    if rate is None:
        return Done(after, paid_by(first), booked, NOTHING, rest, NOTHING, _payers(first))
    fee = Decimal(rate["connect_fee"])
    begun = pay(money, after, fee, {})
    if paid_by(begun) < fee:
        return Done(left, NOTHING, NOTHING, NOTHING, fee, NOTHING, set())
    after = left_after(after, begun)
    (band,) = rate["rates"]
    increment = Decimal(band["increment"])
    per = Decimal(band["per"])  # amounts are taken times this, so that what one second costs is exact
    each = Decimal(band["value"]) * increment
    started = (rest / increment).to_integral_value(ROUND_CEILING)
    count = _affordable(started, each / per, rate, usage.get("max_rate"), band)
    scaled = {name: value * per for name, value in after.items()}
    second = pay(money, scaled, count * each, {b["id"]: {"increment": each or None} for b in money})
    covered = paid_by(second) / each * increment if each else count * increment
    spent = {name: value / per for name, value in second.balances.iter_rows()}
    return Done(
        {**after, **spent},
        paid_by(first) + min(covered, rest),
        booked + covered,
        fee + (count * each if not money else paid_by(second)) / per,
        (count * each - paid_by(second)) / per,
        count,
        _payers(first) | _payers(begun) | _payers(second),
    )


def _steps(balance: Balance, rates: Mapping[str, Any], factor: str | None) -> dict[str, Decimal]:
    own = rates.get(balance.get("rated_by", ""))
    increment = own["rates"][0]["increment"] if own else balance.get("zero_rated_increment", "1")
    return {"increment": Decimal(increment), "factor": Decimal(balance.get("factors", {}).get(factor, "1"))}


def _affordable(count: Decimal, each: Decimal, rate: Any, max_rate: Any, band: Any) -> Decimal:
    """As many increments as a limit on the cost, or on the rate, lets through."""
    if max_rate and _each(band) > _each(max_rate):
        return NOTHING
    if rate.get("max_cost") and each:
        return min(count, (Decimal(rate["max_cost"]) / each).to_integral_value(ROUND_FLOOR))
    return count


def _each(rate: Mapping[str, str]) -> Decimal:
    return Decimal(rate["value"]) / Decimal(rate["per"])


def _payers(burnt: Burnt) -> set[str]:
    return set(burnt.ledger.filter(pl.col("kind") == "burn")["grant"])


def test_the_cases_are_there() -> None:
    shared_path("cases", "cgrates_balances.json")
    assert {case["model"] for case in CASES} <= LEFT_OUT | {"balance_debit", "shared_balance", "max_usage", "refund"}


@supported("debit")
def test_balances_after_each_operation(case: Mapping[str, Any]) -> None:
    left = {b["id"]: Decimal(b["value"]) for b in case["usage"]["balances"]}
    blocked = any(b.get("blocker") for b in case["usage"]["balances"])
    for operation, expected in zip(case["usage"]["operations"], case["expected"]["steps"], strict=True):
        done = use(case, left, operation)
        keeps = operation["op"] != "max_usage" and not (blocked and done.unpaid)
        left = done.left if keeps else left
        assert (done.unpaid > 0) == ("error" in expected or "default" in expected.get("balances", {})) or not keeps
        balances = {name: Decimal(value) for name, value in expected.get("balances", {}).items()}
        assert {name: left.get(name, -done.unpaid) for name in balances} == balances
        found = {"covered": done.booked, "cost": done.cost, "max_usage": done.covered, "increments": done.increments}
        for name in found.keys() & expected.keys():
            assert found[name] == Decimal(expected[name]), name
        if "paid_by" in expected:
            assert done.payers == {expected["paid_by"]}


@supported("refund")
def test_a_refund_goes_back_where_it_came_from(case: Mapping[str, Any]) -> None:
    (operation,), (expected,) = case["usage"]["operations"], case["expected"]["steps"]
    value = {b["id"]: Decimal(b["value"]) for b in case["usage"]["balances"]}
    for increment in operation["increments"]:
        name = increment.get("units") or increment["money"]
        covered = Decimal(increment.get("quantity") or increment["cost"]) * increment["count"]
        factor = Decimal(increment.get("factor", 1))
        step = {"increment": Decimal(increment["quantity"]), "factor": factor} if "factor" in increment else {}
        before = value[name] + covered * factor
        grant = {**USUAL, "grant": name, "amount": before, "priority": 1, **step}
        asked = {"burn": 1, "customer": "c", "unit": UNITS, "time": NOW, "sequence": 1, "amount": covered}
        back = frame(REFUND, [{"refund": 1, "burn": 1, "at": LATER, "amount": covered}])
        burnt = burn(frame(GRANT, [grant]), frame(BURN, [asked]), LATER, refunds=back)
        assert burnt.ledger.filter(pl.col("kind") == "burn")["balance_after"][0] == value[name]
        assert dict(burnt.balances.iter_rows()) == {name: Decimal(expected["balances"][name])}
