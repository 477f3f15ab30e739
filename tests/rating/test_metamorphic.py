"""What must not change a bill, and what must change it in a known way; whatever the prices are (RELIABILITY T11)."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.cases import rated_case, read_cases
from rating.catalog import compile_catalog, parse_catalog
from rating.core.periods import parse_month
from rating.core.rating import Rated, rate
from rating.core.subjects import Usage, interned
from tests import oracle
from tests.frames import subject_frame, subscription_frame, usage_frame
from tests.strategies import documents, events, subscriptions

FEW = settings(max_examples=15)
"""Each example is rated several times."""
OCTOBER = parse_month("2026-10")
EVENTS = st.lists(events(), max_size=20)
Events = list[dict[str, Any]]
Subscriptions = list[oracle.Subscription]
CASES = Path(__file__).parents[1] / "cases"
GOLDEN = Path(__file__).parent / "golden_digests.json"


def run(document: dict[str, Any], given_events: Events, subs: Subscriptions, pieces: int = 1) -> Rated:
    catalog = parse_catalog(json.dumps(document), format="json")
    usage = interned(usage_frame(given_events, catalog.declared_properties()))
    if pieces > 1:
        frame = usage.events.collect()
        usage = Usage(
            pl.concat([frame[start::pieces] for start in range(pieces)], rechunk=False).lazy(), usage.subjects
        )
    return rate(usage, subject_frame(subs), subscription_frame(subs), compile_catalog(catalog), OCTOBER)


def amounts(rated: Rated) -> list[tuple[Any, ...]]:
    return rated.lines.select("line", "quantity", "amount", "rounded_amount").rows()


@FEW
@given(document=documents(), given_events=EVENTS, subs=subscriptions(), pieces=st.integers(2, 5))
def test_batches_change_no_byte(
    document: dict[str, Any], given_events: Events, subs: Subscriptions, pieces: int
) -> None:
    assert run(document, given_events, subs, pieces).digest == run(document, given_events, subs).digest


@FEW
@given(document=documents(), given_events=EVENTS, subs=subscriptions())
def test_the_bill_of_all_is_the_bills_of_each(
    document: dict[str, Any], given_events: Events, subs: Subscriptions
) -> None:
    alone = [run(document, given_events, [one]).lines for one in subs]
    assert pl.concat(alone).sort("customer", "line").equals(run(document, given_events, subs).lines)


LINEAR: dict[str, Any] = {
    "tallystick": 1,
    "currencies": ["EUR"],
    "meters": {"m": {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["d"]}},
    "prices": {
        "p": {
            "meter": "m",
            "currency": "EUR",
            "model": "graduated",
            "group_by": ["d"],
            "versions": [{"per": 7, "tiers": [{"up_to": 10, "unit_amount": "1"}, {"unit_amount": "0.3"}]}],
        }
    },
    "plans": {"all": {"currency": "EUR", "prices": ["p"]}, "first": {"currency": "EUR", "prices": ["p"]}},
}
"""Tiers of a sum: what counts is the quantity of the line, however many events it came in."""


@FEW
@given(given_events=EVENTS, subs=subscriptions(), part=st.decimals(-100, 100, places=9))
def test_a_record_in_two_parts_is_the_record(given_events: Events, subs: Subscriptions, part: Decimal) -> None:
    halves = [
        {**event, "data": {**event["data"], "n": value}}
        for event in given_events
        if "n" in event["data"]
        for value in (part, event["data"]["n"] - part)
    ]
    others = [event for event in given_events if "n" not in event["data"]]
    assert amounts(run(LINEAR, [*halves, *others], subs)) == amounts(run(LINEAR, given_events, subs))


@FEW
@given(given_events=EVENTS, subs=subscriptions())
def test_what_is_added_and_taken_back_is_nothing(given_events: Events, subs: Subscriptions) -> None:
    back = [{**e, "data": {**e["data"], "n": -e["data"]["n"]}} for e in given_events if "n" in e["data"]]
    rated = run(LINEAR, [*given_events, *back], subs)
    assert set(rated.lines["amount"]) <= {Decimal(0)}
    assert set(rated.lines["quantity"]) <= {Decimal(0)}


@FEW
@given(given_events=EVENTS, more=EVENTS, subs=subscriptions())
def test_linear_prices_add_up(given_events: Events, more: Events, subs: Subscriptions) -> None:
    prices = {"p": {**LINEAR["prices"]["p"], "model": "per_unit", "versions": [{"unit_amount": "0.25"}]}}
    document = {**LINEAR, "prices": prices}
    sums = [
        Decimal(run(document, part, subs).lines["amount"].sum())
        for part in (given_events, more, [*given_events, *more])
    ]
    assert sums[0] + sums[1] == sums[2]


@FEW
@given(given_events=EVENTS, subs=subscriptions())
def test_more_usage_never_costs_less_by_graduated_tiers(given_events: Events, subs: Subscriptions) -> None:
    positive = [{**e, "data": {**e["data"], "n": abs(e["data"].get("n", Decimal(0)))}} for e in given_events]
    less = {row[0]: row[2] for row in amounts(run(LINEAR, positive[: len(positive) // 2], subs))}
    more = {row[0]: row[2] for row in amounts(run(LINEAR, positive, subs))}
    assert all(more[line] >= amount for line, amount in less.items())


def case_digests() -> dict[str, str]:
    """The digest of the charge lines of every worked bill."""
    return {
        f"{path.stem}: {case['name']}": rated_case(case).digest
        for path in sorted(CASES.glob("*.yaml"))
        for case in read_cases(path.read_text())
    }


def test_worked_bills_have_the_digests_of_the_last_release() -> None:
    """Lines that were written once come out the same for ever: what changes a digest is in CHANGELOG.md, and
    `python -m tests.rating.test_metamorphic` writes the new ones."""
    golden = json.loads(GOLDEN.read_text())
    found = case_digests()
    assert {name: found.get(name) for name in golden} == golden


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_the_number_of_threads_changes_no_byte(threads: int) -> None:
    """In a process of its own, for the pool is made once."""
    script = "import hashlib; from tests.rating.test_metamorphic import many; print(many())"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "POLARS_MAX_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == many()


def many() -> str:
    """The digest of a bill of 50,000 events for 500 subjects, under tiers that they fill by region."""
    count = 50_000
    start = datetime(2026, 10, 1, tzinfo=UTC)
    made: Events = [
        {
            "type": "e",
            "subject": f"s{n * 7919 % 500}",
            "time": start + timedelta(seconds=n * 50),
            "data": {"n": Decimal(n * 31337 % 100_000).scaleb(-3), "d": "abc"[n % 3]},
        }
        for n in range(count)
    ]
    since = start - timedelta(days=90)
    subs = [oracle.Subscription(f"sub{n}", f"c{n}", (f"s{n}",), "all", "Europe/Madrid", since) for n in range(500)]
    return run(LINEAR, made, subs).digest


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(case_digests(), indent=1, ensure_ascii=False) + "\n")
