"""The scalars of a catalog file: how each is read, what is refused with which cure, and its one canonical text.

Money and quantities are strings or whole numbers: a number with a point would have passed through a binary float in
most tools that read or write the file, so it is refused (promise 6 of the design: exact decimals).
"""

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Annotated, Any
from zoneinfo import available_timezones

import iso4217
from annotated_types import MinLen
from pydantic import AfterValidator, BeforeValidator, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from rating.catalog.problems import FloatLiteral, listed, show

AMOUNT_DECIMALS_MAX = 18
AMOUNT_LIMIT = Decimal(10) ** 12
QUANTITY_DECIMALS_MAX = 9
QUANTITY_LIMIT = Decimal(10) ** 18
PER_MAX = 10**15
KEY_CHARACTERS_MAX = 200
SINCE_EVER = datetime(1, 1, 1, tzinfo=UTC)

DECIMAL_PATTERN = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$"
PROPERTY_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
KEY_PATTERN = r"^[^\s*\x00-\x1f\x7f]+$"
TIME_PATTERN = r"^([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6}))?)?$"

_DECIMAL = re.compile(DECIMAL_PATTERN)
_PROPERTY = re.compile(PROPERTY_PATTERN, re.ASCII)
_KEY = re.compile(KEY_PATTERN)
_TIME = re.compile(TIME_PATTERN, re.ASCII)
_INSTANT = re.compile(
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})?)?$"
)


def refusal(message: str, cure: str) -> PydanticCustomError:
    """The error of a scalar reader; `problems_of` turns it into a Problem with the path and the value found."""
    return PydanticCustomError("catalog", "{message}", {"message": message, "cure": cure})


