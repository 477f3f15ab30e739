"""Columns that are no declared property -> `data`, the JSON object that holds them."""

from collections.abc import Mapping

import msgspec
import polars as pl
import pyarrow as pa
from pyarrow import types

_encode = msgspec.json.Encoder(decimal_format="number").encode
_ESCAPED_IN_JSON = r'["\\\x00-\x1f]'


def json_objects(columns: Mapping[str, pa.ChunkedArray]) -> pl.Series:
    """One JSON object a row, with a member for each column that is not null there; null where all are."""
    members = [pl.lit(f"{_encode(name).decode()}:") + pl.lit(json_texts(column)) for name, column in columns.items()]
    joined = pl.concat_str(members, separator=",", ignore_nulls=True)
    return pl.select(pl.when(joined != "").then("{" + joined + "}").alias("data")).to_series()


def json_texts(column: pa.ChunkedArray) -> pl.Series:
    """Each value as JSON. Null where there is none, also for what JSON has no value for, such as NaN."""
    if types.is_string(column.type) or types.is_large_string(column.type) or types.is_string_view(column.type):
        texts = pl.Series(column).cast(pl.String)
        if not texts.str.contains(_ESCAPED_IN_JSON).any():
            return pl.select(pl.format('"{}"', texts)).to_series()
    elif types.is_integer(column.type):
        return pl.Series(column).cast(pl.String)
    encoded = (None if value is None else _encode(value).decode() for value in column.to_pylist())
    return pl.Series([None if text == "null" else text for text in encoded], dtype=pl.String)
