"""Parts of billing periods as two other engines charge them: each case as a subscription that begins, changes or ends
within a period, and what falls due of it.

What is given back is the bill of now less the bill before, line by line as they are rounded. What is left out, and why:
docs/conformance.md.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from rating.catalog import compile_catalog, load_catalog
from rating.core.credits.plans import plan_grants
from rating.core.periods import parse_month
from rating.core.restating import posted
from tests.conformance.agreed import Agreed, Change, Document, due, midnight, subscriptions
from tests.conformance.bills import billed, event, sum_meter
from tests.conftest import SHARED, shared_path

OPENMETER, FLEXPRICE = "cases/openmeter_rating.json", "cases/flexprice_rating.json"
BY = {"day": "days", "second": "seconds"}
LEFT_OUT = {
    "credit_cap": "what was given back by hand",
}
NOTHING = Decimal(0)
Case = dict[str, Any]


def cases(file: str, *kinds: str) -> list[Any]:
    path = SHARED / file
    every = json.loads(path.read_text()) if path.exists() else []
    return [pytest.param(it, id=it["id"]) for it in every if it["kind"] in kinds and why_left_out(it) is None]


def why_left_out(case: Case) -> str | None:
    """Whether a case follows another rule: by what it says, never by its name."""
    if case["kind"] == "proration" and "full_service_period" in case and len({*case["full_service_period"]}) == 1:
        return "a period without length"
    if case["kind"] == "line_item_proration" and case.get("billed", [case["price"]["amount"]]) != [
        case["price"]["amount"]
    ]:
        return "something else was billed than the price says: by hand, or nothing"
    return LEFT_OUT.get(case["kind"])


def catalog_of(amounts: dict[str, str], currency: str, **how: Any) -> Document:
    """A plan with a fee for each of `amounts`."""
    prices = {
        plan: {"currency": currency, "model": "flat", **how, "versions": [{"amount": amount}]}
        for plan, amount in amounts.items()
    }
    plans = {plan: {"currency": currency, "prices": [plan]} for plan in prices}
    return {"tallystick": 1, "currencies": [currency], "meters": {}, "prices": prices, "plans": plans}


def at(instant: str) -> datetime:
    return datetime.fromisoformat(instant)


@pytest.mark.parametrize("case", cases(OPENMETER, "proration"))
def test_a_fee_in_advance_is_charged_for_the_part_that_is_served(case: Case) -> None:
    start, end = map(at, case["service_period"])
    how = {"prorate": "seconds"} if case["prorate"] else {}
    catalog = catalog_of({"p": case["price"]["amount"]}, case["currency"], due=case["price"]["payment_term"], **how)
    agreed = Agreed("s", "p", start, end, anchor=at(case["full_service_period"][0]))
    [line] = due(catalog, [agreed], start).lines.rows(named=True)
    assert [line["period_start"], line["period_end"]] == list(map(at, case["full_service_period"]))
    assert line["rounded_amount"] == Decimal(case["expected"]["total"])


@pytest.mark.parametrize("case", cases(OPENMETER, "invoice_total"))
def test_a_bill_is_the_sum_of_its_lines(case: Case) -> None:
    """Flat 100, a volume of 2000 with a minimum of 3000, graduated 1250, and units for 3000 of which a maximum leaves
    nothing: the numbers of the case's note."""
    least, most = ({"kind": kind, "amount": amount} for kind, amount in (("minimum", "3000"), ("maximum", "0")))
    steps = [{"up_to": 100, "unit_amount": "10"}, {"unit_amount": "1", "flat_amount": "50"}]
    versions = {
        "volume": {"tiers": [{"up_to": 100, "unit_amount": "20"}, {"unit_amount": "10"}], "adjust": [least]},
        "graduated": {"tiers": steps},
        "per_unit": {"unit_amount": "15", "adjust": [most]},
    }
    metered = {model: {"model": model, "meter": model, "versions": [version]} for model, version in versions.items()}
    fee = {"model": "flat", "versions": [{"amount": "100"}]}
    meters = {model: {**sum_meter(), "filters": [{"property": "of", "equals": model}]} for model in versions}
    events = [event(200, of=model) if model != "graduated" else event(300, of=model) for model in versions]
    lines = billed({"fee": fee, **metered}, events, case["currency"], meters=meters).lines
    found = {kind: sum(lines.filter(kind=kind)["rounded_amount"], NOTHING) for kind in lines["kind"].unique()}
    expected = {name: Decimal(amount) for name, amount in case["expected"].items()}
    assert found["fee"] + found["usage"] == expected["amount"]
    assert found["minimum"] == expected["charges"]
    assert -found["maximum"] == expected["discounts"]
    assert sum(found.values()) == expected["total"]


