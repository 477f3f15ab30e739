"""Usage cases of another engine's test suite: tiers of blocks, and capacity, each as a price of ours.

A unit of theirs is a meter of ours with a price of its own, so that a tier with blocks of several units is as many
prices. What is left out, and why: docs/conformance.md.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
import pytest

from rating.core.rating import Rated
from tests.conformance.bills import OCTOBER, billed, event, exact
from tests.conftest import SHARED, shared_path

FILE = "cases/killbill_usage.json"
MODES = {"ALL_TIERS": "graduated", "TOP_TIER": "volume"}
TRIED = (
    "consumable_in_arrear", "consumable_incremental", "consumable_periods", "capacity_in_arrear", "capacity_periods",
    "usage_invoice",
)  # fmt: skip
PERIODS = ("consumable_periods", "capacity_periods", "usage_invoice")
Case = dict[str, Any]


def cases() -> Iterator[Any]:
    path = SHARED / FILE
    for case in json.loads(path.read_text()) if path.exists() else []:
        if case["model"] in TRIED:
            yield pytest.param(case, id=case["id"])


def is_capacity(case: Case) -> bool:
    return "capacity" in (case["model"], case["price"].get("kind"), case["model"].split("_")[0])


def rated(case: Case, usage: list[tuple[str, str, int]]) -> Rated:
    """The bill for `usage`: unit, amount, and after how many days."""
    events = [event(amount, OCTOBER + timedelta(days=day), unit=unit) for unit, amount, day in usage]
    prices = capacity_prices(case) if is_capacity(case) else block_prices(case)
    units = sorted({unit for price in prices.values() for unit in price["meters"]})
    meter = {"event_type": "e", "aggregation": "max" if is_capacity(case) else "sum", "property": "n"}
    meters = {unit: {**meter, "filters": [{"property": "unit", "equals": unit}]} for unit in units}
    return billed(prices, events, case["price"]["currency"], meters=meters)


def block_prices(case: Case) -> dict[str, Any]:
    """A price for each unit. The last tier of a unit is open: there its blocks cost the same beyond their number."""
    tiers: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for tier in case["price"]["tiers"]:
        for block in tier["blocks"]:
            made = {"block_size": block["size"], "amount": block["price"]}
            tiers[block["unit"]].append(made if block["max"] == "-1" else {**made, "blocks": int(block["max"])})
    for own in tiers.values():
        own[-1].pop("blocks", None)
    mode = MODES[case["price"]["tier_block_policy"]]
    return {
        unit: {"model": "blocks", "meters": [unit], "versions": [{"block_tiers": own, "mode": mode}]}
        for unit, own in tiers.items()
    }


def capacity_prices(case: Case) -> dict[str, Any]:
    """One price over all units; the last tier holds everything."""
    tiers, units = [], []
    for tier in case["price"]["tiers"]:
        limits = {limit["unit"]: limit["max"] for limit in tier["limits"] if limit["max"] != "-1"}
        units += [limit["unit"] for limit in tier["limits"] if limit["unit"] not in units]
        tiers.append({"amount": tier["price"], **({"up_to": limits} if limits else {})})
    tiers[-1].pop("up_to", None)
    return {"capacity": {"model": "capacity", "meters": units, "versions": [{"capacity_tiers": tiers}]}}


@pytest.mark.parametrize("case", list(cases()))
def test_a_case_comes_out_as_there(case: Case) -> None:
    expected, usage = case["expected"], case["usage"]
    if case["model"] in PERIODS:
        for item in expected["items"]:
            assert_period(case, item)
        return
    units = usage.get("units") or usage["units_total"]
    bill = rated(case, [(unit, amount, 0) for unit, amount in units.items()])
    if "full_amount" in expected or (case["model"] == "capacity_in_arrear" and "amount" in expected):
        assert exact(bill) == Decimal(expected.get("full_amount", expected.get("amount")))
    if "rounded_full_amount" in expected:
        assert sum(bill.lines["rounded_amount"]) == Decimal(expected["rounded_full_amount"])
    if "tiers" in expected:
        assert_tiers(case, bill)


def assert_tiers(case: Case, bill: Rated) -> None:
    """What each tier came to: what is expected and what is on earlier bills together."""
    only = next(iter(case["usage"].get("units") or case["usage"]["units_total"]))
    wanted: dict[tuple[str, int], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for row in (*case["expected"]["tiers"], *case["usage"].get("already_billed", [])):
        found = wanted[row.get("unit", only), row["tier"]]
        found[0] += Decimal(row["amount"])
        found[1] += Decimal(row.get("quantity", 0))
    tiers = bill.lines.explode("tiers", empty_as_null=False, keep_nulls=False).unnest("tiers", separator="_")
    rows = tiers.filter(pl.col("tiers_quantity") != 0).select(
        "meter", "tiers_tier", "tiers_amount", "tiers_flat_count", "tiers_unit_amount"
    )
    got = {(unit, tier + 1): (amount, blocks) for unit, tier, amount, blocks, _ in rows.iter_rows()}
    assert {place: amount for place, (amount, _) in got.items()} == {place: row[0] for place, row in wanted.items()}
    if all("quantity" in row for row in case["expected"]["tiers"]):
        assert {place: blocks for place, (_, blocks) in got.items()} == {place: row[1] for place, row in wanted.items()}


def assert_period(case: Case, item: Case) -> None:
    """One period, moved to October; what earlier bills have of it is left to who writes the bills. The day on which a
    subscription is cancelled still belongs to it."""
    start, end = date.fromisoformat(item["start"]), date.fromisoformat(item["end"])
    last = end if item["end"] == case["usage"].get("cancel") else end - timedelta(days=1)
    within = [
        (record["unit"], record["amount"], (date.fromisoformat(record["date"]) - start).days)
        for record in case["usage"]["records"]
        if start <= date.fromisoformat(record["date"]) <= last
    ]
    before = sum(
        (
            Decimal(billed_item["amount"])
            for billed_item in case["usage"].get("already_billed_amounts", [])
            if (billed_item["start"], billed_item["end"]) == (item["start"], item["end"])
        ),
        Decimal(0),
    )
    full = exact(rated(case, within))
    assert full == Decimal(item.get("full_amount", full))
    assert (full - before).quantize(Decimal("0.01"), ROUND_HALF_UP) == Decimal(item["amount"])


def rollups() -> Iterator[Any]:
    path = SHARED / FILE
    for case in json.loads(path.read_text()) if path.exists() else []:
        if case["model"] == "usage_rollup" and case["usage"]["bill_cycle_day"] == 1:
            yield pytest.param(case, id=case["id"])


@pytest.mark.parametrize("case", list(rollups()))
def test_months_are_those_of_the_accounts_zone(case: Case) -> None:
    """Between local midnights, also where the clocks change, whenever the subscription began."""
    zone = case["usage"]["account_timezone"]
    price = {"meters": ["m"], "model": "per_unit", "versions": [{"unit_amount": case["price"]["unit_price"]}]}
    events = [event(it["amount"], datetime.fromisoformat(it["date"])) for it in case["usage"]["records"]]
    for period in case["expected"]["periods"]:
        bill = billed({"p": price}, events, zone=zone, month=period["start"][:7])
        assert bill.lines["quantity"].to_list() == [Decimal(period["quantity"])]
        assert bill.lines["period_start"][0].date() == date.fromisoformat(period["start"])


def test_every_case_is_tried_or_left_out_by_its_kind() -> None:
    every = json.loads(shared_path(*FILE.split("/")).read_text())
    left_out = {case["model"] for case in every if case["model"] not in TRIED}
    assert left_out <= {"usage_rollup", "billing_boundaries", "billed_amount_filter"}
    assert len(list(rollups())) == sum(case["model"] == "usage_rollup" for case in every)
