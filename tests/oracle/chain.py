"""A chain that is written out, as loops: rows of a level, step by step."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from tests.oracle.arithmetic import EXACT, MODES, divided, percent_of, units
from tests.oracle.counting import Counted, Numbers

NOTHING = Decimal(0)
LineKey = tuple[str | None, str]  # meter, group


def group_of(key: LineKey) -> dict[str, Any]:
    """The dimensions of a line."""
    return dict(json.loads(key[1]))


@dataclass
class Row:
    """What is priced at once: an event, a day or a line."""

    key: LineKey
    day: Any
    at: Any
    data: Mapping[str, Any]
    events: int
    quantity: Decimal
    size: Any = None
    amount: Decimal = NOTHING
    used: Decimal = NOTHING


def amounts(
    numbers: Numbers, lines: Mapping[LineKey, Sequence[Counted]], day_of: Callable[[Counted], Any]
) -> dict[LineKey, Decimal]:
    """What each line comes to."""
    finest = _finest(numbers)
    rows = [
        Row(key, day_of(event), (event.time, event.place), event.data, 1, event.quantity)
        for key, counted in lines.items()
        for event in counted
    ] or []
    rows += [Row(key, None, None, {}, 0, NOTHING) for key, counted in lines.items() if not counted]
    if numbers.get("size"):
        for row in rows:
            row.size = _size(numbers, Decimal(row.data.get(numbers["size"]) or 0))
    rows = _merged(rows, finest)
    for step in numbers.get("before", []):
        rows = _merged(rows, step.get("level", "line"))
        _before(step, rows)
    rows = _merged(rows, numbers.get("tier_level", "line"))
    _tiers(numbers, rows)
    for row in rows:
        row.used = row.quantity
    for step in numbers.get("after", []):
        rows = _merged(rows, step.get("level", "line"), with_size=False)
        _after(step, rows)
    return {key: sum((row.amount for row in rows if row.key == key), NOTHING) for key in lines}


def _finest(numbers: Numbers) -> str:
    levels = {step.get("level", "line") for name in ("before", "after") for step in numbers.get(name, [])}
    levels.add(numbers.get("tier_level", "line"))
    return next(level for level in ("event", "day", "line") if level in levels)


def _merged(rows: Sequence[Row], level: str, with_size: bool = True) -> list[Row]:
    if level == "event":
        return list(rows)
    found: dict[Any, Row] = {}
    for row in rows:
        day = row.day if level == "day" else None
        place = (row.key, day, row.size if with_size else None)
        if place in found:
            made = found[place]
            made.quantity = EXACT.add(made.quantity, row.quantity)
            made.amount = EXACT.add(made.amount, row.amount)
            made.used = EXACT.add(made.used, row.used)
            made.events += row.events
        else:
            found[place] = Row(row.key, day, day, {}, row.events, row.quantity, row.size, row.amount, row.used)
    return list(found.values())


def _shares(together: str, rows: Sequence[Row]) -> list[list[Row]]:
    """The rows that share something, each set in its order."""
    names: dict[str, Callable[[Row], Any]] = {
        "line": lambda row: row.key,
        "group": lambda row: row.key[1],
        "meter": lambda row: row.key[0],
        "meter_by_day": lambda row: (row.key[0], row.day),
        "price": lambda row: None,
        "price_by_day": lambda row: row.day,
    }
    sets: dict[Any, list[Row]] = {}
    for row in rows:
        sets.setdefault(id(row) if together == "row" else names[together](row), []).append(row)
    return [sorted(own, key=_order) for own in sets.values()]


def _order(row: Row) -> Any:
    """By time, then as lines are told apart."""
    return (row.at is not None, row.at), row.key[1], str(row.key[0]), row.size or 0


def _before(step: Any, rows: Sequence[Row]) -> None:
    if step["operator"] == "weight":
        for row in rows:
            row.quantity = _weighted(step, row)
        return
    for own in _shares(step.get("together", "price" if step["operator"] == "partition" else "row"), rows):
        if step["operator"] == "partition":
            largest = max(own, key=lambda row: row.quantity)
            for row in own:
                row.quantity = row.quantity if row is largest else NOTHING
        else:
            _allow(step, own)


def _allow(step: Any, rows: Sequence[Row]) -> None:
    used, seen = NOTHING, 0
    for row in rows:
        quantity = max(row.quantity, NOTHING)
        units_left = max(Decimal(step["units"]) - used, NOTHING) if "units" in step else None
        in_count = seen < step["count"] if "count" in step else None
        in_units = quantity if units_left is None else min(units_left, quantity)
        if in_count is None:
            free = in_units if units_left is not None else NOTHING
        elif step.get("either"):
            free = quantity if in_count else (in_units if units_left is not None else NOTHING)
        else:
            free = in_units if in_count else NOTHING
        used, seen = used + quantity, seen + (quantity > 0)
        row.quantity = EXACT.subtract(row.quantity, free)


def _weighted(step: Any, row: Row) -> Decimal:
    quantity = row.quantity
    if "property" in step:
        brought = Decimal(row.data.get(step["property"]) or 0)
        quantity = brought if step.get("instead") else EXACT.multiply(quantity, brought)
    quantity = EXACT.multiply(quantity, Decimal(step.get("factor", 1)))
    size = Decimal(step.get("divide_by", 1))
    if "rounding" in step:
        mode = {"up": ROUND_CEILING, "down": ROUND_FLOOR}[step["rounding"]]
        quantity = EXACT.divide(quantity, size).to_integral_value(mode) if quantity > 0 else NOTHING
    else:
        quantity = divided(quantity, size)
    if "first" in step or "increment" in step:
        quantity = _stepped(step, quantity)
    if quantity > 0:
        quantity = max(quantity, Decimal(step.get("minimum", quantity)))
        quantity = min(quantity, Decimal(step.get("maximum", quantity)))
    return quantity


def _stepped(step: Any, quantity: Decimal) -> Decimal:
    if quantity <= 0:
        return NOTHING
    first = Decimal(step.get("first", 0))
    beyond = max(quantity - first, NOTHING)
    if "increment" in step:
        increment = Decimal(step["increment"])
        beyond = EXACT.divide(beyond, increment).to_integral_value(ROUND_CEILING) * increment
    return first + beyond


def _size(numbers: Numbers, size: Decimal) -> int:
    return _tier_of(numbers["chain_tiers"], size)


def _tier_of(tiers: Any, quantity: Decimal) -> int:
    return next(i for i, t in enumerate(tiers) if t.get("up_to") is None or quantity <= Decimal(t["up_to"]))


def _tiers(numbers: Numbers, rows: Sequence[Row]) -> None:
    for own in _shares(numbers.get("tier_together", "row"), rows):
        filled, everything = NOTHING, sum((row.quantity for row in own), NOTHING)
        for row in own:
            row.amount = charged(numbers, row, filled, everything)
            filled += max(row.quantity, NOTHING)


def charged(numbers: Numbers, row: Row, filled: Decimal, everything: Decimal = NOTHING) -> Decimal:
    """What a row comes to behind others that have filled its tiers; `everything` chooses the tier of a volume."""
    tiers, mode = numbers["chain_tiers"], numbers.get("tier_mode", "volume")
    if mode == "graduated":
        return _graduated(numbers, row.quantity, filled)
    if mode == "cliff":
        return _part(numbers, tiers[row.size], row.quantity, row.events)
    begins = row.quantity > 0 and filled == 0
    times = 1 if begins or numbers.get("flat_when_unused") else 0
    return _part(numbers, tiers[_tier_of(tiers, everything)], row.quantity, times)


def _graduated(numbers: Numbers, quantity: Decimal, filled: Decimal) -> Decimal:
    low, high = min(filled, filled + quantity), max(filled, filled + quantity)
    sign = -1 if quantity < 0 else 1
    amount, start = NOTHING, NOTHING
    for index, tier in enumerate(numbers["chain_tiers"]):
        end = high if tier.get("up_to") is None else Decimal(tier["up_to"])
        bottom = low if index == 0 else max(low, start)
        part = max(min(high, end) - bottom, NOTHING)
        entered = low <= start < high
        unused = numbers.get("flat_when_unused") and index == 0 and high <= 0 and filled == 0
        if part > 0 or unused or entered:
            amount += _part(numbers, tier, sign * part, sign if entered else 1 if unused else 0)
        start = end
    return amount


def _part(numbers: Numbers, tier: Any, quantity: Decimal, times: int) -> Decimal:
    flat = Decimal(tier.get("flat_amount", 0))
    if "flat_per" in tier:
        size = Decimal(tier["flat_per"])
        times = int((quantity / size).to_integral_value(ROUND_CEILING)) if quantity > 0 else 0
    by_unit = units(quantity, tier.get("unit_amount", 0), numbers.get("per", 1))
    return by_unit + flat * times + percent_of(quantity, tier.get("percent", 0))


def _after(step: Any, rows: Sequence[Row]) -> None:
    if step["operator"] == "partition":
        for own in _shares(step.get("together", "price"), rows):
            largest = max(own, key=lambda row: row.amount)
            for row in own:
                row.amount = row.amount if row is largest else NOTHING
        return
    for row in rows:
        if row.used != 0 or step.get("level", "line") == "line":
            row.amount = _changed(step, row.amount)


def _changed(step: Any, amount: Decimal) -> Decimal:
    if step["operator"] == "clamp":
        least = max(amount, Decimal(step.get("minimum", amount)))
        return _to_multiple(step, min(least, Decimal(step.get("maximum", least))))
    counted = max(amount - Decimal(step["above"]), NOTHING) if "above" in step else amount
    made = amount + percent_of(counted, step.get("percent", 0)) + Decimal(step.get("fixed", 0))
    return max(made, min(amount, NOTHING))


def _to_multiple(step: Any, amount: Decimal) -> Decimal:
    if "multiple" not in step:
        return amount
    multiple, mode = Decimal(step["multiple"]), MODES[step.get("rounding", "half_away_from_zero")]
    return EXACT.divide(amount, multiple).to_integral_value(mode) * multiple
