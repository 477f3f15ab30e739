"""The charge models of another engine's test suite: each case as a price of ours and a bill.

Its tiers are of whole numbers (from 11, up to 20); ours are (10, 20]. A charge in advance is billed event by event:
what the price makes of the events so far, less what it made of those before. What is left out: docs/conformance.md.
"""

import json
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from tests.conformance.rated import VALUE, Bag, Document, catalog_of, lines_of, total, totals
from tests.conftest import SHARED, shared_path

FILE = "cases/lago_charge_models.json"
PRORATED = ("graduated_prorated",)
COMPARED = {"ceil": ROUND_CEILING, "half_up": ROUND_HALF_UP, "round": ROUND_HALF_UP}
CENT = Decimal(1).scaleb(-2)
Case = dict[str, Any]


def why_left_out(case: Case) -> str | None:
    """Whether a case is none of pricing: by its model, never by its name."""
    return "proration by day inside the tiers" if case["model"].removeprefix("pay_in_advance_") in PRORATED else None


def cases() -> Iterator[Any]:
    path = SHARED / FILE
    for case in json.loads(path.read_text()) if path.exists() else []:
        if why_left_out(case) is None:
            yield pytest.param(case, id=case["id"])


def version_of(case: Case) -> tuple[str, Document]:
    """The model of ours, and the numbers of the price."""
    model, price = case["model"].removeprefix("pay_in_advance_"), case["price"]
    match model:
        case "standard":
            return "per_unit", {"unit_amount": price["unit_amount"]}
        case "volume":
            return "volume", {"tiers": tiers(price["tiers"])}
        case "graduated" | "graduated_percentage":
            is_standing = case.get("mode") != "pay_in_advance"
            return model, {"tiers": tiers(price["tiers"]), "flat_when_unused": is_standing}
        case "graduated_tier" | "graduated_percentage_tier":
            return model.removesuffix("_tier"), {"tiers": around(price["tier"], price.get("adjacent", False))}
        case "package":
            return "package", _given(price, {"amount": "package_amount", "package_size": "package_size"}) | _given(
                price, {"free_units": "free_units"}
            )
        case "percentage":
            return "percentage", share(price, is_estimate=case.get("mode") == "instant_estimate")
        case "dynamic":
            return "dynamic", {"amount_property": "amount_cents", "per": 100}
    raise AssertionError(model)


def _given(price: Case, names: dict[str, str]) -> Document:
    return {ours: price[theirs] for ours, theirs in names.items() if price.get(theirs) is not None}


def share(price: Case, *, is_estimate: bool) -> Document:
    """A percentage. An estimate of one event knows no free ones. With limits of a transaction the free amount, where
    there is one, is used up event by event whatever their number."""
    limits = {"minimum_per_event": "per_transaction_min", "maximum_per_event": "per_transaction_max"}
    made = {"percent": price["rate_percent"], **_given(price, {"fixed_amount": "fixed_amount_per_event"})}
    free = {} if is_estimate else _given(price, {"free_events": "free_events", "free_units": "free_units_total"})
    free = {name: number for name, number in free.items() if Decimal(number) > 0}
    bounds = _given(price, limits)
    if bounds and len(free) == 2:
        del free["free_events"]
    return {**made, **free, **bounds}


def tiers(given: Sequence[Case]) -> list[Document]:
    """The bound below is that of the tier before, whatever `from` says: 11 after 10 is (10, ...]."""
    return [tier(it, it["up_to"]) for it in given]


def tier(given: Case, up_to: str | None) -> Document:
    names = {"unit_amount": "unit_amount", "percent": "rate_percent", "flat_amount": "flat_amount"}
    said = _given(given, names)
    nothing = {} if "percent" in said else {"unit_amount": "0"}
    return {"up_to": up_to, **nothing, **said}


