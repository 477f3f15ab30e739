"""Billing days, periods and their parts of another engine's test suite: each case as a subscription of ours and what
falls due of it.

A cycle there is a part of a billing period: here the fee is 100,000 with four decimals, so that a line shows nine of
its part. What is left out, and why: docs/conformance.md.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl
import pytest

from rating.core.service_periods import Due, service_periods, usage_payers
from tests.conformance.agreed import (
    INTERVALS,
    Agreed,
    Change,
    Document,
    anchored,
    boundaries,
    cut,
    due,
    midnight,
    subscriptions,
)
from tests.conftest import SHARED, shared_path

FILE, USAGE = "cases/killbill_proration.json", "cases/killbill_usage.json"
ONE_CYCLE = Decimal(100_000)
BILLED = ("proration_cycles", "proration_cycles_series", "recurring_items", "recurring_amount", "billing_interval")
CUT = ("bcd_align", "bcd_from_instant", "step_periods", "whole_periods")
PARTS = ("proration_fraction", "fixed_month_days")
ITEMS = ("invoice_reconcile", "invoice_net_of_repairs", "invoice_run_sequence")  # test_killbill_repairs.py
BY = {None: "days", 0: "days", 30: "30_days"}
BY_DAYS = ("day", "week")
DUE = {"IN_ADVANCE": "in_advance", "IN_ARREAR": "in_arrears"}
Case = dict[str, Any]


def why_left_out(case: Case) -> str | None:
    """Whether a case follows another rule: by what it says, never by its name."""
    if case["price"].get("fixed_days") not in BY:
        return "months of other than 30 days"
    if case["model"] in PARTS and _is_longer_than_its_period(case):
        return "a part that is longer than its period"
    if case["model"] in BILLED and _leads_to_a_shorter_month(case):
        return "the period before the first billing day is counted from the last day of a shorter month"
    if case["price"].get("arrear_mode") == "GREEDY" and not _is_at_the_end_of_a_period(case):
        return "a period that is billed before it is over"
    return None


def _is_longer_than_its_period(case: Case) -> bool:
    anchor, start, end = part_of(case)
    return len(cut(anchor, ("month", 1), start, end)) > 1


def _is_at_the_end_of_a_period(case: Case) -> bool:
    agreed = subscription(case)
    return case["dates"]["target"] in boundaries(agreed.anchor, agreed.interval, agreed.starts_at)


def _leads_to_a_shorter_month(case: Case) -> bool:
    agreed = subscription(case)
    if case["model"] == "billing_interval" or agreed.interval[0] in BY_DAYS:
        return False
    first = boundaries(agreed.anchor, agreed.interval, agreed.starts_at)[0]
    start, billing_day = case["dates"]["start"], int(case["dates"]["bcd"])
    return first != str(start) and int(first[-2:]) < billing_day


@cache
def known() -> list[Case]:
    path = SHARED / FILE
    return json.loads(path.read_text()) if path.exists() else []


def every(*models: str) -> list[Case]:
    return [case for case in known() if case["model"] in models]


def cases(*models: str) -> Iterator[Any]:
    for case in every(*models):
        if why_left_out(case) is None:
            yield pytest.param(case, id=case["id"])


# what falls due by a day: fees


def interval_of(case: Case) -> tuple[str, int]:
    return INTERVALS[case["price"]["billing_period"]]


def subscription(case: Case) -> Agreed:
    """The subscription of a case. The billing day is one of the month in which it begins; periods of days and weeks
    begin with the subscription."""
    dates, interval = case["dates"], interval_of(case)
    start, end = date.fromisoformat(dates["start"]), dates["end"]
    anchor = midnight(start) if interval[0] in BY_DAYS else anchored(start, dates["bcd"], interval)
    ends_at = None if end is None else midnight(end)
    seats = int(case["price"].get("quantity", 1))
    return Agreed(case["id"], plan_of(case), midnight(start), ends_at, interval, anchor, seats=seats)


def plan_of(case: Case) -> str:
    """A plan has one fee: how much it is, when it is owed and how its parts count."""
    price = case["price"]
    fee = price.get("rate", str(ONE_CYCLE)).replace(".", "_")
    return f"{DUE[price['billing_mode']]}-{BY[price.get('fixed_days')]}-{fee}"


def catalog_of(plans: set[str]) -> Document:
    prices = {}
    for plan in sorted(plans):
        when, by, fee = plan.split("-")
        amount = fee.replace("_", ".")
        digits = {"rounding_digits": 4} if Decimal(amount) == ONE_CYCLE else {}
        prices[plan] = {
            "currency": "USD", "model": "flat", "per": "seat", "due": when, "prorate": by, **digits,
            "versions": [{"amount": amount}],
        }  # fmt: skip
    made = {plan: {"currency": "USD", "prices": [plan]} for plan in prices}
    return {"tallystick": 1, "currencies": ["USD"], "meters": {}, "prices": prices, "plans": made}


def target_of(case: Case) -> datetime | None:
    """By when."""
    target = case["dates"].get("target")
    return None if target is None else midnight(target)


def targets_of(case: Case) -> list[datetime]:
    one = target_of(case)
    return [midnight(target) for target in case["dates"].get("targets", [])] + ([] if one is None else [one])


@cache
def asked() -> list[tuple[Agreed, list[datetime]]]:
    """The subscription of each case, and by when it is billed."""
    tried = [case for case in every(*BILLED) if why_left_out(case) is None]
    return [(subscription(case), targets_of(case)) for case in tried]


@cache
def lines_by(until: datetime) -> pl.DataFrame:
    """All that has fallen due by a day, of the subscriptions of every case that asks for it: one run."""
    agreed = [one for one, targets in asked() if until in targets]
    return due(catalog_of({one.plan for one in agreed}), agreed, until).lines.sort("service_start")


def lines_of(case: Case, until: datetime) -> pl.DataFrame:
    return lines_by(until).filter(customer=case["id"])


def cycles(lines: pl.DataFrame) -> list[Decimal]:
    return [amount / ONE_CYCLE for amount in lines["rounded_amount"]]


def spans(lines: pl.DataFrame) -> list[tuple[str, str]]:
    dates = lines.select(pl.col("service_start", "service_end").dt.strftime("%Y-%m-%d"))
    return dates.rows()


@pytest.mark.parametrize("case", list(cases("proration_cycles", "recurring_items")))
def test_periods_and_parts_of_periods_fall_due(case: Case) -> None:
    target = target_of(case)
    assert target is not None
    lines, told = lines_of(case, target), case.get("derived", {})
    if "cycles" in case["expected"]:
        assert sum(cycles(lines), Decimal(0)) == Decimal(case["expected"]["cycles"])
    items = case["expected"].get("items", told.get("items"))
    if items is not None:
        assert spans(lines) == [(item["start"], item["end"]) for item in items]
        parts = told.get("cycles", [item.get("cycles") for item in items])
        assert cycles(lines) == [Decimal(part) for part in parts]


@pytest.mark.parametrize("case", list(cases("proration_cycles_series")))
def test_a_billing_day_of_31_comes_back_after_shorter_months(case: Case) -> None:
    found = [sum(cycles(lines_of(case, midnight(target)))) for target in case["dates"]["targets"]]
    assert found == [Decimal(wanted) for wanted in case["expected"]["cycles"]]


@pytest.mark.parametrize("case", list(cases("recurring_amount")))
def test_amounts_of_periods_and_their_parts(case: Case) -> None:
    target = target_of(case)
    assert target is not None
    lines = lines_of(case, target)
    amounts = list(zip(spans(lines), lines["rounded_amount"], strict=True))
    items = case["expected"]["items"]
    assert amounts == [((item["start"], item["end"]), Decimal(item["amount"])) for item in items]
    assert lines["rounded_amount"].sum() == Decimal(case["expected"]["total"])


@pytest.mark.parametrize("case", list(cases("billing_interval")))
def test_when_a_subscription_is_billed_and_how_far(case: Case) -> None:
    expected, target, agreed = case["expected"], target_of(case), subscription(case)
    days = boundaries(agreed.anchor, agreed.interval, agreed.starts_at)
    if "first_billing_date" in expected:
        assert days[0] == expected["first_billing_date"]
    if target is None:
        return
    lines = lines_of(case, target)
    billed_until = max((end for _, end in spans(lines)), default=None)
    assert billed_until == expected.get("effective_end", billed_until)
    assert (billed_until is not None) is expected.get("billable", billed_until is not None)
    if "whole_periods" in expected:
        assert cycles(lines).count(Decimal(1)) == expected["whole_periods"]
    if "next_billing_date" in expected:
        assert next(day for day in days if day > (billed_until or "")) == expected["next_billing_date"]


# where periods begin


@pytest.mark.parametrize("case", list(cases("bcd_align")))
def test_a_date_is_moved_to_the_billing_day(case: Case) -> None:
    dates, interval = case["dates"], interval_of(case)
    proposed = date.fromisoformat(dates["proposed"])
    by_month = anchored(proposed, dates["bcd"], interval)
    anchor = midnight(dates["previous"]) if interval[0] in BY_DAYS else by_month
    since = midnight(proposed.replace(day=1)) if case["price"]["direction"] == "same_month" else midnight(proposed)
    assert boundaries(anchor, interval, since)[0] == case["expected"]["date"]


def zone_of(name: str) -> str:
    """A whole number of hours before or after UTC as the time zone of that name, which counts the other way."""
    is_offset = name[0] in "+-" and name.endswith(":00")
    return f"Etc/GMT{'-' if name[0] == '+' else '+'}{int(name[1:3])}" if is_offset else name


@pytest.mark.parametrize("case", list(cases("bcd_from_instant")))
def test_the_billing_day_is_that_of_the_account(case: Case) -> None:
    """A period that is anchored at an instant begins on its day on the account's clock."""
    instant = datetime.fromisoformat(case["dates"]["instant"]).astimezone(UTC)
    zone = zone_of(case["price"]["account_timezone"])
    [day, following, *_] = boundaries(instant, ("month", 1), instant, zone=zone)
    assert [int(found[-2:]) for found in (day, following)] == [case["expected"]["bcd"]] * 2


