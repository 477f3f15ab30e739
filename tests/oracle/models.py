"""What the events of one line come to, model by model: plain loops over decimals."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from tests.oracle import each_event, tiers
from tests.oracle.arithmetic import EXACT, units
from tests.oracle.counting import Counted, Numbers, total
from tests.oracle.quantities import left_of, pieces

__all__ = ["Counted", "Numbers", "amount_of", "total"]


def amount_of(model: str, numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    return MODELS[model](numbers, sorted(counted, key=lambda event: (event.time, event.place)))


def _flat(numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    amount = Decimal(numbers["amount"])
    return EXACT.multiply(total(counted), amount) if counted else amount  # of each seat, where they are counted


def _package(numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    left, size = left_of(total(counted), numbers.get("free_units")), Decimal(numbers["package_size"])
    if numbers.get("rounding") == "exact":
        return units(left, numbers["amount"], size)
    return EXACT.multiply(pieces(left, size, numbers.get("rounding", "up")), Decimal(numbers["amount"]))


def _per_request(numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    per_tier: dict[int, list[Counted]] = {}
    for event in counted:
        tier = tiers.tier_of(numbers["tiers"], Decimal(event.data.get(numbers["size"]) or 0))
        per_tier.setdefault(tier, []).append(event)
    amount = Decimal(0)
    for index, events in per_tier.items():
        numbers_of_tier = numbers["tiers"][index]
        amount += units(total(events), numbers_of_tier.get("unit_amount", 0), numbers.get("per", 1))
        amount += len(events) * Decimal(numbers_of_tier.get("flat_amount", 0))
    return amount


MODELS: dict[str, Callable[[Numbers, Sequence[Counted]], Decimal]] = {
    "flat": _flat,
    "one_time": _flat,
    "per_unit": each_event.per_unit,
    "package": _package,
    "tiered_package": tiers.tiered_package,
    "per_request": _per_request,
    "volume": tiers.volume,
    "graduated": tiers.graduated,
    "stairstep": tiers.volume,
    "graduated_percentage": tiers.graduated,
    "volume_percentage": tiers.volume,
    "percentage": each_event.percentage,
    "basis_points": each_event.percentage,
    "dynamic": each_event.dynamic,
}
