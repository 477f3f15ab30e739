"""Numbers for combinations of values: what is the same in all columns has the same number.

A join on several columns hashes each of them for each row, text and instants too. The columns of keys have few
different values each; so every value gets a number, and the numbers of a row are the digits of one integer.
"""

from collections.abc import Sequence

import polars as pl

_CODES_MAX = 2**62


def numbered_keys(rows: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.DataFrame, pl.Series]:
    """The different combinations of `columns`, with their number `key`, and the number of each row. Null is a value."""
    code, size = pl.repeat(0, rows.height, dtype=pl.Int64, eager=True), 1
    for name in columns:
        digit, values = _digits(rows[name])
        if values > 1:
            if size * values >= _CODES_MAX:
                code, size = _digits(code)
                assert size * values < _CODES_MAX, "as many rows as that are not in memory"
            code, size = code * values + digit, size * values
    firsts = code.arg_unique()
    different = rows.select(columns)[firsts].with_row_index("key")
    return different, _places(code, code.gather(firsts))


def _digits(values: pl.Series) -> tuple[pl.Series, int]:
    """A number for each value, from 0, and how many there are."""
    different = values.unique()
    return _places(values, different).cast(pl.Int64), max(len(different), 1)


def _places(values: pl.Series, different: pl.Series) -> pl.Series:
    """The place of each value among the different ones."""
    places = different.alias("value").to_frame().with_row_index("place")
    asked = values.alias("value").to_frame()
    return asked.join(places, on="value", how="left", nulls_equal=True, validate="m:1", maintain_order="left")["place"]