@pytest.mark.parametrize("case", list(cases("step_periods", "whole_periods")))
def test_periods_of_weeks_and_days_are_counted_from_their_anchor(case: Case) -> None:
    dates, interval = case["dates"], interval_of(case)
    if case["model"] == "whole_periods":
        since, until = midnight(dates["start"]), midnight(dates["end"])
        whole = [end for _, end in cut(since, interval, since, until) if end <= until]
        assert len(whole) == case["expected"]["whole_periods"]
        return
    wanted = sorted(case["expected"]["dates"])
    until = midnight(wanted[-1]) + timedelta(days=1)
    assert boundaries(midnight(dates["from"]), interval, midnight(wanted[0]), until) == wanted


# usage


def usage_boundaries() -> list[Any]:
    path = SHARED / USAGE
    every = json.loads(path.read_text()) if path.exists() else []
    found = [case for case in every if case["model"] == "billing_boundaries"]
    return [pytest.param(it, id=it["id"]) for it in found if it["usage"].get("cancel") != it["usage"]["start"]]


@pytest.mark.parametrize("case", usage_boundaries())
def test_usage_is_rated_from_billing_day_to_billing_day(case: Case) -> None:
    """A change that is none of the plan does not cut it."""
    usage, interval = case["usage"], interval_of(case)
    anchor = anchored(date.fromisoformat(usage["start"]), case["price"]["bill_cycle_day"], interval)
    ends_at = midnight(usage["cancel"]) if "cancel" in usage else None
    changes = tuple(Change(midnight(day), seats=2) for day in usage.get("changes", []))
    agreed = Agreed("s", "p", midnight(usage["start"]), ends_at, interval, anchor, changes=changes)
    due_by = Due(agreed.starts_at, midnight(usage["target"]))
    payers = usage_payers(service_periods(subscriptions([agreed]), due_by))
    edges = pl.concat([payers["from"], payers["to"]]).unique().sort().dt.strftime("%Y-%m-%d")
    assert edges.to_list() == case["expected"]["boundaries"]


