"""The worked bills under tests/cases, rated by the engine and, a second time, by the oracle."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rating.cases import differences, rated_case, read_cases
from tests import oracle
from tests.frames import SINCE

CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted((Path(__file__).parents[1] / "cases").glob("*.yaml"))
    for case in read_cases(path.read_text())
]
_ELSEWHERE = ("credits", "subscriptions_counting: credits in units", "subscriptions_counting: what rolls over")
"""Credits have an oracle of their own (tests/rating/credits); what rolls over has one of months of the calendar."""
WITHOUT_CREDITS = [case for case in CASES if not str(case.id).startswith(("subscriptions", *_ELSEWHERE))]
CHANGING = [case for case in CASES if str(case.id).startswith("subscriptions")]
CHANGING = [case for case in CHANGING if not str(case.id).startswith(_ELSEWHERE)]

_OF_A_TIMELINE = {"time_zone": "UTC", "starts_at": SINCE}


def events_of(case: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"time": at, "subject": s, "type": t, "data": data} for at, s, t, data in case["events"]]


def subscriptions_of(case: dict[str, Any]) -> list[oracle.Subscription]:
    default = [{"key": "acme", "customer": "acme", "subjects": ["acme"], "plan": "plan"}]
    filled = ({"time_zone": "UTC", "starts_at": SINCE, **s} for s in case.get("subscriptions", default))
    return [oracle.Subscription(**{**s, "subjects": tuple(s["subjects"])}) for s in filled]


@pytest.mark.parametrize("case", CASES)
def test_a_worked_bill_comes_out_as_written(case: dict[str, Any]) -> None:
    assert differences(case) == []


@pytest.mark.parametrize("case", WITHOUT_CREDITS)
def test_the_oracle_agrees_with_a_worked_bill(case: dict[str, Any]) -> None:
    subscriptions = subscriptions_of(case)
    lines = oracle.rate(case["catalog"], events_of(case), subscriptions, case["month"])
    adjustments = oracle.adjust(case["catalog"], lines, subscriptions, case["month"])
    got = [(key[1], line.quantity, line.amount) for key, line in lines.items()]
    got += [(price, Decimal(0), amount) for (_, price, _), amount in adjustments.items()]
    expected = [(w.get("price"), Decimal(w["quantity"]), Decimal(w["amount"])) for w in case["lines"]]
    assert sorted(got, key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("case", CHANGING)
def test_the_oracle_agrees_with_a_worked_bill_of_changes(case: dict[str, Any]) -> None:
    timelines = [
        oracle.Timeline(**{**_OF_A_TIMELINE, **s, "subjects": tuple(s["subjects"])}) for s in case["subscriptions"]
    ]
    bill = oracle.bill_of_month(case["catalog"], events_of(case), timelines, case["month"])
    got = [(line.price, line.quantity, line.amount, line.rounded) for line in bill.values()]
    lines = rated_case(case).lines
    engine = lines.select("line", "service_start", "service_end")
    assert [line[:3] for line in sorted(got, key=str)] == sorted(
        ((w.get("price"), Decimal(w["quantity"]), Decimal(w["amount"])) for w in case["lines"]), key=str
    )
    assert {key: line.served for key, line in bill.items()} == {key: tuple(ends) for key, *ends in engine.iter_rows()}
    assert sum(line[3] for line in got) == Decimal(case["bill"])


def test_there_are_cases() -> None:
    assert len(CASES) >= 30
    assert len(CHANGING) >= 10
