"""Calls and sessions against plain loops: increments, in-call tiers, bands that cut a call, free seconds, zones."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.rating.test_engine_equals_oracle import OCTOBER, line_key, run
from tests.strategies import MID_MONTH, ZONES, call_versions, instants

EXAMPLES = max(settings().max_examples // 2, 1)
"""Half of the profile's: a catalog of calls is compiled and rated for each."""
SECONDS = st.one_of(st.sampled_from([0, 1, 30, 60, 61, 90]), st.integers(0, 9_000), st.integers(0, 200_000))
NUMBERS = st.sampled_from(["+49301", "+491511", "+4", "+34", "x", None])
TABLE = {"property": "to", "labels": {"DE": ["+49"], "DE mobile": ["+4915", "+4916"], "ES": ["+34"], "": [""]}}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """One price of calls for a zone and one for the rest, of a meter that lasts or not."""
    meter: dict[str, Any] = {"event_type": "call", "aggregation": "sum", "property": "s", "group_by": ["zone"]}
    lasting = draw(st.sampled_from([{}, {"duration": "s"}, {"duration": "t"}, {"duration": "s", "elapsed": "e"}]))
    zone = draw(st.sampled_from(ZONES))
    made = {
        name: {
            "meter": "calls",
            "currency": "EUR",
            "model": "call",
            "match": match,
            "versions": draw(call_versions(zone)),
        }
        for name, match in (("mobile", {"zone": "DE mobile"}), ("rest", {}))
    }
    return {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {"calls": {**meter, **lasting}},
        "prefixes": {"zone": TABLE},
        "prices": made,
        "plans": {"plan": {"currency": "EUR", "prices": sorted(made)}},
    }


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    spans = {"s": Decimal(draw(SECONDS)), "t": draw(st.sampled_from([Decimal("0.5"), Decimal(3600), Decimal(100_000)]))}
    elapsed = draw(st.sampled_from([{}, {"e": Decimal(7)}, {"e": Decimal(600)}]))
    to = draw(NUMBERS)
    at = draw(st.one_of(instants, st.just(MID_MONTH - timedelta(seconds=30)), SPRING))
    return {"type": "call", "subject": "s", "time": at, "data": {**spans, **elapsed, **({"to": to} if to else {})}}


SPRING = st.integers(0, 48).map(lambda half: datetime(2026, 10, 3, tzinfo=UTC) + timedelta(minutes=30 * half))
"""Around the hour that Lord Howe puts its clocks forward by half an hour."""


@settings(max_examples=EXAMPLES)
@given(document=documents(), given_events=st.lists(calls(), max_size=12), zone=st.sampled_from(ZONES))
def test_calls_equal_the_oracles(document: dict[str, Any], given_events: list[dict[str, Any]], zone: str) -> None:
    subscription = oracle.Subscription("sub", "c", ("s",), "plan", zone, datetime(2020, 1, 1, tzinfo=UTC))
    rated = run(document, given_events, [subscription])
    got = {line_key(line): line for line in rated.lines.iter_rows(named=True)}
    expected = oracle.rate(document, given_events, [subscription], OCTOBER)
    assert got.keys() == expected.keys()
    for key, line in expected.items():
        numbers = (got[key]["quantity"], got[key]["events"], got[key]["amount"], got[key]["rounded_amount"])
        assert numbers == (line.quantity, line.events, line.amount, line.rounded), key


@settings(max_examples=EXAMPLES)
@given(document=documents(), given_events=st.lists(calls(), max_size=12))
def test_no_second_is_lost_or_made(document: dict[str, Any], given_events: list[dict[str, Any]]) -> None:
    subscription = oracle.Subscription("sub", "c", ("s",), "plan", "UTC", datetime(2020, 1, 1, tzinfo=UTC))
    rated = run(document, given_events, [subscription])
    both = [*rated.lines.select("quantity", "events").rows(), *rated.unpriced.select("quantity", "events").rows()]
    start, end = oracle.month_bounds(OCTOBER, "UTC")
    inside = [event for event in given_events if start <= event["time"] < end]
    assert sum((quantity for quantity, _ in both), Decimal(0)) == sum((e["data"]["s"] for e in inside), Decimal(0))
    assert rated.lines["events"].sum() <= len(inside)


def test_a_hundred_gigabytes_byte_by_byte_are_one_division() -> None:
    price = {"meter": "data", "currency": "EUR", "model": "call"}
    document = {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {"data": {"event_type": "call", "aggregation": "sum", "property": "s"}},
        "prices": {"data": {**price, "versions": [{"unit_amount": "0.25", "per": 10**9, "increment": 1}]}},
        "plans": {"plan": {"currency": "EUR", "prices": ["data"]}},
    }
    sizes = [Decimal(10**11), Decimal(10**11) + Decimal("0.5")]
    events = [{"type": "call", "subject": "s", "time": MID_MONTH, "data": {"s": size}} for size in sizes]
    subscription = oracle.Subscription("sub", "c", ("s",), "plan", "UTC", datetime(2020, 1, 1, tzinfo=UTC))
    [line] = run(document, events, [subscription]).lines.filter(pl.col("kind") == "usage").iter_rows(named=True)
    assert line["amount"] == (2 * 10**11 + 1) * Decimal("0.25") / 10**9
