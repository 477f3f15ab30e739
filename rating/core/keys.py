"""Numbers for combinations of values: what is the same in all columns has the same number.

A join on several columns hashes each of them for each row, text and instants too. The columns of keys have few
different values each; so every value gets a number, and the numbers of a row are the digits of one integer.
"""

from collections.abc import Iterable, Sequence

import polars as pl

_CODES_MAX = 2**62
_TEXTS_MAX = 2**32
_KEY = "number and text"


def numbered_keys(rows: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.DataFrame, pl.Series]:
    """The different combinations of `columns`, with their number `key`, and the number of each row. Null is a value."""
    code = codes(rows, columns)
    firsts = code.arg_unique()
    different = rows.select(columns)[firsts].with_row_index("key")
    return different, _places(code, code.gather(firsts))


def codes(rows: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """An integer for each row, `code`: the same for the same combination of `columns`. Null is a value."""
    code, size = pl.repeat(0, rows.height, dtype=pl.Int64, eager=True), 1
    for name in columns:
        digit, values = _digits(rows[name])
        if values > 1:
            if size * values >= _CODES_MAX:
                code, size = _digits(code)
                assert size * values < _CODES_MAX, "as many rows as that are not in memory"
            code, size = digit if size == 1 else code * values + digit, size * values
    return code.alias("code")


def sums_by_number_and_text(rows: pl.LazyFrame, number: str, text: str, sums: Iterable[pl.Expr]) -> pl.LazyFrame:
    """`rows` grouped by an integer, from 0 and below 2^31 (else a cast fails), and a text. Null is a text.

    Both are one integer while rows are grouped: three quarters of the time that a number and a text take where groups
    are many (docs/decisions/0006-aggregate-first.md).
    """
    texts = pl.Categorical(pl.Categories.random())
    place = (pl.col(text).cast(texts).to_physical().cast(pl.Int64) + 1).fill_null(0)
    one = pl.col(number).cast(pl.Int32).cast(pl.Int64) * _TEXTS_MAX + place
    summed = rows.with_columns(one.alias(_KEY)).group_by(_KEY).agg(*sums)
    number_of_sum = (pl.col(_KEY) // _TEXTS_MAX).cast(rows.collect_schema()[number])
    place_of_sum = pl.col(_KEY) % _TEXTS_MAX
    found = pl.when(place_of_sum > 0).then(place_of_sum - 1).cast(pl.UInt32).cat.to(texts).cast(pl.String)
    return summed.with_columns(number_of_sum.alias(number), found.alias(text)).drop(_KEY)


def looked_up(numbers: pl.Series, frame: pl.DataFrame) -> pl.DataFrame:
    """For each of `numbers`, from 0, the rest of the row of `frame` whose first column is it; null where none is. As a
    join, without hashing: there is a place for every number up to the largest one."""
    first, *others = frame.columns
    at = _rows_at(numbers, frame[first])
    return frame.select(pl.col(name).gather(at) for name in others)


def _rows_at(numbers: pl.Series, found: pl.Series) -> pl.Series:
    """The place in `found` of each of `numbers`."""
    size = max(sum(_range(numbers)), sum(_range(found)), 1)
    rows = pl.Series([None], dtype=pl.UInt32).new_from_index(0, size)
    return rows.scatter(found, pl.int_range(len(found), dtype=pl.UInt32, eager=True)).gather(numbers)


def _digits(values: pl.Series) -> tuple[pl.Series, int]:
    """A number for each value, from 0, and one more than the largest."""
    lowest, size = _range(values)
    if 0 < size <= len(values):
        return values.cast(pl.Int64) - lowest, size
    different = values.unique()
    if len(different) <= 1:
        return pl.repeat(0, len(values), dtype=pl.Int64, eager=True), 1
    return _places(values, different).cast(pl.Int64), len(different)


def _places(values: pl.Series, different: pl.Series) -> pl.Series:
    """The place of each value among the different ones."""
    lowest, size = _range(values)
    if size > 0 and lowest >= 0 and lowest + size <= 2 * len(values):
        return _rows_at(values, different)
    places = different.alias("value").to_frame().with_row_index("place")
    asked = values.alias("value").to_frame()
    return asked.join(places, on="value", how="left", nulls_equal=True, validate="m:1", maintain_order="left")["place"]


def _range(values: pl.Series) -> tuple[int, int]:
    """The lowest of whole numbers, and how many there are up to the highest; 0 for other values and where some are
    null."""
    if values.is_empty() or values.null_count() or not values.dtype.is_integer():
        return 0, 0
    lowest, highest = int(values.min()), int(values.max())  # type: ignore[arg-type]
    return lowest, highest - lowest + 1
