"""Whether two events with one identity say the same.

The same event may come again through another content type, with other white space or order of keys, with 1.50 for 1.5,
or after one of its properties was declared: then its columns differ, and it is still the same event. Pure.
"""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ingest.decode import Problem
from ingest.decode.numbers import exact_number
from rating.core.schema import PropertyType, property_column

Row = Mapping[str, Any]


def difference(first: Row, again: Row, properties: Mapping[str, PropertyType]) -> str | None:
    """The first attribute or property in which two stored rows differ, or null when they are the same event.

    `properties` are all that were ever declared; a row may lack the columns of those that came after it.
    """
    for name in ("correction", "corrects", "reason"):
        if first.get(name) != again.get(name):
            return name
    for name in ("type", "subject"):
        if first[name] != again[name]:
            return name
    if _sent_time(first) != _sent_time(again):
        return "time"
    values, values_again = _values(first, properties), _values(again, properties)
    for name in sorted(values.keys() | values_again.keys()):
        kind = properties.get(name)
        if not _same(_canonical(values.get(name), kind), _canonical(values_again.get(name), kind)):
            return f"data.{name}"
    return None


def _sent_time(row: Row) -> object:
    """The time as sent: an event without one is stored with the instant of its receipt."""
    return None if row["time"] == row["received_at"] else row["time"]


def _values(row: Row, properties: Mapping[str, PropertyType]) -> dict[str, Any]:
    """All properties: those in the JSON, and over them those in columns."""
    values: dict[str, Any] = json.loads(row["data"], parse_float=_Number, parse_int=_Number) if row["data"] else {}
    columns = {name: row.get(property_column(name)) for name in properties}
    return values | {name: value for name, value in columns.items() if value is not None}


def _canonical(value: Any, kind: PropertyType | None) -> Any:
    """A declared value as its column would hold it, as far as it can; everything else as it is."""
    if kind == "number" and isinstance(value, str | _Number):
        number = exact_number("", str(value))
        return value if isinstance(number, Problem) else Decimal(number)
    if kind == "string" and isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if kind == "string" and isinstance(value, _Number) else value


def _same(value: Any, other: Any) -> bool:
    """JSON equality: numbers by value, objects without order, true is not 1; a null member is an absent one."""
    if isinstance(value, dict) and isinstance(other, dict):
        return all(_same(value.get(key), other.get(key)) for key in value.keys() | other.keys())
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, _Number) and isinstance(other, _Number):
        return value.equals(other)
    return type(value) is type(other) and bool(value == other)


class _Number:
    """A JSON number with its text: a dimension keeps the text, a comparison takes the value."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return "0" if self._text == "-0" else self._text

    def equals(self, other: "_Number") -> bool:
        """Whether both are the same number; one with an absurd exponent only equals its own text."""
        if self._text == other._text:
            return True
        try:
            return Decimal(self._text) == Decimal(other._text)
        except InvalidOperation:
            return False
