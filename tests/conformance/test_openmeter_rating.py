"""The rating of another engine's test suite: each case as a price of ours and bills.

Its progressive bills say what was used before (`previous_usage`) and what is new: ours are the bill of all so far, less
the bill of what was before. What is left out, and why: docs/conformance.md.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from rating.core.difference import PART, difference, parts_of
from rating.core.lines import CHARGE_LINE
from rating.core.rounding import largest_remainder
from rating.core.schema import AMOUNT
from tests.conformance.rated import VALUE, Document, catalog_of, lines_of, total, values
from tests.conftest import SHARED, shared_path

FILE = "cases/openmeter_rating.json"
ELSEWHERE = {"proration", "invoice_total"}  # test_parts_of_periods.py
ENDS_PERIOD, BEGINS_PERIOD = ("single", "last_split"), ("single", "first_split")
TRIED = {
    "single_line", "cumulative_delta", "late_event_correction", "line_subtraction", "tier_segments", "package_count",
    "usage_discount", "unit_conversion", "rounding", "allocation",
}  # fmt: skip
ROUNDED = {"ceiling": "ceiling", "floor": "floor", "half_up": "half_away_from_zero", "half_even": "half_even"}
NOTHING = Decimal(0)
Case = dict[str, Any]
Amounts = dict[str, Decimal]


def cases(*kinds: str) -> list[Any]:
    path = SHARED / FILE
    every = json.loads(path.read_text()) if path.exists() else []
    return [pytest.param(it, id=it["id"]) for it in every if it["kind"] in kinds]


# prices


def price_of(case: Case) -> Document:
    """The price, without its minimum and maximum."""
    price, discount = case["price"], case.get("discount") or {}
    free = {"free_units": discount["usage_quantity"]} if "usage_quantity" in discount else {}
    match price["type"]:
        case "flat":
            return {"model": "flat", "due": price["payment_term"], "versions": [{"amount": price["amount"]}]}
        case "unit":
            return _metered("per_unit", {"unit_amount": price["unit_amount"], **free})
        case "tiered":
            tiers = [_tier(tier) for tier in price["tiers"]]
            return _metered(price["mode"], {"tiers": tiers, "flat_when_unused": True, **free})
        case "package":
            amount = price.get("package_amount", "1")
            return _metered("package", {"amount": amount, "package_size": price["package_size"], **free})
        case "dynamic":
            return _metered("dynamic", {"amount_property": "value", "multiplier": price["multiplier"]})
    raise AssertionError(price["type"])


def _metered(model: str, version: Document) -> Document:
    return {"model": model, "meter": "m", "versions": [version]}


def _tier(given: Case) -> Document:
    amounts = {name: given[name] for name in ("unit_amount", "flat_amount") if given.get(name) is not None}
    return {"up_to": given["up_to"], **(amounts or {"unit_amount": "0"})}


def adjustments(case: Case, *, is_last: bool, before: Decimal = NOTHING, billed: Decimal = NOTHING) -> list[Document]:
    """The discount, and what the maximum and, at the end of the period, the minimum leave of what was billed before."""
    price, percent = case["price"], (case.get("discount") or {}).get("percentage")
    bounds = [("maximum", price.get("maximum_amount")), ("minimum", price.get("minimum_amount") if is_last else None)]
    given = [{"kind": "discount", "percent": percent}] if percent else []
    if "ignore_minimum" in case.get("options", []):
        bounds.pop()
    return [
        *given,
        *(
            {"kind": kind, "amount": str(max(Decimal(bound) - billed + before, NOTHING))}
            for kind, bound in bounds
            if bound
        ),
    ]


def bill(case: Case, usage: Decimal, adjust: list[Document]) -> pl.DataFrame:
    """The charge lines of a month with so much usage."""
    price = price_of(case)
    [version] = price["versions"]
    credits = case.get("credits", []) if "ignore_credits" not in case.get("options", []) else []
    granted = {f"credit{place}": {"amount": amount, "priority": place} for place, amount in enumerate(credits)}
    priced = {**price, "versions": [{**version, "adjust": adjust}]}
    document = catalog_of({"m": VALUE}, {"p": priced}, case["currency"], credits=granted)
    return lines_of(document, {"acme": values(usage) if usage else []})


NO_LINES = CHARGE_LINE.to_frame()


# what is due: a bill less the bill before


def amounts(now: pl.DataFrame, before: pl.DataFrame) -> Amounts:
    """What two bills differ by, as the other engine sums it."""
    found: Amounts = defaultdict(lambda: NOTHING)
    for lines, sign in ((now, 1), (before, -1)):
        for kind, amount in lines.select("kind", "rounded_amount").iter_rows():
            found[kind] += sign * amount
    return {
        "amount": found["usage"] + found["fee"],
        "charges": found["minimum"],
        "discounts": -found["discount"] - found["maximum"],
        "percentage": -found["discount"],
        "maximum_spend": -found["maximum"],
        "minimum_spend": found["minimum"],
        "credits": -found["credit"],
        "total": sum(found.values(), NOTHING),
    }


def single_line(case: Case) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The bill so far and the bill before. Fees are of the end of the period that they are due at, and so is a volume,
    which is not known before it ends."""
    position, usage, previous = case["line_position"], Decimal(case["usage"]), Decimal(case["previous_usage"])
    is_last = position in ENDS_PERIOD
    if not _is_due(case, is_last, position in BEGINS_PERIOD):
        return NO_LINES, NO_LINES
    is_new = not previous and (usage or position in BEGINS_PERIOD or is_last)
    before = NO_LINES if is_new else bill(case, previous, adjustments(case, is_last=False))
    unbounded = bill({**case, "price": _unbounded(case)}, previous, adjustments({**case, "price": {}}, is_last=False))
    own = NOTHING if is_new else total(unbounded, "rounded_amount")
    billed = Decimal(case.get("previously_billed", total(before, "rounded_amount")))
    now = bill(case, previous + usage, adjustments(case, is_last=is_last, before=own, billed=billed))
    return now, NO_LINES if is_new else unbounded