def around(given: Case, adjacent: bool) -> list[Document]:
    """One tier between others that charge nothing."""
    lower = Decimal(given["from"]) - (0 if adjacent or Decimal(given["from"]) == 0 else 1)
    nothing = {"percent": "0"} if "rate_percent" in given else {"unit_amount": "0"}
    below = [{"up_to": str(lower), **nothing}] if lower else []
    above = [{"up_to": None, **nothing}] if given["up_to"] is not None else []
    return [*below, tier(given, given["up_to"]), *above]


def events_of(case: Case) -> list[Bag]:
    """Nothing is estimated of an event below zero."""
    given = case.get("events", [{"value": case.get("usage", "0")}])
    is_estimate = case.get("mode") == "instant_estimate"
    if case.get("aggregation") == "unique_count":
        return [{**_event({**event, "value": 1}), "item": event["value"]} for event in given]
    counts = [it for it in given if not is_estimate or Decimal(it.get("value", 1)) > 0]
    return [_event(event) for event in counts if "events" in case or Decimal(event["value"]) != 0]


def _event(event: Case) -> Bag:
    numbers = {name: Decimal(event[name]) for name in ("value", "amount_cents") if name in event}
    return {**numbers, **{name: value for name, value in event.get("properties", {}).items() if value is not None}}


def document_of(case: Case) -> Document:
    """The catalog of a case. Filters are meters of their own: the default price is of what no filter takes."""
    model, version = version_of(case)
    filters = case["price"].get("filters", [])
    taken = [filter_rules(it["values"]) for it in filters]
    group_by = [case["price"].get("group_by", []), *(it.get("group_by", []) for it in filters)]
    meters = {"rest": {**meter_of(case), "group_by": group_by[0], "exclude": taken}}
    prices = {"rest": {"meter": "rest", "model": model, "group_by": group_by[0], "versions": [version]}}
    for place, it in enumerate(filters):
        numbers = version_of({**case, "price": it})[1]
        rules = {"filters": taken[place], "exclude": taken[:place], "group_by": group_by[place + 1]}
        meters[str(place)] = {**meter_of(case), **rules}
        prices[str(place)] = {"meter": str(place), "model": model, "group_by": rules["group_by"], "versions": [numbers]}
    return catalog_of(meters, _without_standing(prices), case["currency"])


def _without_standing(prices: dict[str, Document]) -> dict[str, Document]:
    for price in prices.values():
        if price["group_by"]:
            price["versions"] = [{k: v for k, v in it.items() if k != "flat_when_unused"} for it in price["versions"]]
    return prices


def meter_of(case: Case) -> Document:
    """In advance, a sum that falls gives nothing back: what is billed is its high-water mark."""
    if case.get("aggregation") == "count":
        return {"event_type": "e", "aggregation": "count"}
    if case.get("aggregation") == "unique_count":
        return {"event_type": "e", "aggregation": "unique_count", "property": "item"}
    by_event = case["model"].removeprefix("pay_in_advance_") in ("percentage", "dynamic")
    if case.get("mode") == "pay_in_advance" and not by_event:
        return {**VALUE, "aggregation": "high_water_mark"}
    return VALUE


def filter_rules(given: dict[str, Any]) -> list[Document]:
    """`*` is any value that there is."""
    return [
        {"property": name, "exists": True} if wanted == "*" else {"property": name, "in": list(wanted)}
        for name, wanted in sorted(given.items())
    ]


def assert_amounts(expected: Case, exact: Decimal) -> None:
    compare = expected.get("compare")
    if compare:
        step = Decimal(1).scaleb(-compare["round"])
        mode = COMPARED[compare.get("mode", "round")]
        assert exact.quantize(step, mode) == Decimal(expected["total"]).quantize(step, mode)
    elif "total" in expected:
        assert exact == Decimal(expected["total"])


