"""Rows to frames, by whole columns."""

from collections.abc import Sequence
from typing import Any

import polars as pl

Row = tuple[Any, ...]


def frame_of(row_schema: pl.Schema, rows: Sequence[Row]) -> pl.DataFrame:
    """The rows as a frame: a frame of dicts or tuples would look at each value's type."""
    columns = zip(*rows, strict=True) if rows else [()] * len(row_schema)
    return pl.DataFrame(
        [
            pl.Series(name, values, dtype=dtype, strict=True)
            for (name, dtype), values in zip(row_schema.items(), columns, strict=True)
        ]
    )