def decimal_text(value: Decimal) -> str:
    """The canonical text: no exponent, no trailing zero."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimal_reader(what: str, decimals_max: int, limit: Decimal) -> Callable[[object], Decimal]:
    """A reader of non-negative decimals below `limit`, exact to `decimals_max` decimals."""

    def read(value: object) -> Decimal:
        if isinstance(value, (FloatLiteral, float)):
            text = value.text if isinstance(value, FloatLiteral) else str(value)
            raise refusal(f"{what} must not be a floating-point number.", f'Write it as a string: "{text}".')
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise refusal(f"{what} must be a decimal number.", 'Write it as a string, such as "2.50".')
        text = str(value) if not isinstance(value, int) or abs(value) < 10**40 else "out of range"
        if text.startswith("-") and _DECIMAL.fullmatch(text[1:]):
            raise refusal(f"{what} must not be negative.", "Write zero or a positive number.")
        if len(text) > 80 or not _DECIMAL.fullmatch(text):
            raise refusal(
                f"{what} is not a plain decimal number.",
                'Write digits with at most one point, such as "2.50": no sign, exponent, separator or currency.',
            )
        return _within_limits(Decimal(text))

    def _within_limits(number: Decimal) -> Decimal:
        digits = decimal_text(number).partition(".")[2]
        if len(digits) > decimals_max:
            raise refusal(
                f"{what} has {len(digits)} decimals; at most {decimals_max} are exact.",
                f"Round it to {decimals_max} decimals, or state it for more units with `per`."
                if what == "an amount of money"
                else f"Round it to {decimals_max} decimals.",
            )
        if number >= limit:
            raise refusal(f"{what} must be below {limit:f}.", "Check the number and its unit.")
        return number

    return read


_read_amount = _decimal_reader("an amount of money", AMOUNT_DECIMALS_MAX, AMOUNT_LIMIT)
read_quantity = _decimal_reader("a quantity", QUANTITY_DECIMALS_MAX, QUANTITY_LIMIT)


def _read_positive_quantity(value: object) -> Decimal:
    quantity = read_quantity(value)
    if quantity == 0:
        raise refusal("this quantity must be more than zero.", "Write a positive number.")
    return quantity


def read_signed_quantity(value: object) -> Decimal:
    """A quantity that may be below zero."""
    if isinstance(value, str) and value.startswith("-"):
        return -read_quantity(value[1:])
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        return -read_quantity(-value)
    return read_quantity(value)


def read_signed_amount(value: object) -> Decimal:
    """An amount of money that may be below zero."""
    if isinstance(value, str) and value.startswith("-"):
        return -_read_amount(value[1:])
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        return -_read_amount(-value)
    return _read_amount(value)


def _read_per(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        plain = re.sub(r"[_, ]", "", value) if isinstance(value, str) else ""
        example = plain if plain.isascii() and plain.isdigit() else "1000000"
        raise refusal("`per` must be a whole number of units.", f"Write it in digits, without quotes: {example}.")
    if not 1 <= value <= PER_MAX:
        raise refusal(f"`per` must be from 1 to {PER_MAX}.", "Write how many units the unit amount buys.")
    return value


def _read_count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= PER_MAX:
        raise refusal("This must be a whole number, zero or more.", "Write how many, in digits and without quotes.")
    return value


def _read_instant(value: object) -> datetime | None:
    """An instant in UTC; a date is its midnight in UTC; null and year 1 are None: since ever."""
    if value is None:
        return None
    try:
        instant = _instant(value)
    except (ValueError, OverflowError):
        raise refusal(
            "this is not an instant of the calendar.", "Write a date or an instant such as 2026-01-01T00:00:00Z."
        ) from None
    if instant.tzinfo is None:
        cure = f"Add the zone: {instant.isoformat()}Z for UTC, or an offset such as +02:00."
        raise refusal("this time names no zone.", cure)
    if instant.year > 9998:
        raise refusal("this instant is too late.", "Write a year up to 9998.")
    return None if instant == SINCE_EVER else instant


def _instant(value: object) -> datetime:
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        value = datetime.fromisoformat(value.upper()) if len(value) > 10 else date.fromisoformat(value)
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError("not an instant")


def instant_text(instant: datetime) -> str:
    """The canonical text of an instant: `2026-01-01T00:00:00Z`, with microseconds where there are any."""
    return instant.replace(tzinfo=None).isoformat() + "Z"


def _read_time(value: object) -> time:
    """A time of the day, `HH:MM` or `HH:MM:SS`; `24:00` is the midnight that ends the day."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise refusal("this is not a time of the day.", 'Write hours and minutes as a string, such as "16:30".')
    hour, minute, second, fraction = match.groups(default="0")
    if (hour, int(minute), int(second), int(fraction)) == ("24", 0, 0, 0):
        return time(0)
    try:
        return time(int(hour), int(minute), int(second), int(fraction.ljust(6, "0")))
    except ValueError:
        raise refusal("there is no such time of the day.", 'Write a time from "00:00" to "24:00".') from None


def time_text(value: time) -> str:
    """The canonical text of a time of the day: no seconds where they are zero."""
    return value.isoformat("auto" if value.second or value.microsecond else "minutes")


@cache
def time_zones() -> frozenset[str]:
    """The names of the IANA database, as this machine has it."""
    return frozenset(available_timezones())


def _known_time_zone(value: str) -> str:
    if value not in time_zones():
        raise PydanticCustomError("unknown_time_zone", "this time zone is unknown")
    return value


def currency_digits(code: str) -> int | None:
    """The decimals of the currency's minor unit (ISO 4217): 2 for USD, 0 for JPY; None where there is none."""
    try:
        exponent = iso4217.Currency(code).exponent
    except ValueError:
        return None
    return int(exponent) if exponent is not None else None


def _known_currency(value: str) -> str:
    if currency_digits(value) is None:
        codes = [currency.code for currency in iso4217.Currency if currency.exponent is not None]
        meant = value.upper() if value.upper() in codes else None
        cure = f"Did you mean `{meant}`?" if meant else "Write a code of ISO 4217, such as USD, EUR or JPY."
        raise refusal("this is not a currency with a minor unit.", cure)
    return value