@pytest.mark.parametrize("case", [it for it in cases() if it.values[0].get("mode") != "pay_in_advance"])
def test_a_case_comes_out_as_there(case: Case) -> None:
    lines, expected = lines_of(document_of(case), {"acme": events_of(case)}), case["expected"]
    if case["model"].endswith("_tier"):
        _assert_tier(lines, case)
        return
    assert_amounts(expected, total(lines))
    if "amount_cents" in expected:
        assert total(lines, "rounded_amount") == expected["amount_cents"] * CENT
    if not lines.is_empty() and case["model"] in ("package", "percentage"):
        _assert_paid(lines["tiers"][0][0], expected)
    if case["model"] in ("graduated", "graduated_percentage"):
        _assert_tiers(lines, expected.get("lines", []))
    elif "lines" in expected:
        _assert_lines(lines, expected["lines"])
    _assert_lines(lines, expected.get("groups", []))


def _assert_tier(lines: pl.DataFrame, case: Case) -> None:
    place = len(around(case["price"]["tier"], case["price"].get("adjacent", False))[:-1]) - 1
    place += case["price"]["tier"]["up_to"] is None
    [shown] = [it for it in lines["tiers"][0] if it["tier"] == place] or [None]
    _assert_shown(shown, case["expected"])


def _assert_tiers(lines: pl.DataFrame, expected: Sequence[Case]) -> None:
    shown = [it for it in lines["tiers"].explode() if it["quantity"] or it["flat_count"]]
    assert not expected or len(shown) == len(expected)
    for one, wanted in zip(shown, expected, strict=False):
        _assert_shown(one, wanted)


def _assert_shown(shown: Case | None, wanted: Case) -> None:
    found = shown or {"quantity": Decimal(0), "amount": Decimal(0), "flat_amount": Decimal(0), "flat_count": Decimal(0)}
    assert found["quantity"] == Decimal(wanted["units"])
    assert found["amount"] == Decimal(wanted["total"])
    assert found["amount"] - found["flat_amount"] * found["flat_count"] == Decimal(wanted["units_total"])


def _assert_paid(shown: Case, expected: Case) -> None:
    """What is left behind the free units, and what of the amount is by event."""
    fixed = shown["flat_amount"] * shown["flat_count"]
    found = {
        "packages": shown["quantity"],
        "fixed_total": fixed,
        "percentage_total": shown["amount"] - fixed,
        **({"paid_units": shown["quantity"]} if "packages" not in expected else {}),
        **({"paid_events": shown["flat_count"]} if fixed else {}),
    }
    for name in found.keys() & expected.keys():
        assert found[name] == Decimal(expected[name]), name


def _assert_lines(lines: pl.DataFrame, expected: Sequence[Case]) -> None:
    """The lines of filters and groups: their units, events and amounts."""
    for wanted in expected:
        price = "rest" if wanted.get("filter") is None else str(wanted["filter"])
        own = lines.filter(price=price)
        own = own.filter([json.loads(group) == wanted["group"] for group in own["group"]])
        assert total(own, "quantity") == Decimal(wanted["units"])
        assert total(own, "rounded_amount") == wanted["amount_cents"] * CENT
        assert own["events"].sum() == wanted.get("events_count", own["events"].sum())


@pytest.mark.parametrize("case", [it for it in cases() if it.values[0].get("mode") == "pay_in_advance"])
def test_what_an_event_adds_is_the_bill_with_it_less_the_bill_without_it(case: Case) -> None:
    events = events_of(case)
    prefixes = {str(count): events[:count] for count in range(len(events) + 1)}
    document = document_of(case)
    amounts, units = totals(document, prefixes), totals(document, prefixes, "quantity")
    for (before, after), wanted in zip(pairwise(prefixes), case["expected"]["per_event"], strict=True):
        added = amounts[after] - amounts[before]
        assert added.quantize(CENT, ROUND_HALF_UP) == wanted["amount_cents"] * CENT
        assert units[after] - units[before] == Decimal(wanted["units"])


def test_every_case_is_tried_or_left_out_by_its_model() -> None:
    every = json.loads(shared_path(*FILE.split("/")).read_text())
    left_out = [case for case in every if why_left_out(case) is not None]
    assert len(list(cases())) + len(left_out) == len(every)
