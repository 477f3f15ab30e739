"""Prices that look at each event, in the order of time."""

from collections.abc import Sequence
from decimal import Decimal

from tests.oracle.arithmetic import EXACT, percent_of, units
from tests.oracle.counting import Counted, Numbers, total
from tests.oracle.quantities import NOTHING, converted, left_of

Parts = list[tuple[Decimal, Decimal]]  # of each event: what is priced of it, and its amount
LIMITS = ("minimum_per_event", "maximum_per_event")


def per_unit(numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    is_limited = any(numbers.get(name) is not None for name in LIMITS)
    groups = [[event] for event in counted] if is_limited else [counted]
    return sum((amount for _, amount in _per_unit(numbers, groups)), NOTHING)


def per_unit_parts(numbers: Numbers, counted: Sequence[Counted]) -> Parts:
    return _per_unit(numbers, [[event] for event in counted])


def _per_unit(numbers: Numbers, groups: Sequence[Sequence[Counted]]) -> Parts:
    made, used = [], NOTHING
    for group in groups:
        quantity = converted(total(group), numbers.get("convert"))
        left = left_of(quantity, numbers.get("free_units"), used)
        used = EXACT.add(used, max(quantity, NOTHING))
        charge = units(left, numbers["unit_amount"], numbers.get("per", 1))
        made.append((left, limited(numbers, charge) if left else charge))
    return made


def dynamic(numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    is_limited = any(numbers.get(name) is not None for name in LIMITS)
    multiplier, per = numbers.get("multiplier", 1), numbers.get("per", 1)
    brought = [_brought(numbers, event) for event in counted]
    if not is_limited:
        return units(sum(brought, NOTHING), multiplier, per)
    return sum((limited(numbers, units(value, multiplier, per)) for value in brought if value), NOTHING)


def _brought(numbers: Numbers, event: Counted) -> Decimal:
    if "amount_property" in numbers:
        return Decimal(event.data.get(numbers["amount_property"]) or 0)
    return EXACT.multiply(event.quantity, Decimal(event.data.get(numbers["unit_amount_property"]) or 0))


def percentage(numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    """Of the whole line, unless something is said of each event."""
    if not any(numbers.get(name) is not None for name in ("fixed_amount", "free_events", *LIMITS)):
        return percent_of(left_of(total(counted), numbers.get("free_units")), _percent(numbers))
    return sum((amount for _, amount in percentage_parts(numbers, counted)), NOTHING)


def percentage_parts(numbers: Numbers, counted: Sequence[Counted]) -> Parts:
    percent = _percent(numbers)
    made, used, seen = [], NOTHING, 0
    for event in counted:
        value = event.quantity
        if value > 0:
            value = EXACT.subtract(value, _free(numbers, value, used, seen))
            used, seen = EXACT.add(used, event.quantity), seen + 1
        charge = percent_of(value, percent)
        if value > 0:
            charge += Decimal(numbers.get("fixed_amount") or 0)
        made.append((value, limited(numbers, charge) if value else charge))
    return made


def _percent(numbers: Numbers) -> Decimal:
    return Decimal(numbers["percent"]) if "percent" in numbers else Decimal(numbers["basis_points"]) / 100


def _free(numbers: Numbers, value: Decimal, used: Decimal, seen: int) -> Decimal:
    """How much of the value of an event is free, behind `seen` others with `used` in them."""
    events, free_units = numbers.get("free_events"), numbers.get("free_units")
    by_events = value if events is not None and seen < events else NOTHING
    by_units = min(max(Decimal(free_units or 0) - used, NOTHING), value)
    if events is not None and free_units is not None and numbers.get("free_while") != "either":
        return min(by_events, by_units)
    return max(by_events, by_units)


def limited(numbers: Numbers, charge: Decimal) -> Decimal:
    charge = max(charge, Decimal(numbers.get("minimum_per_event", charge)))
    return min(charge, Decimal(numbers.get("maximum_per_event", charge)))
