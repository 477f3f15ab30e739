"""The digest of charge lines: equal for equal lines, whatever wrote, ordered or parted them.

Lines are taken in the order of LINE_ORDER, column by column: one SHA-256 over the values of each column, and at the end
one over all of these. So lines can be added part after part, and no line is made into text first, which would take
three quarters of the time. What is hashed is written out here and does not depend on a library's formats:

| column      | what is hashed, each on its own                                                              |
|-------------|----------------------------------------------------------------------------------------------|
| text        | the lengths in bytes, as 32 bits, null as 2^32 - 1; the bytes of all texts behind each other  |
| list        | the lengths, like those of texts; the columns of all items behind each other                  |
| struct      | its fields, as columns                                                                        |
| all others  | a byte for each, 1 for null; the integers: decimals and instants in units of their last place |

Integers are little-endian, of the width of the column, and null is 0.
"""

import hashlib
from collections.abc import Iterator
from typing import TypeAlias

import polars as pl

from rating.core.lines import CHARGE_LINE, ordered

Bytes: TypeAlias = bytes | memoryview

_TOGETHER = 250_000  # lines at a time: a column's texts behind each other are one text meanwhile
_NO_LENGTH = pl.lit(2**32 - 1, dtype=pl.UInt32)


def digest(lines: pl.DataFrame) -> str:
    """The digest of CHARGE_LINE."""
    made = LineDigest()
    made.add(lines)
    return made.hexdigest()


class LineDigest:
    """The digest of lines that come in parts, whose customers follow those of the parts before."""

    def __init__(self) -> None:
        self._streams = {name: hashlib.sha256() for name, _ in _streams(CHARGE_LINE.to_frame())}
        self._last: tuple[str, str] | None = None

    def add(self, lines: pl.DataFrame) -> None:
        """Lines (CHARGE_LINE), in any order among themselves."""
        if lines.is_empty():
            return
        rows = ordered(lines.select(CHARGE_LINE.names()))
        first, last = (rows.select("customer", "line").row(place) for place in (0, -1))
        assert self._last is None or first > self._last, f"lines of {first} come behind those of {self._last}"
        self._last = last
        for some in rows.iter_slices(_TOGETHER):
            for name, content in _streams(some):
                self._streams[name].update(content)

    def hexdigest(self) -> str:
        """Of all lines that were added."""
        each = [f"{name} {stream.hexdigest()}\n" for name, stream in self._streams.items()]
        return hashlib.sha256("".join(each).encode()).hexdigest()


def _streams(lines: pl.DataFrame) -> Iterator[tuple[str, Bytes]]:
    """What is hashed of lines, and what it is called."""
    for column in lines.iter_columns():
        yield from _of_column(column.name, column)


def _of_column(name: str, column: pl.Series) -> Iterator[tuple[str, Bytes]]:
    match column.dtype:
        case pl.String():
            yield f"{name}:lengths", _lengths(column, pl.col(column.name).str.len_bytes())
            yield f"{name}:bytes", column.str.join("").item().encode()
        case pl.List():
            yield f"{name}:lengths", _lengths(column, pl.col(column.name).list.len())
            yield from _of_column(name, column.list.explode(keep_nulls=False, empty_as_null=False))
        case pl.Struct():
            for field in column.struct.unnest().iter_columns():
                yield from _of_column(f"{name}.{field.name}", field)
        case _:
            yield f"{name}:nulls", column.is_null().cast(pl.UInt8).to_numpy().data
            yield f"{name}:values", _integers(column)


def _lengths(column: pl.Series, length: pl.Expr) -> Bytes:
    return column.to_frame().select(length.fill_null(_NO_LENGTH)).to_series().to_numpy().data


def _integers(column: pl.Series) -> Bytes:
    """The integers of a column, null as 0."""
    numbers = column.to_physical().fill_null(0)
    if numbers.dtype != pl.Int128:
        return numbers.to_numpy().data
    decimals = column.fill_null(0).to_arrow()  # NumPy has no integers of 128 bits
    width = 16
    return memoryview(decimals.buffers()[1])[width * decimals.offset : width * (decimals.offset + len(decimals))]