def _sound_key(value: str) -> str:
    if len(value) > KEY_CHARACTERS_MAX or not _KEY.fullmatch(value):
        raise refusal(
            "this key is empty, too long, or has a space, a control character or a `*` in it.",
            f"Use up to {KEY_CHARACTERS_MAX} letters, digits and marks such as - _ . : / @ instead.",
        )
    return value


def _sound_property(value: str) -> str:
    if not _PROPERTY.fullmatch(value):
        raise refusal(
            "this is not a name of a property.",
            "Use letters, digits and underscores, not starting with a digit, 63 at most.",
        )
    return value


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """A set of names, in the order of the file; a name given twice is refused."""
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise refusal(
            f"{listed(repeated[:5], 'and')} {'is' if len(repeated) == 1 else 'are'} listed twice.", "List each once."
        )
    return names


def decimal_schema(description: str) -> dict[str, Any]:
    spelled = [{"type": "string", "pattern": DECIMAL_PATTERN}, {"type": "integer", "minimum": 0}]
    return {"anyOf": spelled, "description": description}


_AS_DECIMAL_TEXT = PlainSerializer(decimal_text, return_type=str)

Amount = Annotated[
    Decimal,
    PlainValidator(_read_amount),
    _AS_DECIMAL_TEXT,
    WithJsonSchema(decimal_schema('Money as a string, such as "2.50": at most 18 decimals, below 10^12.')),
]
Quantity = Annotated[
    Decimal,
    PlainValidator(read_quantity),
    _AS_DECIMAL_TEXT,
    WithJsonSchema(decimal_schema('A quantity as a string, such as "1000000": at most 9 decimals.')),
]
PositiveQuantity = Annotated[
    Decimal,
    PlainValidator(_read_positive_quantity),
    _AS_DECIMAL_TEXT,
    WithJsonSchema(decimal_schema('A quantity above zero as a string, such as "1000": at most 9 decimals.')),
]
Per = Annotated[
    int, PlainValidator(_read_per), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": PER_MAX, "default": 1})
]


def _read_rounding_digits(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 4:
        raise refusal("The decimals of a rounded amount are a whole number from 0 to 4.", "Write 2 for cents.")
    return value


RoundingDigits = Annotated[
    int, PlainValidator(_read_rounding_digits), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 4})
]
Count = Annotated[int, PlainValidator(_read_count), WithJsonSchema({"type": "integer", "minimum": 0})]
Instant = Annotated[
    datetime | None,
    PlainValidator(_read_instant),
    PlainSerializer(lambda instant: instant and instant_text(instant), return_type=str | None),
    WithJsonSchema({"type": ["string", "null"], "examples": ["2026-01-01T00:00:00Z", "2026-01-01"]}),
]
TimeOfDay = Annotated[
    time,
    PlainValidator(_read_time),
    PlainSerializer(time_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": TIME_PATTERN, "examples": ["16:30"]}),
]
TimeZone = Annotated[str, AfterValidator(_known_time_zone)]
Currency = Annotated[str, AfterValidator(_known_currency), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$"})]
Key = Annotated[
    str,
    AfterValidator(_sound_key),
    WithJsonSchema({"type": "string", "pattern": KEY_PATTERN, "maxLength": KEY_CHARACTERS_MAX}),
]
PropertyName = Annotated[
    str, AfterValidator(_sound_property), WithJsonSchema({"type": "string", "pattern": PROPERTY_PATTERN})
]
Names = Annotated[tuple[str, ...], AfterValidator(_each_once)]
SomeNames = Annotated[tuple[str, ...], MinLen(1), AfterValidator(_each_once)]
PropertyNames = Annotated[tuple[PropertyName, ...], AfterValidator(_each_once)]
Currencies = Annotated[tuple[Currency, ...], AfterValidator(_each_once)]


def _no_boolean(value: object) -> object:
    return show(value) if isinstance(value, bool) else value


FORMAT_NUMBER = BeforeValidator(_no_boolean)
"""`true` is not 1."""


def _nothing_to_empty(value: object) -> object:
    return {} if value is None else value


SECTION = BeforeValidator(_nothing_to_empty)
"""A part of the file with nothing under it (`features:`) is an empty part."""
