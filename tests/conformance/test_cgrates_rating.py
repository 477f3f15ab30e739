"""CGRateS's rating cases: each is a catalog of ours and one call; amounts and rated quantities are exact."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from rating.catalog import compile_catalog, load_catalog
from rating.core.periods import parse_month
from rating.core.rating import Rated, rate
from rating.core.subjects import interned
from tests import oracle
from tests.conformance.cgrates_tariff import (
    Bag,
    catalog,
    conditions,
    in_order,
    meter_of,
    tariff_catalog,
    version_of,
)
from tests.conftest import SHARED
from tests.frames import subject_frame, subscription_frame, usage_frame

FILE = SHARED / "cases" / "cgrates_rating.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text()) if FILE.exists() else []
ALWAYS = datetime(1990, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 10, 14, 12, tzinfo=UTC)
needs_shared = pytest.mark.skipif(not FILE.exists(), reason="needs ../shared: cases/cgrates_rating.json is not there")


def rated(document: dict[str, Any], at: datetime, data: Bag) -> Rated:
    made = load_catalog(document)
    events = [{"type": "call", "subject": "acme", "time": at, "data": data}]
    subscriptions = [oracle.Subscription("acme", "acme", ("acme",), "plan", "UTC", ALWAYS)]
    usage = usage_frame(events, made.declared_properties())
    month = parse_month(f"{at.year:04}-{at.month:02}")
    terms = subscription_frame(subscriptions)
    return rate(interned(usage), subject_frame(subscriptions), terms, compile_catalog(made), month)


def amount(lines: pl.DataFrame) -> Decimal:
    return sum(lines["amount"], Decimal(0))


def rated_quantity(lines: pl.DataFrame) -> Decimal:
    return sum((tier["quantity"] for tiers in lines["tiers"] for tier in tiers), Decimal(0))


def one_price(case: Bag, intervals: list[Bag], at: datetime, quantity: Any) -> pl.DataFrame:
    price = {"model": "call", "versions": [version_of(intervals)]}
    return rated(catalog({"price": price}, meter_of(case)), at, {"usage": Decimal(quantity)}).lines


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def check_tariff(case: Bag) -> None:
    usage, expected, derived = case["usage"], case["expected"], case.get("derived") or {}
    document = tariff_catalog(case)
    if document is None:
        assert "error" in expected
        return
    given: dict[str, Any] = {"usage": Decimal(usage["quantity"]), "destination": usage["destination"]}
    if not usage.get("first_segment", True):
        rates = case["price"]["resolved"][0]["intervals"][0]["rates"]
        given["before"] = Decimal(rates[0].get("increment") or 1)
    run = rated(document, instant(usage["start"]), given)
    if "error" in expected:
        assert run.unpriced["events"].sum() == 1
        return
    assert run.unpriced.is_empty()
    wanted = derived.get("exact_cost", expected.get("cost"))
    assert wanted is not None
    assert amount(run.lines) == Decimal(wanted)
    if "rated_quantity" in derived:
        assert rated_quantity(run.lines) == Decimal(derived["rated_quantity"])


def check_rounding(case: Bag) -> None:
    exact = {"from": "0", "value": "1", "per": "1", "increment": "0.000000001"}
    lines = one_price(case, [{"rates": [exact], **case["price"]}], NOON, case["usage"]["value"])
    assert amount(lines) == Decimal(case["expected"]["value"])


def check_increment_rounding(case: Bag) -> None:
    increment = {"from": "0", "value": "1", "per": "1", "increment": case["price"]["increment"]}
    lines = one_price(case, [{"rates": [increment]}], NOON, case["usage"]["quantity"])
    assert rated_quantity(lines) == Decimal(case["expected"]["rated_quantity"])


def check_interval_cost(case: Bag) -> None:
    lines = one_price(case, [{"rates": case["price"]["rates"]}], NOON, case["usage"]["quantity"])
    assert amount(lines) == Decimal(case["expected"]["cost"])


def check_increment_sum(case: Bag) -> None:
    rates = [{"from": "0", "value": case["price"]["increment_cost"], "per": "1", "increment": "1"}]
    lines = one_price(case, [{"rates": rates}], NOON, case["usage"]["increments"])
    assert amount(lines) == Decimal(case["expected"]["cost"])


def check_increments(case: Bag) -> None:
    rates = case["price"]["rates"]
    size = Decimal(rates[0].get("increment") or 1)
    lines = one_price(case, [{"rates": rates}], NOON, case["usage"]["quantity"])
    assert rated_quantity(lines) == case["expected"]["increments"] * size
    assert amount(lines) == case["expected"]["increments"] * Decimal(case["expected"]["increment_cost"])


def check_tiered(case: Bag) -> None:
    interval = {"rates": case["price"]["rates"]}
    lines = one_price(case, [interval], instant(case["usage"]["start"]), case["usage"]["quantity"])
    parts = [(tier["quantity"], tier["amount"]) for tiers in lines["tiers"] for tier in tiers]
    assert parts == [(Decimal(part["quantity"]), Decimal(part["cost"])) for part in case["expected"]["parts"]]
    if "rated_quantity" in case["expected"]:
        assert rated_quantity(lines) == Decimal(case["expected"]["rated_quantity"])


def check_overlap(case: Bag) -> None:
    """The parts are bands, of which the first has the increment."""
    parts, increment = case["usage"]["parts"], case["price"]["first_part_increment"]
    edges = [(_later(part["start"]), _later(part["end"])) for part in parts]
    intervals: list[Bag] = [
        {
            "timing": {"start": start.time().isoformat(), "end": _last_before(end)},
            "rates": [_one(increment if not place else "1")],
        }
        for place, (start, end) in enumerate(edges)
    ]
    intervals.append({"weight": "-1", "rates": [_one("1")]})
    length = Decimal(parts[-1]["end"]) - Decimal(parts[0]["start"])
    lines = one_price(case, intervals, edges[0][0], length).sort("window")
    found, start = [], Decimal(parts[0]["start"])
    for tiers in lines["tiers"]:
        end = start + sum(tier["quantity"] for tier in tiers)
        found += [(start, end)] if end > start else []
        start = end
    expected = case["expected"]
    if "parts" in expected:
        assert found == [(Decimal(part["start"]), Decimal(part["end"])) for part in expected["parts"]]
    if "parts_count" in expected:
        assert len(found) == expected["parts_count"]
        assert found[0][1] == Decimal(expected["first_part_end"])


def _later(seconds: str) -> datetime:
    return NOON + timedelta(seconds=float(seconds))


def _last_before(end: datetime) -> str:
    return (end - timedelta(microseconds=1)).time().isoformat()


def _one(increment: str) -> dict[str, str]:
    return {"from": "0", "value": "1", "per": "1", "increment": increment}


def check_active(case: Bag) -> None:
    interval = {"weight": "1", "timing": case["price"]["timing"], "rates": [_one("1")]}
    if not conditions(interval):
        assert case["expected"]["active"]
        return
    lines = one_price(case, [{"rates": [_one("1")]}, interval], instant(case["usage"]["at"]), "0.000001")
    assert lines["window"].to_list() == ([0] if case["expected"]["active"] else [None])


def check_select(case: Bag) -> None:
    usage, intervals = case["usage"], case["price"]["intervals"]
    start, end = instant(usage["start"]), instant(usage["end"])
    lines = one_price(case, intervals, start, Decimal((end - start) // timedelta(seconds=1)))
    ordered = in_order(intervals)
    own = next((place for place in reversed(range(len(ordered))) if not conditions(ordered[place])), -1)
    selected = [ordered[own if window is None else own + 1 + window] for window in lines["window"]]
    found = sorted((it["timing"]["start"], it["weight"]) for it in selected)
    assert found == sorted((it["start"], it["weight"]) for it in case["expected"]["selected"])


CHECKS: dict[str, Callable[[Bag], None]] = {
    "timed_rate": check_tariff,
    "unit_rate": check_tariff,
    "rounding": check_rounding,
    "increment_rounding": check_increment_rounding,
    "interval_cost": check_interval_cost,
    "increment_sum": check_increment_sum,
    "increments": check_increments,
    "tiered_in_usage": check_tiered,
    "increment_overlap": check_overlap,
    "timing_active": check_active,
    "interval_select": check_select,
}


def in_scope(case: Bag) -> bool:
    """docs/conformance.md says why the others are not."""
    if case["model"] == "increments":  # what the source has before it rounds up to whole increments
        size = Decimal(case["price"]["rates"][0].get("increment") or 1)
        return Decimal(case["usage"]["quantity"]) % size == 0
    return True


@needs_shared
@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES if in_scope(case)])
def test_a_case_of_cgrates_comes_out(case: dict[str, Any]) -> None:
    CHECKS[case["model"]](case)
