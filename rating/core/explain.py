"""Explain a charge line: its arithmetic, step by step, from the line alone."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rating.core.money import plain

Line = Mapping[str, Any]
Numbers = Mapping[str, str]


@dataclass(frozen=True)
class Step:
    """One step of the arithmetic: what was done, in words and numbers, and what came out."""

    name: str  # meter | rate | an operator of the chain | tier | sum | round
    text: str
    result: str


def explain(line: Line) -> list[Step]:
    """The steps from the metered quantity to the rounded amount of `line` (a CHARGE_LINE row as a mapping).

    Every number of the line is in the steps, and the steps can be done again by hand.
    """
    if line["kind"] == "credit":
        return [*_crediting(line)]
    if line["adjustment"] is not None:
        return [_adjusting(line), _rounding(line)]
    said = [it for it in line["operations"] if it["numbers"] != "{}" or it["before"] != it["after"]]
    before = [_operator(line, step) for step in said if step["on"] == "quantity"]
    after = [_operator(line, step) for step in said if step["on"] == "amount"]
    tiers = [_tier(line, tier) for tier in line["tiers"]]
    return [*_metering(line), _rate(line), *before, *tiers, *_sum(line), *after, _rounding(line)]


def _adjusting(line: Line) -> Step:
    (operation,) = line["operations"]
    numbers = json.loads(operation["numbers"])
    owner = f"price {line['price']}" if line["price"] is not None else f"plan {line['plan']}"
    words = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in numbers.items())
    text = f"{line['kind']} of {owner} ({words}) on {plain(operation['before'])} {line['currency']} of rounded lines"
    return Step(line["kind"], text, f"{plain(line['amount'])} {line['currency']}")


def _crediting(line: Line) -> Iterator[Step]:
    (operation,) = line["operations"]
    numbers, unit = json.loads(operation["numbers"]), line["currency"]
    text = (
        f"grant {line['grant']} pays of line {line['pays']}: {plain(operation['before'])} {unit} to pay, "
        f"{numbers['balance_before']} {unit} in the grant before, {numbers['balance_after']} {unit} after"
    )
    yield Step("credit", text, f"{plain(line['amount'])} {unit}")
    text = f"{plain(operation['after'])} less {plain(operation['before'])}, both rounded {line['rounding']}"
    yield Step("round", text, f"{plain(line['rounded_amount'])} {unit}")


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


def _operator(line: Line, step: Mapping[str, Any]) -> Step:
    numbers = json.loads(step["numbers"] or "{}")
    each = {"event": "each event: ", "day": "each day: ", "line": ""}[step["level"]]
    unit = f" {line['currency']}" if step["on"] == "amount" else ""
    words = ", ".join(_WORDS[step["operator"]](numbers))
    return Step(step["operator"], f"{plain(step['before'])}{unit}, {each}{words}", plain(step["after"]) + unit)


_CONVERTED = {"times_property": "x its {}", "instead_property": "its {}", "factor": "x {}", "divide_by": "/ {}"}
_STEPPED = {"first": "the first {} whole", "increment": "in steps of {}"}


def _weighted(numbers: Numbers) -> Iterator[str]:
    yield from (words.format(numbers[name]) for name, words in _CONVERTED.items() if name in numbers)
    if "rounding" in numbers:
        yield {"up": "a started one is whole", "down": "whole ones only"}[numbers["rounding"]]
    yield from (words.format(numbers[name]) for name, words in _STEPPED.items() if name in numbers)
    if "increments" in numbers:
        starts, sizes = numbers["increments_from"].split(), numbers["increments"].split()
        yield from (f"{_sized(size)} from {start}" for start, size in zip(starts, sizes, strict=True))
    yield from _clamped(numbers)


def _sized(size: str) -> str:
    return "exact" if size == "exact" else f"begun increments of {size}"


def _allowed(numbers: Numbers) -> Iterator[str]:
    if not numbers:
        yield "less what an allowance of the plan includes"
    if "units" in numbers:
        yield f"less {numbers['units']} included"
    if "count" in numbers:
        yield f"less the first {numbers['count']}, included"
    if numbers.keys() >= {"units", "count"}:
        yield "while either lasts" if numbers.get("either") == "true" else "while both last"


def _clamped(numbers: Numbers) -> Iterator[str]:
    if "minimum" in numbers:
        yield f"at least {numbers['minimum']}"
    if "maximum" in numbers:
        yield f"at most {numbers['maximum']}"
    if "multiple" in numbers:
        yield f"to multiples of {numbers['multiple']}, {numbers['rounding'].replace('_', ' ')}"


def _composed(numbers: Numbers) -> Iterator[str]:
    if "percent" in numbers:
        above = f" of what is above {numbers['above']}" if "above" in numbers else ""
        yield f"{_signed(numbers['percent'])} %{above}"
    if "fixed" in numbers:
        yield _signed(numbers["fixed"])


def _signed(number: str) -> str:
    return f"- {number[1:]}" if number.startswith("-") else f"+ {number}"


def _partitioned(numbers: Numbers) -> Iterator[str]:
    yield "the largest group only"


def _prorated(numbers: Numbers) -> Iterator[str]:
    yield "the served part of the period"


def _credited(numbers: Numbers) -> Iterator[str]:
    yield "less what prepaid credits paid"


_WORDS: dict[str, Callable[[Numbers], Iterator[str]]] = {
    "weight": _weighted,
    "allow": _allowed,
    "clamp": _clamped,
    "compose": _composed,
    "partition": _partitioned,
    "prorate": _prorated,
    "credit": _credited,
}


def _tier(line: Line, tier: Mapping[str, Any]) -> Step:
    parts = [part for part in (_units(tier), _percent(tier), _flat(tier)) if part]
    return Step(
        "tier", f"{_range(line, tier)}: {' + '.join(parts) or '0'}", f"{plain(tier['amount'])} {line['currency']}"
    )


def _range(line: Line, tier: Mapping[str, Any]) -> str:
    if line["kind"] == "fee":
        return "fee, once" if line["model"] == "one_time" else "fee for the period"
    if tier["tier"] == 0 and tier["to_quantity"] is None:
        return "all units"
    upper = f"up to {plain(tier['to_quantity'])}" if tier["to_quantity"] is not None else "and more"
    measured = f"events with {line['size']}" if line["size"] is not None else "units"
    return f"tier {tier['tier'] + 1}, {measured} above {plain(tier['from_quantity'])} {upper}"


def _units(tier: Mapping[str, Any]) -> str:
    if not tier["unit_amount"]:
        return ""
    per = f" / {tier['per']}" if tier["per"] != 1 else ""
    return f"{plain(tier['quantity'])} x {plain(tier['unit_amount'])}{per}"


def _percent(tier: Mapping[str, Any]) -> str:
    return f"{plain(tier['percent'])} % of {plain(tier['quantity'])}" if tier["percent"] else ""


def _flat(tier: Mapping[str, Any]) -> str:
    if not tier["flat_amount"]:
        return ""
    count = plain(tier["flat_count"])
    return plain(tier["flat_amount"]) if count == "1" else f"{count} x {plain(tier['flat_amount'])}"


def _sum(line: Line) -> list[Step]:
    total = sum((t["amount"] for t in line["tiers"]), Decimal(0))
    changed = [step["before"] for step in line["operations"] if step["on"] == "amount"]
    assert total == (changed[0] if changed else line["amount"]), "tiers must sum to their line"
    if len(line["tiers"]) < 2:
        return []
    return [Step("sum", " + ".join(plain(t["amount"]) for t in line["tiers"]), f"{plain(total)} {line['currency']}")]


def _rounding(line: Line) -> Step:
    mode = line["rounding"].replace("_", " ")
    text = f"{plain(line['amount'])} {line['currency']} rounded once, {mode}"
    for shown in (step for step in line["operations"] if step["on"] == "shown"):
        others = f"with the other lines of the {shown['level']} to {json.loads(shown['numbers'])['digits']} decimals"
        text = f"{plain(line['amount'])} {line['currency']}; the sum {others}, {mode}, shared by the largest remainder"
    return Step("round", text, f"{plain(line['rounded_amount'])} {line['currency']}")
