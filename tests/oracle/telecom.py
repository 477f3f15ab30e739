"""Calls: what each part of a call is charged, part after part; and the zone of a number, prefix by prefix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Any

from tests.oracle.arithmetic import EXACT, units
from tests.oracle.counting import Counted, Numbers

NOTHING = Decimal(0)
RATES = ("unit_amount", "tiers", "first_increment", "increment")
MODES = {"half_away_from_zero": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "up": ROUND_UP, "down": ROUND_DOWN}


def labelled(document: Any, event: Any) -> Any:
    """The event with the label of the longest prefix in each table."""
    data = dict(event["data"])
    for dimension, table in document.get("prefixes", {}).items():
        value = data.get(table["property"])
        found = [
            (len(p), name) for name, prefixes in table["labels"].items() for p in prefixes if str(value).startswith(p)
        ]
        if value is not None and found:
            data[dimension] = max(found)[1]
    return {**event, "data": data}


def numbers_in(version: Numbers, band: Numbers | None) -> Numbers:
    """Those of the band over those of the version; the band's rate leaves nothing of the version's."""
    if band is None:
        return version
    own = {"unit_amount", "tiers"} & band.keys()
    return {**{name: value for name, value in version.items() if not (own and name in RATES)}, **band}


@dataclass
class Part:
    """A part of a call, on the line `key`."""

    key: Any
    numbers: Numbers
    counted: Counted
    rate: Any  # in the order of rates
    begins: Decimal = NOTHING
    rated: Decimal = NOTHING
    left: Decimal = NOTHING
    amount: Decimal = NOTHING


def amounts(parts: Sequence[Part]) -> dict[Any, Decimal]:
    """What the parts of all calls of a price come to, by line."""
    calls: dict[int, list[Part]] = {}
    for part in sorted(parts, key=lambda it: it.counted.time):
        calls.setdefault(part.counted.place, []).append(part)
    for call in calls.values():
        _increment(call)
    _use_free(sorted(parts, key=lambda it: (it.counted.time, it.counted.place, it.rate)))
    for call in calls.values():
        _charge(call)
    result: dict[Any, Decimal] = {}
    for part in parts:
        result[part.key] = EXACT.add(result.get(part.key, NOTHING), part.amount)
    return result


def _increment(call: Sequence[Part]) -> None:
    reached: Decimal | None = None
    for part in call:
        begins = part.counted.begins
        part.begins = whole_increments(part.numbers, begins) if reached is None else reached
        until = whole_increments(part.numbers, EXACT.add(begins, part.counted.quantity))
        is_taken_off = part.counted.quantity < 0
        part.rated = part.counted.quantity if is_taken_off else max(EXACT.subtract(until, part.begins), NOTHING)
        reached = until if reached is None else max(reached, until)
        part.left = part.rated


def whole_increments(numbers: Numbers, quantity: Decimal) -> Decimal:
    """How far a call of this quantity is rated."""
    if quantity <= 0:
        return quantity
    place = NOTHING
    for end, _, increment in ranges(numbers):
        stop = quantity if end is None else min(quantity, end)
        if stop > place:
            step = EXACT.subtract(stop, place)
            if increment is not None:
                step = (step / increment).to_integral_value(ROUND_CEILING) * increment
            place = EXACT.add(place, step)
    return place


def ranges(numbers: Numbers) -> list[tuple[Decimal | None, Any, Decimal | None]]:
    """Up to where each rate is written to hold, the rate and its increment."""
    if numbers.get("tiers"):
        return [(_number(t.get("up_to")), t["unit_amount"], _number(t.get("increment"))) for t in numbers["tiers"]]
    first, rest = _number(numbers.get("first_increment")), _number(numbers.get("increment"))
    amount = numbers["unit_amount"]
    return [(first, amount, first), (None, amount, rest)] if first is not None else [(None, amount, rest)]


def _number(text: Any) -> Decimal | None:
    return None if text is None else Decimal(text)


def _use_free(parts: Sequence[Part]) -> None:
    used = NOTHING
    for part in parts:
        rated = max(part.rated, NOTHING)
        free = min(max(Decimal(part.numbers.get("free_units") or 0) - used, NOTHING), rated)
        used = EXACT.add(used, rated)
        part.left = EXACT.subtract(part.rated, free)


def _charge(call: Sequence[Part]) -> None:
    for part in call:
        part.amount = _by_tier(part)
    if any(part.left for part in call):
        whole = sum((part.amount for part in call), NOTHING)
        call[0].amount += _bounded(call[0].numbers, whole) - whole


def _by_tier(part: Part) -> Decimal:
    amount, place, end = NOTHING, NOTHING, EXACT.add(part.begins, part.left)
    if part.begins <= 0 < end:
        amount += Decimal(part.numbers.get("connect_fee") or 0)
    found = ranges(part.numbers)
    if part.left < 0:
        return units(part.left, found[0][1], part.numbers.get("per", 1))
    for up_to, unit_amount, _ in found:
        stop = None if up_to is None else max(place, whole_increments(part.numbers, up_to))
        inside = EXACT.subtract(end if stop is None else min(end, stop), max(part.begins, place))
        if inside > 0:
            amount += units(inside, unit_amount, part.numbers.get("per", 1))
        place = place if stop is None else stop
    return amount


def _bounded(numbers: Mapping[str, Any], amount: Decimal) -> Decimal:
    amount = max(amount, Decimal(numbers.get("minimum_per_event") or amount))
    amount = min(amount, Decimal(numbers.get("maximum_per_event") or amount))
    rounding = numbers.get("round_each")
    if rounding is None:
        return amount
    step = Decimal(1).scaleb(-rounding["decimals"])
    return EXACT.divide(amount, step).to_integral_value(MODES[rounding["mode"]]) * step