# parts of periods


def part_of(case: Case) -> tuple[datetime, datetime, datetime]:
    """Where the period of a part begins or ends, and the part."""
    dates = case["dates"]
    start, end = (midnight(dates.get(f"service_{name}", dates.get(name))) for name in ("start", "end"))
    return midnight(dates.get("period_start", dates.get("period_end", dates.get("start")))), start, end


def part(case: Case) -> pl.DataFrame:
    """The line of a subscription that is in force for the served part of its period."""
    anchor, start, end = part_of(case)
    plan = f"in_advance-{BY[case['price']['fixed_days']]}-{ONE_CYCLE}"
    return due(catalog_of({plan}), [Agreed("s", plan, start, end, anchor=anchor)], start).lines


@pytest.mark.parametrize("case", list(cases(*PARTS)))
def test_parts_of_periods(case: Case) -> None:
    [line] = part(case).rows(named=True)
    wanted = case["expected"]
    if "fraction" in wanted:
        assert line["rounded_amount"] / ONE_CYCLE == Decimal(wanted["fraction"])
    else:
        [shown] = line["operations"]
        assert json.loads(shown["numbers"]) == {"by": "30_days", "served": str(wanted["days"]), "whole": "30"}


def test_every_case_is_tried_or_left_out_by_its_kind() -> None:
    shared_path(*FILE.split("/"))
    left_out = [case for case in known() if case["model"] not in ITEMS and why_left_out(case) is not None]
    tried = list(cases(*BILLED, *CUT, *PARTS))
    assert len(tried) + len(left_out) + len(every(*ITEMS)) == len(known())
