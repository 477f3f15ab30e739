"""Explain a charge line: its arithmetic, step by step, from the line alone, and in more words with its price book."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

from rating.core.about import NOTHING_ABOUT, WITHOUT_STEP, About, metered_how
from rating.core.money import plain
from rating.core.operator_words import TOGETHER, served_part, worded
from rating.core.schema import AMOUNT

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One step of the arithmetic: what was done, in words and numbers, and what came out.

    `before` and `after` are the same numbers for programs, in `unit`: a currency, or null for quantities. They are null
    where a step has none; of a tier, `before` is its quantity, and the line's `tiers` have the rest.
    """

    name: str  # meter | rate | an operator of the chain | tier | sum | round | the kind of an adjustment or credit
    text: str
    result: str
    unit: str | None = None
    before: str | None = None
    after: str | None = None


def explain(line: Line, about: About = NOTHING_ABOUT) -> list[Step]:
    """The steps from the metered quantity to the rounded amount of `line` (a CHARGE_LINE row as a mapping).

    Every number of the line is in the steps, and the steps can be done again by hand.
    """
    if line["kind"] == "credit":
        return [*_crediting(line)]
    if line["kind"] == "adjustment":
        return [_restating(line), _rounding(line)]
    if line["adjustment"] is not None:
        return [_adjusting(line, about), _rounding(line)]
    operated = _operated(line, about)
    before = [_operator(line, *it, about) for it in operated if it[0]["on"] == "quantity"]
    after = [_operator(line, *it, about) for it in operated if it[0]["on"] == "amount"]
    tiers = [_tier(line, tier, about) for tier in line["tiers"]]
    return [*_metering(line, about), _rate(line, about), *before, *tiers, *_sum(line), *after, _rounding(line)]


