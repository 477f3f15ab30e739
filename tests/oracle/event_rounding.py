"""Prices whose events are rounded one by one: what each event comes to behind those before it, rounded, then summed."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tests.oracle import chain, each_event
from tests.oracle.arithmetic import EXACT
from tests.oracle.counting import Counted, Numbers
from tests.oracle.quantities import NOTHING, converted, left_of
from tests.oracle.rounding import kind_of, to

Parts = list[tuple[Decimal, Decimal]]  # of each event: what is priced of it, and its amount


def amount_of(price: Any, numbers: Numbers, counted: Sequence[Counted]) -> Decimal:
    """The sum of the rounded events of a line. An event of which nothing is priced is not rounded."""
    ordered = sorted(counted, key=lambda event: (event.time, event.place))
    result = NOTHING
    for quantity, amount in MODELS[price["model"]](numbers, ordered):
        result = EXACT.add(result, to(amount, kind_of(price)) if quantity else amount)
    return result


def _tiered(mode: str) -> Callable[[Numbers, Sequence[Counted]], Parts]:
    """Events fill the tiers of the line one behind the other, or are all in the tier of the whole line."""

    def parts(numbers: Numbers, counted: Sequence[Counted]) -> Parts:
        made, used, filled = [], NOTHING, NOTHING
        priced = []
        for event in counted:
            quantity = converted(event.quantity, numbers.get("convert"))
            priced.append(left_of(quantity, numbers.get("free_units"), used))
            used += max(quantity, NOTHING)
        as_chain = {**numbers, "chain_tiers": [_tier(tier) for tier in numbers["tiers"]], "tier_mode": mode}
        for quantity in priced:
            row = chain.Row((None, "{}"), None, None, {}, 1, quantity)
            made.append((quantity, chain.charged(as_chain, row, filled, sum(priced, NOTHING))))
            filled += max(quantity, NOTHING)
        return made

    return parts


def _tier(tier: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**tier, "flat_amount": tier.get("flat_amount", tier.get("amount", 0))}


MODELS: dict[str, Callable[[Numbers, Sequence[Counted]], Parts]] = {
    "per_unit": each_event.per_unit_parts,
    "percentage": each_event.percentage_parts,
    "basis_points": each_event.percentage_parts,
    "graduated": _tiered("graduated"),
    "graduated_percentage": _tiered("graduated"),
    "volume": _tiered("volume"),
    "volume_percentage": _tiered("volume"),
    "stairstep": _tiered("volume"),
}
"""The models that know such a rounding here."""
