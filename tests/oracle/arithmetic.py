"""Exact decimals, and the two roundings that there are: at the 21st decimal, and to the minor unit."""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Context, Decimal
from typing import Any

EXACT = Context(prec=120)
MINOR_DIGITS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4}
MODES = {"half_away_from_zero": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "up": ROUND_UP, "down": ROUND_DOWN}
LIMIT = Decimal(1).scaleb(-21)


def divided(amount: Decimal, divisor: Any) -> Decimal:
    """To 21 decimals, half even, where the quotient has more: the engine's one stated limit."""
    return EXACT.divide(amount, Decimal(divisor)).quantize(LIMIT, rounding=ROUND_HALF_EVEN, context=EXACT)


def units(quantity: Decimal, unit_amount: Any, per: Any = 1) -> Decimal:
    return divided(EXACT.multiply(quantity, Decimal(unit_amount)), per)


def percent_of(value: Decimal, percent: Any) -> Decimal:
    return units(value, percent, 100)


def rounded(amount: Decimal, currency: str, mode: str | None) -> Decimal:
    step = Decimal(1).scaleb(-MINOR_DIGITS[currency])
    return amount.quantize(step, rounding=MODES[mode or "half_away_from_zero"], context=EXACT)