# flexprice


@pytest.mark.parametrize("case", cases(FLEXPRICE, "proration"))
def test_a_change_of_plan_charges_the_new_one_and_gives_back_the_old(case: Case) -> None:
    """There the last day of a period is told, here the first of the next one."""
    change = case["change"]
    start, when = at(change["period"][0]), at(change["at"])
    is_new = change["action"] == "additem"
    amounts = {"old": change.get("old_unit_amount", "0"), "new": change["new_unit_amount"]}
    paid = "in_advance" if change["pay_in_advance"] else "in_arrears"
    how = {"prorate": BY[change["strategy"]], "due": paid, "per": "seat"}
    catalog = catalog_of(amounts, case["currency"], **how)
    seats = int(change.get("old_quantity", 1))
    agreed = Agreed("s", "old", start, anchor=start, zone=change["time_zone"], seats=seats)
    later = Change(when, "item" if is_new else "plan", "new", int(change["new_quantity"]))
    before = due(catalog, [agreed], when - timedelta(seconds=1)).lines
    now = due(catalog, [agreed._replace(changes=(later,))], when).lines
    assert sum(posted(now, before)["rounded_amount"], NOTHING) == Decimal(case["expected"]["total"])


@pytest.mark.parametrize("case", cases(FLEXPRICE, "line_item_proration"))
def test_an_item_is_charged_from_the_second_that_it_is_added_and_given_back_from_its_removal(case: Case) -> None:
    start, when = at(case["period"][0]), at(case["at"])
    catalog = catalog_of({"none": "0", "item": case["price"]["amount"]}, case["currency"], prorate="seconds")
    added, removed = Change(when, "item", "item"), Change(when, "item", state="ended")
    first = Change(start, "item", "item")
    was, is_now = ((), (added,)) if case["action"] == "add" else ((first,), (first, removed))
    before = due(catalog, [Agreed("s", "none", start, changes=was)], start).lines
    now = due(catalog, [Agreed("s", "none", start, changes=is_now)], when).lines
    changed = posted(now, before)["rounded_amount"]
    assert sum(one for one in changed if one > 0) == Decimal(case["expected"]["charge"])
    assert -sum(one for one in changed if one < 0) == Decimal(case["expected"]["credit"])


@pytest.mark.parametrize("case", cases(FLEXPRICE, "day_count"))
def test_days_are_those_of_the_calendar(case: Case) -> None:
    """In a year of 365 days a fee of 365 is one a day."""
    start, end = map(at, case["period"])
    catalog = catalog_of({"p": "365"}, case["currency"], prorate="days")
    agreed = Agreed("s", "p", start, end, ("year", 1), midnight("2024-04-01", case["time_zone"]), case["time_zone"])
    lines = due(catalog, [agreed], end).lines
    assert sum(lines["amount"], NOTHING) == Decimal(case["expected"]["days"])


@pytest.mark.parametrize("case", cases(FLEXPRICE, "credit_proration"))
def test_a_credit_is_granted_for_the_rest_of_the_period(case: Case) -> None:
    """In the month that contains the period's start. A plan that begins when it is over grants nothing."""
    credit = {"amount": case["credits"], "prorate": BY[f"{case['strategy']}"]}
    document = catalog_of({"p": "0"}, case["currency"])
    document["plans"]["p"]["credits"] = {"c": credit}
    start, month = at(case["at"]), parse_month(case["period"][0][:7])
    grants = plan_grants(
        compile_catalog(load_catalog(document)).credits, subscriptions([Agreed("s", "p", start)]), month, month
    )
    assert sum(grants["amount"], NOTHING) == Decimal(case["expected"]["credits"])


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        (OPENMETER, ("proration", "invoice_total")),
        (FLEXPRICE, ("proration", "line_item_proration", "day_count", "credit_proration", *LEFT_OUT)),
    ],
)
def test_every_case_is_tried_or_left_out_by_its_kind(file: str, kinds: Sequence[str]) -> None:
    every = [case for case in json.loads(shared_path(*file.split("/")).read_text()) if case["kind"] in kinds]
    left_out = [case for case in every if why_left_out(case) is not None]
    assert len(cases(file, *kinds)) + len(left_out) == len(every)
