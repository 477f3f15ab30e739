"""Columns that are no declared property -> `data`, the JSON object that holds them."""

from collections.abc import Mapping

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import types

_encode = msgspec.json.Encoder(decimal_format="number").encode
_ESCAPED_IN_JSON = r'["\\\x00-\x1f]'
_SPACE, _QUOTE, _BACKSLASH = ord(" "), ord('"'), ord("\\")


def json_objects(columns: Mapping[str, pa.ChunkedArray]) -> pl.Series:
    """One JSON object a row, with a member for each column that is not null there; null where all are."""
    if not any(column.null_count for column in columns.values()) and all(map(_is_plain, columns.values())):
        return _whole_objects(columns)
    members = [pl.lit(f"{_encode(name).decode()}:") + pl.lit(json_texts(column)) for name, column in columns.items()]
    joined = pl.concat_str(members, separator=",", ignore_nulls=True)
    return pl.select(pl.when(joined != "").then("{" + joined + "}").alias("data")).to_series()


def json_texts(column: pa.ChunkedArray) -> pl.Series:
    """Each value as JSON. Null where there is none, also for what JSON has no value for, such as NaN."""
    if _is_text(column.type):
        texts = pl.Series(column).cast(pl.String)
        if not _has_escaped(column):
            return pl.select(pl.format('"{}"', texts)).to_series()
    elif types.is_integer(column.type):
        return pl.Series(column).cast(pl.String)
    encoded = (None if value is None else _encode(value).decode() for value in column.to_pylist())
    return pl.Series([None if text == "null" else text for text in encoded], dtype=pl.String)


def _whole_objects(columns: Mapping[str, pa.ChunkedArray]) -> pl.Series:
    """The same where every row has every member, and no value needs an escape: one query over the columns."""
    parts: list[pl.Expr] = []
    for number, (name, column) in enumerate(columns.items()):
        quote = '"' if _is_text(column.type) else ""
        parts += [pl.lit(f"{',' if number else '{'}{_encode(name).decode()}:{quote}"), pl.col(str(number))]
        parts += [pl.lit(f"{quote}{'}' if number == len(columns) - 1 else ''}")]
    values = [pl.Series(str(number), column) for number, column in enumerate(columns.values())]
    return pl.DataFrame(values).select_seq(pl.concat_str(parts).alias("data")).to_series()


def _is_plain(column: pa.ChunkedArray) -> bool:
    return bool(types.is_integer(column.type)) or (_is_text(column.type) and not _has_escaped(column))


def _has_escaped(column: pa.ChunkedArray) -> bool:
    """Whether a text may hold what JSON writes otherwise: looks at the memory of the column as a whole."""
    if types.is_string_view(column.type):
        return bool(pl.Series(column).str.contains(_ESCAPED_IN_JSON).any())
    return any(_has_escaped_in(chunk.buffers()[2]) for chunk in column.chunks)


def _has_escaped_in(buffer: pa.Buffer | None) -> bool:
    if buffer is None or not buffer.size:
        return False
    characters = np.frombuffer(buffer, np.uint8)
    return bool(characters.min() < _SPACE or (characters == _QUOTE).any() or (characters == _BACKSLASH).any())


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
