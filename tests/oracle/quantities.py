"""From the counted quantity to the priced one: units of another kind, packages, and what is free."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from tests.oracle.arithmetic import EXACT, divided

NOTHING = Decimal(0)


def converted(quantity: Decimal, convert: Mapping[str, Any] | None) -> Decimal:
    if convert is None:
        return quantity
    times, by = Decimal(convert.get("multiply_by", 1)), Decimal(convert.get("divide_by", 1))
    return pieces(EXACT.multiply(quantity, times), by, convert.get("rounding", "exact"))


def pieces(quantity: Decimal, size: Decimal, rounding: str) -> Decimal:
    """How many pieces of a size a quantity is; none of one below zero, unless they are counted exactly."""
    if rounding == "exact":
        return divided(quantity, size)
    if quantity <= 0:
        return NOTHING
    mode = {"up": ROUND_CEILING, "down": ROUND_FLOOR}[rounding]
    return EXACT.divide(quantity, size).to_integral_value(mode)


def left_of(quantity: Decimal, free: Any, used: Decimal = NOTHING) -> Decimal:
    """What is not free of a quantity, where so many units were used before."""
    if free is None or quantity <= 0:
        return quantity
    return EXACT.subtract(quantity, min(max(Decimal(free) - used, NOTHING), quantity))
