"""Explanations: every number of the line, in steps that can be done again by hand."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rating.cases import Case, rated_case, read_cases
from rating.catalog import compile_catalog, parse_catalog
from rating.core.about import about
from rating.core.explain import explain
from rating.core.money import plain
from tests import oracle
from tests.conformance import rated
from tests.frames import SINCE
from tests.rating.test_cases import CASES
from tests.rating.test_engine_equals_oracle import run
from tests.strategies import MID_MONTH, documents, events, subscriptions

UNITS = re.compile(r"(-?[\d.]+) x ([\d.]+)(?: / (\d+))?$")


def lines_of(price: dict[str, Any], tokens: list[str]) -> list[dict[str, Any]]:
    document = {
        "tallystick": 1,
        "currencies": ["USD"],
        "meters": {"t": {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["d"]}},
        "prices": {"p": {"currency": "USD", **price}},
        "plans": {"all": {"currency": "USD", "prices": ["p"]}},
    }

    given_events = [{"type": "e", "subject": "s", "time": MID_MONTH, "data": {"n": n, "d": "x"}} for n in tokens]
    subscription = oracle.Subscription("sub", "acme", ("s",), "all", "UTC", SINCE)
    return list(run(document, given_events, [subscription]).lines.iter_rows(named=True))


TIERS = [{"up_to": 100, "unit_amount": "0.10"}, {"up_to": None, "unit_amount": "0.07", "flat_amount": "2"}]


@pytest.mark.parametrize(
    ("price", "tokens", "steps"),
    [
        pytest.param(
            {"meter": "t", "model": "graduated", "match": {"d": "x"}, "versions": [{"tiers": TIERS}]},
            ["100", "50.5"],
            [
                ("meter", "2 events of acme by meter t, d x, in 2026-10", "150.5"),
                ("rate", "price p (graduated), version 0 in force since the beginning", "USD"),
                ("tier", "tier 1, units above 0 up to 100: 100 x 0.1", "10 USD"),
                ("tier", "tier 2, units above 100: 50.5 x 0.07 + 2", "5.535 USD"),
                ("sum", "10 + 5.535", "15.535 USD"),
                ("round", "15.535 USD rounded once, half away from zero", "15.54 USD"),
            ],
            id="graduated",
        ),
        pytest.param(
            {"meter": "t", "model": "package", "versions": [{"package_size": 10, "amount": "3"}]},
            ["21"],
            [
                ("meter", "1 event of acme by meter t, in 2026-10", "21"),
                ("rate", "price p (package), version 0 in force since the beginning", "USD"),
                ("weight", "21 / 10, a started one is whole", "3"),
                ("tier", "all units: 3 x 3", "9 USD"),
                ("round", "9 USD rounded once, half away from zero", "9 USD"),
            ],
            id="package",
        ),
        pytest.param(
            {"model": "flat", "rounding": "down", "versions": [{"amount": "9.999"}]},
            [],
            [
                ("rate", "price p (flat), version 0 in force since the beginning", "USD"),
                ("tier", "fee for the period: 9.999", "9.999 USD"),
                ("round", "9.999 USD rounded once, down", "9.99 USD"),
            ],
            id="fee",
        ),
    ],
)
def test_the_steps_of_a_line(price: dict[str, Any], tokens: list[str], steps: list[tuple[str, str, str]]) -> None:
    (line,) = lines_of(price, tokens)
    assert [(step.name, step.text, step.result) for step in explain(line)] == steps


@given(document=documents(), given_events=st.lists(events(), max_size=20), subs=subscriptions())
def test_the_steps_of_any_line_lead_to_its_amount(
    document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription]
) -> None:
    for line in run(document, given_events, subs).lines.iter_rows(named=True):
        steps = explain(line)
        tiers = [step for step in steps if step.name == "tier"]
        changed = [it["before"] for it in line["operations"] if it["on"] == "amount"]
        made = [0] if line["adjustment"] is not None else changed
        assert sum((Decimal(step.result.split()[0]) for step in tiers), Decimal(0)) == (made or [line["amount"]])[0]
        assert steps[-1].result == f"{plain(line['rounded_amount'])} {line['currency']}"
        for step in tiers:
            _recompute(step.text, step.result)
        json.dumps([vars(step) for step in steps])


def _recompute(text: str, result: str) -> None:
    """A tier of units alone, done again from its own text."""
    formula = UNITS.fullmatch(text.split(": ", 1)[1])
    if formula:
        quantity, unit_amount, per = formula.groups()
        again = oracle.units(Decimal(quantity), Decimal(unit_amount), Decimal(per or 1))
        assert again == Decimal(result.split()[0])


def test_a_dynamic_price_says_what_the_event_brought_along() -> None:
    price = {"meter": "m", "model": "dynamic", "versions": [{"unit_amount_property": "spot", "multiplier": "1.2"}]}
    events = {"acme": [{"value": Decimal(2), "spot": Decimal("0.35")}]}
    [line] = rated.lines_of(rated.catalog_of({"m": rated.VALUE}, {"p": price}), events).iter_rows(named=True)
    steps = {step.name: (step.text, step.result) for step in explain(line)}
    assert steps["weight"] == ("2 in all, of each event: x its spot", "0.7")
    assert steps["tier"] == ("all units: 0.7 x 1.2", "0.84 EUR")


def test_free_events_and_units_say_how_long_they_last() -> None:
    version = {"percent": "1", "free_events": 1, "free_units": "5", "free_while": "either"}
    price = {"meter": "m", "model": "percentage", "versions": [version]}
    [line] = rated.lines_of(
        rated.catalog_of({"m": rated.VALUE}, {"p": price}), {"acme": rated.values(10, 10)}
    ).iter_rows(named=True)
    [allowed] = [step for step in explain(line) if step.name == "allow"]
    assert allowed.text == "20 less 10 included: up to 5 and all of the first 1 event, while either lasts"
    assert allowed.result == "10"


def test_an_allowance_says_with_whom_it_is_shared_and_what_came_from_before() -> None:
    path = Path(__file__).parents[1] / "cases" / "allowances.yaml"
    said = {text for case in read_cases(path.read_text()) for text in _allowed(case)}
    shared = "allowance minutes of the plan: 1000 each period, shared by home and then abroad"
    assert f"500 less 300 included in {shared}" in said
    assert "150 less 150 included: up to 200, shared by all lines of the price" in said
    assert "290 less 240 included: up to 100 each day" in said
    rolled = "in allowance data of the plan: 10 each period, and up to 5 not used in the period before"
    assert f"15 less 13 included {rolled} (of 13 used in this one, 3 were from there)" in said


def _allowed(case: Case) -> Iterator[str]:
    book = compile_catalog(parse_catalog(yaml.safe_dump(case["catalog"]), format="yaml"))
    lines = rated_case(case).lines
    for line in lines.iter_rows(named=True):
        yield from (step.text for step in explain(line, about(line, book, lines)) if step.name == "allow")


@pytest.mark.parametrize("case", CASES)
def test_every_operation_of_a_worked_bill_is_explained(case: Case) -> None:
    """Each step begins with what the one before it left, and the last one is what the line shows."""
    book = compile_catalog(parse_catalog(yaml.safe_dump(case["catalog"]), format="yaml"))
    lines = rated_case(case).lines
    for line in lines.iter_rows(named=True):
        steps = explain(line, about(line, book, lines))
        operated = [it for it in steps if it.name in ("weight", "allow", "partition", "clamp", "compose")]
        assert all(it.text.startswith(str(it.before)) and it.result.startswith(str(it.after)) for it in operated)
        assert steps[-1].after == plain(line["rounded_amount"])
        assert "None" not in " ".join(it.text for it in steps)
