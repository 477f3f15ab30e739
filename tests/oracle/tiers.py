"""Prices by tiers, packages in tiers among them."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tests.oracle.arithmetic import EXACT, percent_of, units
from tests.oracle.counting import Counted, Numbers, total
from tests.oracle.quantities import NOTHING, converted, left_of, pieces

Tier = Mapping[str, Any]


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
