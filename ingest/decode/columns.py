"""Values as a decoder found them -> typed columns. A value that its column cannot take becomes null and a problem.

Each function first tries what a whole column of ordinary values allows, and looks at single values only where it must.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from types import NoneType

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ingest.decode.numbers import PLAIN_NUMBER, Problem, exact_number, number_limit_problem
from ingest.decode.times import read_time
from rating.core.schema import INSTANT, QUANTITY, PropertyType, property_column

QUANTITY_MAX = 10**15
FIRST_MICROSECOND, LAST_MICROSECOND = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999, from 1970

Problems = dict[int, Problem]


class Container:
    """Stands for a JSON object or array where a single value was expected."""


@dataclass(frozen=True)
class Decoded:
    """The events of one body, in order, and the first problem of each event that has one.

    Columns: source, id, type, subject, time (null where the event has none), data, and the declared properties; any of
    them may be null.
    """

    events: pl.DataFrame
    problems: Problems


def property_values(name: str, kind: PropertyType, values: Sequence[object]) -> tuple[pl.Series, Problems]:
    """The column of a declared property from JSON values: str, int, bool, null, Container, and floats as their text."""
    return number_column(name, values) if kind == "number" else text_column(name, values)


def number_column(name: str, values: Sequence[object]) -> tuple[pl.Series, Problems]:
    """Exact quantities. Whole numbers go as one vector, texts as another, and what is neither is refused."""
    kinds = set(map(type, values))
    if kinds <= {int, NoneType}:
        with suppress(TypeError, OverflowError):  # an integer beyond 64 bits
            return whole_number_column(name, pl.Series(values, dtype=pl.Int64))
    wrong = (
        {
            row: _not_a_number(name, value)
            for row, value in enumerate(values)
            if not isinstance(value, int | str | NoneType) or isinstance(value, bool)
        }
        if kinds - {int, str, NoneType}
        else {}
    )
    texts = [None if value is None or row in wrong else str(value) for row, value in enumerate(values)]
    column, problems = number_texts(name, pl.Series(property_column(name), texts, dtype=pl.String))
    return column, problems | wrong


def number_texts(name: str, texts: pl.Series) -> tuple[pl.Series, Problems]:
    """Exact quantities from the text of numbers, in JSON's grammar."""
    odd = texts.filter(~texts.str.contains(PLAIN_NUMBER)).unique() if texts.null_count() < len(texts) else texts.clear()
    problems: Problems = {}
    if len(odd):
        read = {text: exact_number(name, text) for text in odd}
        refused = {text: result for text, result in read.items() if isinstance(result, Problem)}
        problems = {row: refused[text] for row, text in enumerate(texts) if text in refused}
        plain = {text: None if text in refused else result for text, result in read.items()}
        texts = texts.replace_strict(
            list(plain), pl.Series(list(plain.values()), dtype=pl.String), default=texts, return_dtype=pl.String
        )
    column, beyond = decimal_column(name, texts.cast(QUANTITY))
    return column, problems | beyond


def whole_number_column(name: str, values: pl.Series) -> tuple[pl.Series, Problems]:
    """Exact quantities from a column of integers of any width."""
    if _fits(values):
        return values.cast(QUANTITY).alias(property_column(name)), {}
    return number_texts(name, values.cast(pl.String))


def decimal_column(name: str, column: pl.Series) -> tuple[pl.Series, Problems]:
    """Quantities without those beyond the limit."""
    column = column.alias(property_column(name))
    if _fits(column):
        return column, {}
    beyond = ((column > QUANTITY_MAX) | (column < -QUANTITY_MAX)).fill_null(False)
    over = {row: number_limit_problem(name, f"{column[row]:f}") for row in beyond.arg_true()}
    return column.set(beyond, None), over


def text_column(name: str, values: Sequence[object]) -> tuple[pl.Series, Problems]:
    """Dimension values: strings as they are, numbers and booleans as their JSON text; objects and arrays never."""
    kinds = set(map(type, values))
    if kinds <= {str, NoneType}:
        return pl.Series(property_column(name), values, dtype=pl.String), {}
    problems = {
        row: Problem(
            "not_a_string", f"{name} is an object or array; send a string, number or boolean, or leave it undeclared"
        )
        for row, value in enumerate(values)
        if isinstance(value, Container | dict | list)
    }
    texts = [_json_text(value) for value in values]
    return pl.Series(property_column(name), texts, dtype=pl.String), problems


def time_column(texts: Sequence[str | None] | pl.Series) -> tuple[pl.Series, Problems]:
    """Instants in UTC from RFC 3339 text: as one vector when Arrow reads them all, one by one by the same rule else."""
    if isinstance(texts, pl.Series):
        column = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    else:
        column = pa.array(texts, pa.string())
    for read_all in (_microseconds, _nanoseconds):
        with suppress(pa.ArrowInvalid):
            return instant_column(read_all(column))
    read = [None if text is None else read_time(text) for text in texts]
    problems = {row: value for row, value in enumerate(read) if isinstance(value, Problem)}
    instants = [None if isinstance(value, Problem) else value for value in read]
    column, beyond = instant_column(pl.Series("time", instants, dtype=pl.Int64).cast(INSTANT))
    return column, problems | beyond


def _microseconds(texts: pa.Array) -> pl.Series:
    """Instants with up to 6 decimals of a second. ArrowInvalid when one is not."""
    return pl.Series("time", pc.cast(texts, pa.timestamp("us", "UTC")))


def _nanoseconds(texts: pa.Array) -> pl.Series:
    """Instants with up to 9 decimals of a second, of which 6 are kept. ArrowInvalid when one is not."""
    nanoseconds = pl.Series("time", pc.cast(texts, pa.timestamp("ns", "UTC"))).to_physical()
    return (nanoseconds // 1000).cast(INSTANT)


def instant_column(instants: pl.Series) -> tuple[pl.Series, Problems]:
    """Instants of the years 1 to 9999; Polars itself panics over some that are beyond."""
    micros = instants.to_physical()
    first, last = micros.min(), micros.max()
    if first is None or (first >= FIRST_MICROSECOND and last <= LAST_MICROSECOND):  # type: ignore[operator]  # integers
        return instants, {}
    beyond = ((micros < FIRST_MICROSECOND) | (micros > LAST_MICROSECOND)).fill_null(False)
    problem = Problem("invalid_time", "time is not in the years 1 to 9999; send RFC 3339, such as 2026-10-01T12:00:00Z")
    return micros.set(beyond, None).cast(INSTANT), dict.fromkeys(beyond.arg_true(), problem)


def event_frame(columns: Mapping[str, pl.Series], properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    """The decoded frame, its columns in their order."""
    names = ["source", "id", "type", "subject", "time", "data", *map(property_column, properties)]
    return pl.DataFrame([columns[name].alias(name) for name in names])


def _fits(numbers: pl.Series) -> bool:
    """Whether no value is beyond the limit; nulls are not."""
    low, high = numbers.min(), numbers.max()
    if low is None or high is None:
        return True
    assert isinstance(low, int | Decimal)
    assert isinstance(high, int | Decimal)
    return low >= -QUANTITY_MAX and high <= QUANTITY_MAX


def _not_a_number(name: str, value: object) -> Problem:
    shown = "an object or array" if isinstance(value, Container | dict | list) else _json_text(value)
    return Problem("not_a_number", f"{name} is {shown}; send a JSON number, or its digits as a string")


def _json_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | str) else None
