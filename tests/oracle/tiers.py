"""Prices by tiers, packages in tiers among them."""

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tests.oracle.arithmetic import EXACT, divided, percent_of, units
from tests.oracle.counting import Counted, Numbers, total
from tests.oracle.quantities import NOTHING, converted, left_of, pieces

Tier = Mapping[str, Any]
Part = Callable[[str], tuple[int, int]]
"""What is served, and the whole, by a way of counting."""


def tier_of(tiers: Any, quantity: Decimal) -> int:
    return next(i for i, t in enumerate(tiers) if t.get("up_to") is None or quantity <= Decimal(t["up_to"]))


def volume(numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    return in_one_tier(numbers, priced(numbers, counted))


def graduated(numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    return tier_by_tier(numbers, priced(numbers, counted))


def tiered_package(numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    left = left_of(total(counted), numbers.get("free_units"))
    packages = pieces(left, Decimal(numbers["package_size"]), numbers.get("rounding", "up"))
    by_tiers = in_one_tier if numbers.get("mode") == "volume" else tier_by_tier
    return by_tiers(numbers, packages)


def priced(numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    return left_of(converted(total(counted), numbers.get("convert")), numbers.get("free_units"))


def in_one_tier(numbers: Numbers, quantity: Decimal) -> Decimal:
    tier = numbers["tiers"][tier_of(numbers["tiers"], quantity)]
    flat = _flat(tier) if quantity > 0 or numbers.get("flat_when_unused") else NOTHING
    return _by_quantity(tier, quantity, numbers) + flat


def tier_by_tier(numbers: Numbers, quantity: Decimal) -> Decimal:
    amount, lower = NOTHING, NOTHING
    for index, tier in enumerate(numbers["tiers"]):
        upper = quantity if tier.get("up_to") is None else min(quantity, Decimal(tier["up_to"]))
        if index == 0 or quantity > lower:
            part = EXACT.subtract(upper, lower if index else NOTHING)
            amount += _by_quantity(tier, part, numbers)
            amount += _flat(tier) if part > 0 or (index == 0 and numbers.get("flat_when_unused")) else NOTHING
        lower = upper
    return amount


def _by_quantity(tier: Tier, quantity: Decimal, numbers: Numbers) -> Decimal:
    if "percent" in tier:
        return percent_of(quantity, tier["percent"])
    return units(quantity, tier.get("unit_amount", 0), numbers.get("per", 1))


def _flat(tier: Tier) -> Decimal:
    return Decimal(tier.get("flat_amount", tier.get("amount", 0)))


def in_one_tier_behind(numbers: Numbers, quantity: Decimal, earlier: Decimal) -> Decimal:
    """What comes behind `earlier` usage: both choose the tier, and the flat amount of that of the earlier is paid."""
    tier = numbers["tiers"][tier_of(numbers["tiers"], EXACT.add(earlier, quantity))]
    paid = _flat(numbers["tiers"][tier_of(numbers["tiers"], earlier)]) if earlier > 0 else NOTHING
    return _by_quantity(tier, quantity, numbers) + (_flat(tier) - paid if quantity > 0 else NOTHING)


def of_part(price: Any, numbers: Numbers, part: Part) -> Numbers:
    """The numbers for the served part of a month, where the price says that they are prorated."""
    if (by := price.get("prorate_tiers", price.get("prorate"))) is None or "amount" in numbers:
        return numbers
    made = {name: bound_of_part(numbers[name], part(by)) for name in ("included", "free_units") if name in numbers}
    ladders = {name: [_tier_of_part(tier, part(by)) for tier in numbers.get(name, [])] for name in _LADDERS}
    return {**numbers, **made, **ladders, "before": [_step_of_part(step, part) for step in numbers.get("before", [])]}


_LADDERS = ("tiers", "chain_tiers")


def _step_of_part(step: Mapping[str, Any], part: Part) -> Mapping[str, Any]:
    return {**step, "units": bound_of_part(step["units"], part(step["prorate"]))} if "prorate" in step else step


def _tier_of_part(tier: Tier, part: tuple[int, int]) -> Tier:
    made = dict(tier)
    if tier.get("up_to") is not None:
        made["up_to"] = bound_of_part(tier["up_to"], part)
    for name in ("flat_amount", "amount"):
        if name in tier:
            made[name] = divided(Decimal(tier[name]) * part[0], part[1])
    return made


def bound_of_part(bound: Any, part: tuple[int, int]) -> Decimal:
    """A quantity x served / whole, half even at the 9th decimal."""
    exact = EXACT.divide(Decimal(bound) * part[0], Decimal(part[1]))
    return exact.quantize(Decimal("1e-9"), rounding=ROUND_HALF_EVEN, context=EXACT)
