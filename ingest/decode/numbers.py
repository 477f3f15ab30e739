"""One number's text -> the text of the same number with at most 9 decimals, or the reason why not.

Decided on the text alone: casts in Polars and DuckDB round silently and accept '1_0', `Decimal` accepts 'NaN', and
`int(Decimal("1E+400000"))` takes seconds (RELIABILITY facts 6 and 7).
"""

import re
from dataclasses import dataclass

PLAIN_NUMBER = r"^-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,9})?$"  # what the cast to QUANTITY reads exactly
DECIMALS_MAX = 9
WHOLE_DIGITS_MAX = 16  # 10^15 has 16

_JSON_NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)
_EXPONENT_DIGITS_MAX = 6


@dataclass(frozen=True, slots=True)
class Problem:
    """The first rule that an event breaks: a stable code, and a sentence with the value and the cure."""

    code: str
    message: str


def exact_number(name: str, text: str) -> str | Problem:
    """The number `text` (JSON's grammar) in plain digits; `name` is for the message."""
    match = _JSON_NUMBER.fullmatch(text)
    if match is None:
        return Problem("not_a_number", f"{name} is {shown(text)}; send a JSON number, or its digits as a string")
    sign, whole, fraction, exponent = match.groups(default="")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0"
    stripped = digits.rstrip("0")
    if len(exponent.lstrip("+-0")) > _EXPONENT_DIGITS_MAX:
        tiny = exponent.startswith("-")
        return _too_many_decimals(name, text) if tiny else number_limit_problem(name, text)
    power = int(exponent or 0) - len(fraction) + len(digits) - len(stripped)  # the value is stripped * 10^power
    if len(stripped) + power > WHOLE_DIGITS_MAX:
        return number_limit_problem(name, text)
    if power < -DECIMALS_MAX:
        return _too_many_decimals(name, text)
    return sign + _plain(stripped, power)


def number_limit_problem(name: str, text: str) -> Problem:
    """The problem of a number beyond 10^15."""
    return Problem("number_out_of_range", f"{name} is {shown(text)}; send a number between -10^15 and 10^15")


def shown(text: str) -> str:
    """A value as a message shows it: quoted, and cut when it is long."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _too_many_decimals(name: str, text: str) -> Problem:
    return Problem(
        "too_many_decimals", f"{name} is {shown(text)}; send at most {DECIMALS_MAX} decimals, it is never rounded here"
    )


def _plain(digits: str, power: int) -> str:
    if power >= 0:
        return digits + "0" * power
    padded = digits.rjust(1 - power, "0")
    return f"{padded[:power]}.{padded[power:]}"