def _unbounded(case: Case) -> Case:
    return {name: value for name, value in case["price"].items() if name not in ("minimum_amount", "maximum_amount")}


def _is_due(case: Case, is_last: bool, is_first: bool) -> bool:
    price = case["price"]
    if price["type"] == "flat":
        return is_first if price["payment_term"] == "in_advance" else is_last
    return is_last or price.get("mode") != "volume"


def assert_due(now: pl.DataFrame, before: pl.DataFrame, expected: Case, names: tuple[str, ...]) -> None:
    found = amounts(now, before)
    for name in names:
        assert found[name] == Decimal(expected.get(name, found[name])), name


@pytest.mark.parametrize("case", cases("single_line"))
def test_a_line_is_the_bill_so_far_less_the_bill_before(case: Case) -> None:
    now, before = single_line(case)
    assert_due(now, before, case["expected"], ("total",))
    expected = case["expected"].get("lines")
    if expected is not None and case["model"] != "dynamic":
        assert _units(difference(parts_of(now), parts_of(before))) == _expected_units(expected)
        _assert_reductions(amounts(now, before), expected)
    if "billable_quantity" in case["expected"]:
        units = difference(parts_of(now), parts_of(before)).filter(part="units")
        assert units["quantity"].sum() == Decimal(case["expected"]["billable_quantity"])


def _units(parts: pl.DataFrame) -> dict[tuple[str, int, Decimal], Decimal]:
    """The quantity of each kind, tier and unit amount; what is for nothing is not shown there."""
    shown = parts.filter(pl.col("part").is_in(["units", "flat"]) & (pl.col("unit_amount") != 0))
    rows = shown.select("part", "tier", "unit_amount", "quantity").rows()
    return {("unit" if part == "units" else part, tier, amount): quantity for part, tier, amount, quantity in rows}


def _expected_units(lines: list[Case]) -> dict[tuple[str, int, Decimal], Decimal]:
    found: dict[tuple[str, int, Decimal], Decimal] = defaultdict(Decimal)
    for line in lines:
        if line["kind"] in ("unit", "flat"):
            found[line["kind"], line.get("tier", 1) - 1, Decimal(line["unit_amount"])] += Decimal(line["quantity"])
    return {key: quantity for key, quantity in found.items() if quantity}


def _assert_reductions(found: Amounts, lines: list[Case]) -> None:
    wanted: Amounts = defaultdict(lambda: NOTHING)
    for line in lines:
        if line["kind"] == "minimum_spend":
            wanted["minimum_spend"] += Decimal(line["amount"])
        for discount in line.get("discounts", []):
            wanted[discount["type"]] += Decimal(discount["amount"])
    for name in ("percentage", "maximum_spend", "minimum_spend"):
        assert found[name] == wanted[name], name


# phases: a period billed in parts, and parts that are rated again


NAMES = ("amount", "charges", "discounts", "total")


