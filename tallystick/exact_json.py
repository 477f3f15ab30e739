"""JSON without floats: a Decimal is written in its own digits, and each number with a fraction is read as one."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any


def dumps(value: object) -> str:
    """Compact JSON. Raises TypeError for a float and what has no JSON, ValueError for a Decimal that is no number
    and an instant without a zone."""
    if isinstance(value, float):
        raise TypeError(f"{value!r} is a float, which is not exact: give a Decimal, an int or text")
    if value is None or isinstance(value, str | bool | int):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, datetime):
        return json.dumps(instant_text(value))
    if isinstance(value, date):
        return json.dumps(value.isoformat())
    if isinstance(value, Mapping):
        return (
            "{"
            + ",".join(f"{json.dumps(_name(name), ensure_ascii=False)}:{dumps(v)}" for name, v in value.items())
            + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dumps, value)) + "]"
    raise TypeError(f"a {type(value).__name__} has no JSON: {value!r}")


def loads(content: bytes | str) -> Any:
    return json.loads(content, parse_float=Decimal)


def decimal_text(value: Decimal | int | str) -> str:
    """In plain digits, as the API takes quantities. Raises TypeError for a float."""
    if isinstance(value, float | bool):
        raise TypeError(f"{value!r} is no exact quantity: give a Decimal, an int or text")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{value} is no number")
    return format(number, "f")


def instant_text(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone: give one, as datetime.now(UTC) has")
    return at.isoformat()


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{name!r} names a member: names are text")
    return name
