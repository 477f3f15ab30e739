"""Explain a charge line: its arithmetic, step by step, from the line alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rating.core.money import plain

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One step of the arithmetic: what was done, in words and numbers, and what came out."""

    name: str  # meter | rate | tier | sum | round
    text: str
    result: str


def explain(line: Line) -> list[Step]:
    """The steps from the metered quantity to the rounded amount of `line` (a CHARGE_LINE row as a mapping).

    Every number of the line is in the steps, and the steps can be done again by hand.
    """
    tiers = [_tier(line, tier) for tier in line["tiers"]]
    exact = f"{plain(line['amount'])} {line['currency']}"
    return [*_metering(line), _rate(line), *tiers, *_sum(line, exact), _rounding(line, exact)]


def _metering(line: Line) -> list[Step]:
    if line["kind"] == "fee":
        return []
    where = f" with {line['group']}" if line["group"] != "{}" else ""
    text = f"{line['events']} events of {line['customer']} counted by meter {line['meter']}{where} in {line['period']}"
    return [Step("meter", text, plain(line["quantity"]))]


def _rate(line: Line) -> Step:
    since = line["effective_from"].isoformat() if line["effective_from"] else "its beginning"
    window = f", time-of-day window {line['window']}" if line["window"] is not None else ""
    text = f"price {line['price']} ({line['model']}), version {line['price_version']} in force since {since}{window}"
    return Step("rate", text, line["currency"])


def _tier(line: Line, tier: Mapping[str, Any]) -> Step:
    parts = [part for part in (_units(tier), _flat(line, tier)) if part]
    return Step(
        "tier", f"{_range(line, tier)}: {' + '.join(parts) or '0'}", f"{plain(tier['amount'])} {line['currency']}"
    )


def _range(line: Line, tier: Mapping[str, Any]) -> str:
    if line["kind"] == "fee":
        return "fee for the period"
    if line["model"] in ("per_unit", "package"):
        return "all units"
    upper = f"up to {plain(tier['to_quantity'])}" if tier["to_quantity"] is not None else "and more"
    measured = f"events with {line['size']}" if line["model"] == "per_request" else "units"
    return f"tier {tier['tier'] + 1}, {measured} above {plain(tier['from_quantity'])} {upper}"


def _units(tier: Mapping[str, Any]) -> str:
    if not tier["unit_amount"]:
        return ""
    per = f" / {tier['per']}" if tier["per"] != 1 else ""
    return f"{plain(tier['quantity'])} x {plain(tier['unit_amount'])}{per}"


def _flat(line: Line, tier: Mapping[str, Any]) -> str:
    if not tier["flat_amount"]:
        return ""
    count = plain(tier["flat_count"])
    if line["model"] == "package":
        return f"{count} started packages of {plain(line['package_size'])} x {plain(tier['flat_amount'])}"
    return plain(tier["flat_amount"]) if count == "1" else f"{count} x {plain(tier['flat_amount'])}"


def _sum(line: Line, exact: str) -> list[Step]:
    if len(line["tiers"]) < 2:
        return []
    assert sum((t["amount"] for t in line["tiers"]), Decimal(0)) == line["amount"], "tiers must sum to their line"
    return [Step("sum", " + ".join(plain(t["amount"]) for t in line["tiers"]), exact)]


def _rounding(line: Line, exact: str) -> Step:
    mode = line["rounding"].replace("_", " ")
    return Step("round", f"{exact} rounded once, {mode}", f"{plain(line['rounded_amount'])} {line['currency']}")