def phases_of(case: Case) -> list[list[pl.DataFrame]]:
    """For each phase, the bills at the end of each phase so far, of what is known then; the minimum is of the last."""
    made = []
    for place, phase in enumerate(case["phases"], 1):
        known = phase.get("cumulative_usage_at_each_period_end", [phase.get("cumulative_usage")])
        is_last = [place == len(case["phases"]) and end == len(known) for end in range(1, len(known) + 1)]
        made.append(
            [bill(case, Decimal(it), adjustments(case, is_last=at)) for it, at in zip(known, is_last, strict=True)]
        )
    return made


@pytest.mark.parametrize("case", [it for it in cases("cumulative_delta") if "phases" in it.values[0]])
def test_a_phase_is_the_bill_at_its_end_less_the_bill_before(case: Case) -> None:
    bills = [NO_LINES, *(bills[-1] for bills in phases_of(case))]
    for (before, now), phase in zip(pairwise(bills), case["phases"], strict=True):
        assert_due(now, before, phase["expected"], NAMES)
        if case["model"] != "dynamic":
            shown = [line for line in phase["expected"]["lines"] if Decimal(line["amount"])]
            parts = difference(parts_of(now), parts_of(before))
            assert not shown or _untiered(_units(parts)) == _untiered(_expected_units(shown))


def _untiered(units: Mapping[tuple[str, int, Decimal], Decimal]) -> dict[tuple[str, Decimal], Decimal]:
    found: dict[tuple[str, Decimal], Decimal] = defaultdict(Decimal)
    for (kind, _, amount), quantity in units.items():
        found[kind, amount] += quantity
    return found


@pytest.mark.parametrize("case", [it for it in cases("cumulative_delta") if "phases" not in it.values[0]])
def test_a_change_of_usage_is_the_bill_after_it_less_the_bill_before(case: Case) -> None:
    before = bill(case, Decimal(case["previous_usage"]), adjustments(case, is_last=False))
    now = bill(case, Decimal(case["usage_cumulative"]), adjustments(case, is_last=True))
    assert_due(now, before, case["expected"], NAMES)
    assert _units(difference(parts_of(now), parts_of(before))) == _expected_units(case["expected"]["lines"])


@pytest.mark.parametrize("case", cases("late_event_correction"))
def test_late_usage_corrects_the_phase_that_it_is_of(case: Case) -> None:
    """Each phase so far is rated with what is known now, and what was booked of it is taken off."""
    booked: list[pl.DataFrame] = []
    for bills, phase in zip(phases_of(case), case["phases"], strict=True):
        ends = [NO_LINES, *bills]
        due: Amounts = defaultdict(lambda: NOTHING)
        known = [*booked, NO_LINES]
        for place, (before, now) in enumerate(pairwise(ends)):
            then = NO_LINES if place == 0 else known[place - 1]
            for name, amount in amounts(now, before).items():
                due[name] += amount - (amounts(booked[place], then)[name] if place < len(booked) else NOTHING)
        booked = bills
        for name in NAMES:
            assert due[name] == Decimal(phase["expected"][name]), name


@pytest.mark.parametrize("case", cases("line_subtraction"))
def test_a_line_at_another_unit_amount_is_reversed_whole(case: Case) -> None:
    due = difference(_parts(case["current_lines"]), _parts(case["previous_lines"])).sort("unit_amount")
    found = due.select("quantity", "unit_amount", "amount").rows()
    names = ("quantity", "unit_amount", "amount")
    assert found == [tuple(Decimal(line[name]) for name in names) for line in case["expected"]["lines"]]


def _parts(lines: list[Case]) -> pl.DataFrame:
    rows = [{"quantity": Decimal(line["quantity"]), "unit_amount": Decimal(line["unit_amount"])} for line in lines]
    told = {name: None for name in PART if name not in ("quantity", "unit_amount", "amount")}
    return pl.DataFrame(
        [{**told, "part": "units", **row, "amount": row["quantity"] * row["unit_amount"]} for row in rows], schema=PART
    )


# parts of a rating


@pytest.mark.parametrize("case", cases("tier_segments"))
def test_a_range_of_usage_goes_through_tiers(case: Case) -> None:
    previous, usage = Decimal(case["previous_usage"]), Decimal(case["usage"])
    [now, before] = [_tiers(bill(case, quantity, [])) for quantity in (previous + usage, previous)]
    assert total(bill(case, previous + usage, [])) == Decimal(case["expected"]["cumulative_total"])
    for segment in case["expected"]["segments"]:
        tier, old = now[segment["tier"] - 1], before.get(segment["tier"] - 1, _NO_TIER)
        assert tier["quantity"] - old["quantity"] == Decimal(segment["quantity"])
        assert (tier["flat_count"] > old["flat_count"]) is segment["enters_tier"]
        lower = max(tier["from_quantity"], previous)
        assert total(bill(case, lower, [])) == Decimal(segment["cumulative_before"])
    reached = {place + 1 for place, tier in now.items() if tier["quantity"] > before.get(place, _NO_TIER)["quantity"]}
    assert reached == {segment["tier"] for segment in case["expected"]["segments"]}


