"""The frames against plain loops over `decimal.Decimal`, on generated catalogs, subscriptions and events."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog import compile_catalog, parse_catalog
from rating.core.periods import parse_month
from rating.core.rating import Rated, rate
from rating.core.subjects import interned
from tests import oracle
from tests.frames import subject_frame, subscription_frame, usage_frame
from tests.strategies import documents, events, subscriptions

OCTOBER = "2026-10"
EVENTS = st.lists(events(), max_size=25)
FEW = settings(max_examples=max(settings().max_examples // 4, 1))
"""What is true of each model by itself is in test_metamorphic_models.py; this is of several in one catalog."""


def run(
    document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription], **how: Any
) -> Rated:
    catalog = parse_catalog(json.dumps(document), format="json")
    usage = usage_frame(given_events, catalog.declared_properties())
    if "shuffle" in how:
        usage = usage.collect().sample(fraction=1, shuffle=True, seed=how["shuffle"]).lazy()
    book, month = compile_catalog(catalog), parse_month(OCTOBER)
    numbered = replace(interned(usage), events_max=how.get("events_max"))
    return rate(numbered, subject_frame(subs), subscription_frame(subs), book, month)


def line_key(line: dict[str, Any]) -> oracle.Key:
    return tuple(line[c] for c in ("subscription", "price", "price_version", "window", "meter", "group"))  # type: ignore[return-value]


@given(document=documents(), given_events=EVENTS, subs=subscriptions())
def test_every_line_equals_the_oracles(
    document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription]
) -> None:
    rated = run(document, given_events, subs)
    is_own = pl.col("adjustment").is_null()
    got = {line_key(line): line for line in rated.lines.filter(is_own).iter_rows(named=True)}
    expected = oracle.rate(document, given_events, subs, OCTOBER)
    assert got.keys() == expected.keys()
    for key, line in expected.items():
        numbers = (got[key]["quantity"], got[key]["events"], got[key]["amount"], got[key]["rounded_amount"])
        assert numbers == (line.quantity, line.events, line.amount, line.rounded), key
    adjusted = rated.lines.filter(~is_own).select("subscription", "price", "adjustment", "amount").rows()
    wanted = oracle.adjust(document, expected, subs, OCTOBER)
    assert {key: amount for *key_parts, amount in adjusted for key in [tuple(key_parts)]} == wanted


@FEW
@given(document=documents(), given_events=EVENTS, subs=subscriptions(), seed=st.integers(0, 99))
def test_the_order_of_events_changes_no_byte(
    document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription], seed: int
) -> None:
    assert run(document, given_events, subs).digest == run(document, given_events, subs, shuffle=seed).digest


@FEW
@given(document=documents(), given_events=EVENTS, subs=subscriptions())
def test_few_events_in_memory_come_to_the_same_bytes(
    document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription]
) -> None:
    in_memory = run(document, given_events, subs, events_max=len(given_events))
    assert in_memory.digest == run(document, given_events, subs).digest


@FEW
@given(document=documents(), given_events=EVENTS, subs=subscriptions())
def test_tiers_sum_to_their_line_and_lines_to_their_total(
    document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription]
) -> None:
    rated = run(document, given_events, subs)
    for line in rated.lines.iter_rows(named=True):
        if line["adjustment"] is not None:
            continue
        made = [step for step in line["operations"] if step["on"] == "amount"]
        by_tiers = made[0]["before"] if made else line["amount"]
        assert sum((tier["amount"] for tier in line["tiers"]), Decimal(0)) == by_tiers
        assert not made or made[-1]["after"] == line["amount"]
        assert all(step["after"] == line["rounded_amount"] for step in line["operations"] if step["on"] == "shown")
        quantities = [line["quantity"], *(step["after"] for step in line["operations"] if step["on"] == "quantity")]
        assert sum((tier["quantity"] for tier in line["tiers"]), Decimal(0)) == quantities[-1]
    for total in rated.totals.iter_rows(named=True):
        own = rated.lines.filter(pl.col("currency") == total["currency"])
        assert (total["amount"], total["rounded_amount"]) == (
            sum(own["amount"], Decimal(0)),
            sum(own["rounded_amount"], Decimal(0)),
        )


@FEW
@given(document=documents(), given_events=EVENTS, subs=subscriptions())
def test_every_event_is_priced_or_reported(
    document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription]
) -> None:
    """By the counting meter alone, whose every event has a quantity: priced + unpriced = covered by a subscription."""
    document = {
        **document,
        "meters": {**document["meters"], "all": {"event_type": "e", "aggregation": "count", "group_by": ["d"]}},
    }
    price = {"meter": "all", "model": "per_unit", "match": {"d": "a"}, "versions": [{"unit_amount": "1"}]}
    plans = document["plans"]
    own = {f"all-{name}": {**price, "currency": plan["currency"]} for name, plan in plans.items()}
    document["prices"] = {**document["prices"], **own}
    document["plans"] = {name: {**plan, "prices": [*plan["prices"], f"all-{name}"]} for name, plan in plans.items()}
    rated = run(document, given_events, subs)
    priced = rated.lines.filter(pl.col("meter") == "all")["events"].sum()
    unpriced = rated.unpriced.filter(pl.col("meter") == "all")["events"].sum()
    covered = sum(_covered(event, s) for event in given_events for s in subs if event["type"] == "e")
    assert priced + unpriced == covered


def _covered(event: dict[str, Any], subscription: oracle.Subscription) -> bool:
    start, end = oracle.month_bounds(OCTOBER, subscription.time_zone)
    in_force = subscription.starts_at <= event["time"] < (subscription.ends_at or end)
    return event["subject"] in subscription.subjects and start <= event["time"] < end and in_force