def counted(count: int, what: str = "event") -> str:
    """1 event, 2 events."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _operated(line: Line, about: About) -> list[tuple[Mapping[str, Any], Any]]:
    """The operations that say something, with their steps of the chain where that is known."""
    chain = about.chain
    steps = [] if chain is None else [it for it in (*chain.before, *chain.after) if it.operator != "credit"]
    rest, found = iter(steps), []
    for it in line["operations"]:
        step = None if it["operator"] in WITHOUT_STEP else next(rest, None)
        changes = it["before"] != it["after"] or it["numbers"] not in ("{}", None)
        is_used_up = it["operator"] == "allow" and about.allowance is not None
        if it["operator"] == "tier":
            changes = not _has_one_tier(line)
        if changes or is_used_up or it["operator"] == "partition":
            found.append((it, step))
    return found


def _has_one_tier(line: Line) -> bool:
    """Whether nothing depends on tiers."""
    (first, *others) = line["tiers"]
    return not others and first["tier"] == 0 and first["to_quantity"] is None and not first["flat_amount"]


def _priced(amount: Decimal, line: Line) -> str:
    return f"{plain(amount)} {line['currency']}"


def _adjusting(line: Line, about: About) -> Step:
    (operation,) = line["operations"]
    owner = f"price {line['price']}" if line["price"] is not None else f"plan {line['plan']}"
    if operation["level"] == "subscription":
        owner = f"all items of subscription {line['subscription']}"
    lines = {"all": "lines", "usage": "lines of usage", "fees": "fees"}[about.counted]
    said = _ADJUSTED[line["kind"]](line, operation["before"], json.loads(operation["numbers"]))
    text = f"{said}; the rounded {lines} of {owner} come to {_priced(operation['before'], line)}"
    result = _priced(line["amount"], line)
    return Step(line["kind"], text, result, line["currency"], plain(operation["before"]), plain(operation["after"]))


def _restating(line: Line) -> Step:
    (operation,) = line["operations"]
    numbers = json.loads(operation["numbers"])
    now, billed = (_priced(operation[name], line) for name in ("after", "before"))
    text = f"line {line['adjusts']} is {now} as it is known now, and {billed} of it was billed"
    if numbers["quantity"] != numbers["billed_quantity"]:
        text += f": a quantity of {numbers['quantity']} instead of {numbers['billed_quantity']}"
    return Step(
        "adjustment",
        text,
        _priced(line["amount"], line),
        line["currency"],
        plain(operation["before"]),
        plain(operation["after"]),
    )


def _discounted(line: Line, charged: Decimal, numbers: Mapping[str, str]) -> str:
    size = " and ".join(
        f"{number} %" if name == "percent" else f"{number} {line['currency']}" for name, number in numbers.items()
    )
    capped = ", but no more than there is" if charged + line["amount"] == 0 and line["kind"] == "discount" else ""
    return f"{line['kind']} of {size}{capped}"


def _committed(line: Line, charged: Decimal, numbers: Mapping[str, str]) -> str:
    promised = _for_period(numbers)
    if charged <= promised:
        return f"what is missing to the commitment of {_priced(promised, line)}{_part_of(numbers)}"
    above, times = plain(charged - promised), numbers["overage_multiplier"]
    over = f"{above} {line['currency']} above the commitment of {_priced(promised, line)}{_part_of(numbers)}"
    return f"{over} cost {times} times as much: {above} x ({times} - 1)"


def _limited(line: Line, charged: Decimal, numbers: Mapping[str, str]) -> str:
    what = {"minimum": "missing to", "maximum": "above"}[line["kind"]]
    return f"what is {what} the {line['kind']} of {_priced(_for_period(numbers), line)}{_part_of(numbers)}"


def _for_period(numbers: Mapping[str, str]) -> Decimal:
    """The amount of an adjustment for the part of the period that is served."""
    amount = Decimal(numbers["amount"])
    if "by" not in numbers:
        return amount
    with localcontext(prec=60):
        part = amount * Decimal(numbers["served"]) / Decimal(numbers["whole"])
        return part.quantize(Decimal(1).scaleb(-AMOUNT.scale))


def _part_of(numbers: Mapping[str, str]) -> str:
    return f" ({numbers['amount']} x {served_part(numbers)})" if "by" in numbers else ""


_ADJUSTED = {
    "minimum": _limited,
    "maximum": _limited,
    "discount": _discounted,
    "surcharge": _discounted,
    "commitment": _committed,
}


def _crediting(line: Line) -> Iterator[Step]:
    (operation,) = line["operations"]
    numbers, unit = json.loads(operation["numbers"]), line["currency"]
    owner = f"price {line['price']}" if line["price"] is not None else f"plan {line['plan']}"
    before, after = plain(operation["before"]), plain(operation["after"])
    text = (
        f"grant {line['grant']} pays {plain(-line['amount'])} of the {before} {unit} to pay of line {line['pays']} "
        f"({owner}): {numbers['balance_before']} {unit} in the grant before, {numbers['balance_after']} {unit} after"
    )
    yield Step("credit", text, _priced(line["amount"], line), unit, before, after)
    text = f"{before} {unit} to pay before and {after} {unit} after, each rounded {_mode(line)}: the difference"
    rounded = plain(line["rounded_amount"])
    yield Step("round", text, f"{rounded} {unit}", unit, plain(line["amount"]), rounded)


def _metering(line: Line, about: About) -> list[Step]:
    if line["kind"] == "fee":
        return []
    values = json.loads(line["group"]).items()
    where = "".join(f", {name} {'absent' if value is None else value}" for name, value in values)
    how = f" ({metered_how(about.meter)})" if about.meter is not None else ""
    text = f"{counted(line['events'])} of {line['customer']} by meter {line['meter']}{how}{where}, in {line['period']}"
    return [Step("meter", text, plain(line["quantity"]), None, None, plain(line["quantity"]))]


def _rate(line: Line, about: About) -> Step:
    since = _instant(line["effective_from"]) if line["effective_from"] else "the beginning"
    when = f": {about.band}" if about.band is not None else ""
    band = f", band {line['window']}{when}" if line["window"] is not None else ""
    text = f"price {line['price']} ({line['model']}), version {line['price_version']} in force since {since}"
    return Step("rate", text + band + _shared_tiers(about), line["currency"])


def _shared_tiers(about: About) -> str:
    if about.chain is None or about.chain.tier_together not in TOGETHER:
        return ""
    together = TOGETHER[about.chain.tier_together]
    if about.tier_mode == "volume":
        return f"; the sum of {together} chooses the tier"
    return f"; {together} fill its tiers, one after the other"


def _instant(at: datetime) -> str:
    text = at.isoformat().replace("+00:00", "Z")
    return text.removesuffix("T00:00:00Z")


def _operator(line: Line, operation: Mapping[str, Any], step: Any, about: About) -> Step:
    unit = line["currency"] if operation["on"] == "amount" else None
    before, after = plain(operation["before"]), plain(operation["after"])
    text = worded(operation, unit or "", step, about.allowance)
    return Step(operation["operator"], text, after + (f" {unit}" if unit else ""), unit, before, after)


def _tier(line: Line, tier: Mapping[str, Any], about: About) -> Step:
    parts = [part for part in (_units(tier), _percent(tier), _flat(tier)) if part]
    if tier["flat_count"] < 0 and tier["quantity"] == 0:
        parts = [f"less {plain(tier['flat_amount'])} that was charged before"]
    text = f"{_range(line, tier, about)}: {' + '.join(parts) or plain(tier['quantity']) + ' x 0'}"
    amount = plain(tier["amount"])
    return Step("tier", text, f"{amount} {line['currency']}", line["currency"], plain(tier["quantity"]), amount)


def _range(line: Line, tier: Mapping[str, Any], about: About) -> str:
    if line["kind"] == "fee":
        return "fee, once" if line["model"] == "one_time" else "fee for the period"
    if tier["tier"] == 0 and tier["to_quantity"] is None:
        return "all units"
    upper = f" up to {plain(tier['to_quantity'])}" if tier["to_quantity"] is not None else ""
    units = "all units of a quantity" if about.tier_mode == "volume" else "units"
    measured = f"events with {line['size']}" if line["size"] is not None else units
    return f"tier {tier['tier'] + 1}, {measured} above {plain(tier['from_quantity'])}{upper}"


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
    if count == "0":
        return ""
    return plain(tier["flat_amount"]) if count == "1" else f"{count} x {plain(tier['flat_amount'])}"


def _sum(line: Line) -> list[Step]:
    total = sum((t["amount"] for t in line["tiers"]), Decimal(0))
    changed = [step["before"] for step in line["operations"] if step["on"] == "amount"]
    assert total == (changed[0] if changed else line["amount"]), "tiers must sum to their line"
    if len(line["tiers"]) < 2:
        return []
    text = " + ".join(plain(t["amount"]) for t in line["tiers"])
    return [Step("sum", text, _priced(total, line), line["currency"], None, plain(total))]


def _mode(line: Line) -> str:
    return str(line["rounding"].replace("_", " "))


def _rounding(line: Line) -> Step:
    text = f"{_priced(line['amount'], line)} rounded once, {_mode(line)}"
    for shown in (step for step in line["operations"] if step["on"] == "shown"):
        others = f"the sum of the lines of the {shown['level']} to {json.loads(shown['numbers'])['digits']} decimals"
        text = (
            f"{_priced(line['amount'], line)}; {others}, {_mode(line)}, and each line so that they add up to it "
            "(largest remainder)"
        )
    rounded = plain(line["rounded_amount"])
    return Step("round", text, f"{rounded} {line['currency']}", line["currency"], plain(line["amount"]), rounded)