_NO_TIER = {"quantity": NOTHING, "flat_count": NOTHING}


def _tiers(lines: pl.DataFrame) -> dict[int, Case]:
    return {tier["tier"]: tier for tier in lines["tiers"].explode()}


@pytest.mark.parametrize("case", cases("package_count"))
def test_started_packages_are_counted(case: Case) -> None:
    tiers = _tiers(bill({**case, "currency": "EUR"}, Decimal(case["usage"]), []))
    packages = tiers[0]["quantity"] if tiers else NOTHING
    assert packages == Decimal(case["expected"]["packages"])


@pytest.mark.parametrize("case", cases("usage_discount"))
def test_free_units_are_used_up_by_what_was_used_first(case: Case) -> None:
    free, previous = case["discount"]["usage_quantity"], Decimal(case.get("previous_usage", 0))
    price = _metered("per_unit", {"unit_amount": "1", "free_units": free})
    bags = {"before": values(previous), "now": values(previous + Decimal(case["usage"]))}
    lines = lines_of(catalog_of({"m": VALUE}, {"p": price}), bags)
    [before, now] = [total(lines.filter(customer=customer)) for customer in bags]
    assert before == Decimal(case["expected"].get("billable_previous_quantity", before))
    assert now - before == Decimal(case["expected"]["billable_quantity"])


@pytest.mark.parametrize("case", cases("unit_conversion"))
def test_a_meter_converts_units(case: Case) -> None:
    expected, rule = case["expected"], case["unit_conversion"]
    assert converted(rule, case["usage"]) == Decimal(expected["billable_quantity"])
    if "billable_previous_quantity" in expected:
        assert converted(rule, case["previous_usage"]) == Decimal(expected["billable_previous_quantity"])
    if "converted" in expected:
        assert converted({**rule, "rounding": "none"}, case["usage"]) == Decimal(expected["converted"])


def converted(rule: Case, usage: str) -> Decimal:
    factor = {"divide": "divide_by", "multiply": "factor"}[rule["operation"]]
    rounding = rule.get("rounding", "none")
    how = {} if rounding == "none" else {"rounding": {"mode": ROUNDED[rounding], "decimals": rule.get("precision", 0)}}
    meter = {**VALUE, factor: rule["factor"], **how}
    price = _metered("per_unit", {"unit_amount": "1"})
    return total(lines_of(catalog_of({"m": meter}, {"p": price}), {"acme": values(usage)}), "quantity")


@pytest.mark.parametrize("case", cases("rounding"))
def test_a_line_is_rounded_to_the_digits_of_its_price(case: Case) -> None:
    amount = Decimal(case["amount"])
    how = {"rounding": case["mode"], "rounding_digits": case["price"]["precision"]}
    price = {**_metered("per_unit", {"unit_amount": str(abs(amount))}), **how}
    document = catalog_of({"m": VALUE}, {"p": price})
    lines = lines_of(document, {"acme": values(1 if amount >= 0 else -1)})
    assert total(lines, "rounded_amount") == Decimal(case["expected"]["amount"])


@pytest.mark.parametrize("case", cases("allocation"))
def test_shares_sum_to_the_amount(case: Case) -> None:
    """The exact shares of an amount, rounded as lines are that are rounded together."""
    weights = [Decimal(it["weight"]) for it in case["weights"]]
    rows = [
        (place, it["key"], Decimal(case["amount"]) * weight / sum(weights))
        for place, (it, weight) in enumerate(zip(case["weights"], weights, strict=True))
    ]
    schema = pl.Schema({"place": pl.Int64(), "key": pl.String(), "amount": AMOUNT})
    digits = pl.lit(case["price"]["precision"], dtype=pl.Int32)
    parts = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        rounding_digits=digits, rounding=pl.lit("half_away_from_zero"), all=pl.lit(1)
    )
    found = largest_remainder(parts, ["all"], ["place"]).sort("place")
    shown = [(key, share) for key, share in found.select("key", "rounded").rows() if share]
    assert shown == [(it["key"], Decimal(it["amount"])) for it in case["expected"]["shares"]]


def test_every_case_is_tried_or_left_out_by_its_kind() -> None:
    every = json.loads(shared_path(*FILE.split("/")).read_text())
    tried = cases(*TRIED)
    assert len(tried) + sum(case["kind"] in ELSEWHERE for case in every) == len(every)
