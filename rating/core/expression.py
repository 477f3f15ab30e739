"""The value of one event as a checked expression over its properties, and its exact translation to columns.

A meter's SQL expression arrives here as a tree of these three nodes (rating/catalog/sql.py reads and checks the text).
Numbers are decimals whose count of decimals is known before any event is seen: a property has 9, a literal its own, a
sum or a choice the most of its parts, a product the sum of both. So every step is exact, and `DECIMALS_MAX` bounds what
an expression may ask for. A missing value is null by the rules of SQL.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import polars as pl

from rating.core.schema import QUANTITY, PropertyType, property_column

DECIMALS_MAX = 18
PROPERTY_DECIMALS = 9

Kind = Literal["number", "string", "truth", "null"]


@dataclass(frozen=True)
class Column:
    """A declared property of the event."""

    name: str
    kind: PropertyType


@dataclass(frozen=True)
class Constant:
    value: Decimal | str | bool | None


@dataclass(frozen=True)
class Call:
    """A function of FUNCTIONS; `case` has a condition and a value in turn, then the value of everything else."""

    function: str
    arguments: tuple["Expression", ...]


Expression = Column | Constant | Call


class WrongExpression(ValueError):
    """The expression has no value: its parts do not fit together. Says which."""


@dataclass(frozen=True)
class Value:
    """A part of an expression over columns; `decimals` counts those of a number."""

    kind: Kind
    column: pl.Expr
    decimals: int = 0


def event_value(expression: Expression) -> pl.Expr:
    """The expression as a quantity, rounded once (half even) where it has more than 9 decimals; null where it has no
    value. Raises WrongExpression unless it is a number."""
    found = _number("The expression", value(expression))
    rounded = found.column.round(PROPERTY_DECIMALS, mode="half_to_even") if found.decimals > 9 else found.column
    return rounded.cast(QUANTITY)


def value(expression: Expression) -> Value:
    """The expression over the columns of events. Raises WrongExpression."""
    if isinstance(expression, Column):
        decimals = PROPERTY_DECIMALS if expression.kind == "number" else 0
        return Value(expression.kind, pl.col(property_column(expression.name)), decimals)
    if isinstance(expression, Constant):
        return _constant(expression.value)
    arguments = [value(argument) for argument in expression.arguments]
    return FUNCTIONS[expression.function](expression.function, arguments)


def columns_of(expression: Expression) -> dict[str, PropertyType]:
    """The properties that it reads."""
    if isinstance(expression, Column):
        return {expression.name: expression.kind}
    found: dict[str, PropertyType] = {}
    for argument in expression.arguments if isinstance(expression, Call) else ():
        found |= columns_of(argument)
    return found


def _constant(given: Decimal | str | bool | None) -> Value:
    if given is None:
        return Value("null", pl.lit(None))
    if isinstance(given, bool):
        return Value("truth", pl.lit(given))
    if isinstance(given, str):
        return Value("string", pl.lit(given))
    decimals = max(0, -int(given.as_tuple().exponent))
    return Value("number", pl.lit(given, dtype=pl.Decimal(38, decimals)), decimals)


def _number(what: str, found: Value) -> Value:
    if found.kind not in ("number", "null"):
        raise WrongExpression(f"{what} must be a number; this is {_KINDS[found.kind]}.")
    return found if found.kind == "number" else Value("number", found.column.cast(pl.Decimal(38, 0)))


_KINDS = {"number": "a number", "string": "text", "truth": "true or false", "null": "nothing"}


def _alike(function: str, found: list[Value]) -> list[Value]:
    """The same values as columns of one type."""
    kinds = sorted({it.kind for it in found if it.kind != "null"})
    if len(kinds) > 1:
        raise WrongExpression(f"`{function}` has {' and '.join(_KINDS[kind] for kind in kinds)} in it.")
    kind: Kind = kinds[0] if kinds else "null"
    if kind != "number":
        return [Value(kind, it.column) for it in found]
    decimals = max(it.decimals for it in found)
    return [Value(kind, it.column.cast(pl.Decimal(38, decimals)), decimals) for it in found]


def _sum(function: str, found: list[Value]) -> Value:
    if len(found) == 1:
        single = _number(f"What `{function}` stands before", found[0])
        return Value("number", -single.column if function == "-" else single.column, single.decimals)
    left, right = _alike(function, [_number(f"Each side of `{function}`", it) for it in found])
    made = left.column + right.column if function == "+" else left.column - right.column
    return Value("number", made, left.decimals)


def _product(function: str, found: list[Value]) -> Value:
    left, right = (_number("Each side of `*`", it) for it in found)
    decimals = left.decimals + right.decimals
    if decimals > DECIMALS_MAX:
        raise WrongExpression(f"This product has up to {decimals} decimals; {DECIMALS_MAX} are exact.")
    wide = pl.Decimal(38, decimals)
    return Value("number", left.column.cast(wide) * right.column.cast(wide), decimals)


def _comparison(function: str, found: list[Value]) -> Value:
    left, right = (it.column for it in _alike(function, found))
    return Value("truth", _COMPARED[function](left, right))


_COMPARED: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "=": lambda left, right: left == right,
    "<>": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def _truth(function: str, found: list[Value]) -> list[pl.Expr]:
    for it in found:
        if it.kind not in ("truth", "null"):
            raise WrongExpression(f"`{function}` joins conditions; this is {_KINDS[it.kind]}.")
    return [it.column.cast(pl.Boolean) for it in found]


def _junction(function: str, found: list[Value]) -> Value:
    first, *others = _truth(function, found)
    for other in others:
        first = first & other if function == "and" else first | other
    return Value("truth", ~first if function == "not" else first)


def _is_null(function: str, found: list[Value]) -> Value:
    return Value("truth", found[0].column.is_null() if function == "is null" else found[0].column.is_not_null())


def _in(function: str, found: list[Value]) -> Value:
    wanted, *listed = _alike(function, found)
    hits = [wanted.column == it.column for it in listed]
    return _junction("or", [Value("truth", hit) for hit in hits])


def _case(function: str, found: list[Value]) -> Value:
    values = _alike(function, [*found[1::2], found[-1]])
    conditions = _truth("when", found[:-1:2])
    chosen = values[-1].column
    for condition, made in reversed(list(zip(conditions, values[:-1], strict=True))):
        chosen = pl.when(condition).then(made.column).otherwise(chosen)
    return Value(values[0].kind, chosen, values[0].decimals)


def _choice(function: str, found: list[Value]) -> Value:
    numbers = found if function == "coalesce" else [_number(f"`{function}`", it) for it in found]
    values = _alike(function, numbers)
    columns = [it.column for it in values]
    match function:
        case "coalesce":
            chosen = pl.coalesce(columns)
        case "least":
            chosen = pl.min_horizontal(columns)
        case _:
            chosen = pl.max_horizontal(columns)
    return Value(values[0].kind, chosen, values[0].decimals)


def _whole(function: str, found: list[Value]) -> Value:
    """abs, floor, ceil: exact, the latter two without decimals."""
    single = _number(f"`{function}`", found[0])
    one = pl.lit(Decimal(1), dtype=pl.Decimal(38, single.decimals))
    if function == "abs":
        return Value("number", single.column.abs(), single.decimals)
    low = single.column - single.column % one  # the remainder has the sign of one
    made = low if function == "floor" else low + pl.when(single.column > low).then(one).otherwise(one - one)
    return Value("number", made.cast(pl.Decimal(38, 0)))


def _round(function: str, found: list[Value]) -> Value:
    """To the decimals of the second argument (0.01 for two), half away from zero, as SQL does."""
    single = _number("`round`", found[0])
    decimals = min(single.decimals, found[1].decimals if len(found) > 1 else 0)
    rounded = single.column.round(decimals, mode="half_away_from_zero")
    return Value("number", rounded.cast(pl.Decimal(38, decimals)), decimals)


def _text(function: str, found: list[Value]) -> Value:
    if any(it.kind not in ("string", "null") for it in found):
        raise WrongExpression(f"`{function}` looks at text, and for text.")
    text, part = (it.column.cast(pl.String) for it in found)
    match function:
        case "starts_with":
            return Value("truth", text.str.starts_with(part))
        case "ends_with":
            return Value("truth", text.str.ends_with(part))
    return Value("truth", text.str.contains(part, literal=True))


FUNCTIONS: dict[str, Callable[[str, list[Value]], Value]] = {
    "+": _sum,
    "-": _sum,
    "*": _product,
    **dict.fromkeys(_COMPARED, _comparison),
    **dict.fromkeys(("and", "or", "not"), _junction),
    **dict.fromkeys(("is null", "is not null"), _is_null),
    "in": _in,
    "case": _case,
    **dict.fromkeys(("coalesce", "least", "greatest"), _choice),
    **dict.fromkeys(("abs", "floor", "ceil"), _whole),
    "round": _round,
    **dict.fromkeys(("starts_with", "ends_with", "contains"), _text),
}
"""The functions by name. Each is exact and gives the same answer for the same event, whenever and wherever."""
