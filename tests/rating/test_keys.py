"""Numbers for combinations of values are the same where all values are, and only there."""

from typing import Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.core.keys import looked_up, numbered_keys, sums_by_number_and_text

COLUMNS = {"a": pl.String, "b": pl.Int64, "c": pl.Datetime("us", "UTC")}
ROWS = st.lists(st.tuples(st.sampled_from(["x", "y", None]), st.sampled_from([0, 1, None]), st.none()), max_size=20)


@given(rows=ROWS)
def test_equal_rows_have_one_number(rows: list[tuple[str | None, int | None, None]]) -> None:
    frame = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    different, key = numbered_keys(frame, list(COLUMNS))
    assert sorted(map(str, different.select(*COLUMNS).rows())) == sorted(map(str, set(rows)))
    named = dict(zip(different["key"], different.select(*COLUMNS).rows(), strict=True))
    assert [named[number] for number in key] == rows


NUMBERS = {"n": pl.UInt32, "t": pl.String, "v": pl.Int64}
NUMBERED = st.tuples(st.sampled_from([0, 1, 2**31 - 1]), st.sampled_from(["x", "y", "", None]), st.integers(0, 9))


@given(rows=st.lists(NUMBERED, max_size=20), engine=st.sampled_from(["streaming", "in-memory"]))
def test_sums_by_a_number_and_a_text_are_those_of_both_columns(
    rows: list[tuple[int, str | None, int]], engine: Literal["streaming", "in-memory"]
) -> None:
    frame = pl.LazyFrame(rows, schema=NUMBERS, orient="row")
    sums = [pl.col("v").sum(), pl.len().alias("rows")]
    got = sums_by_number_and_text(frame, "n", "t", sums).select("n", "t", "v", "rows").collect(engine=engine)
    assert got.sort("n", "t").equals(frame.group_by("n", "t").agg(*sums).sort("n", "t").collect())
    assert got.schema == {**NUMBERS, "rows": got.schema["rows"]}


def test_a_number_that_does_not_fit_beside_a_text_fails() -> None:
    frame = pl.LazyFrame([(2**31, "x", 1)], schema=NUMBERS, orient="row")
    with pytest.raises(pl.exceptions.InvalidOperationError):
        sums_by_number_and_text(frame, "n", "t", [pl.col("v").sum()]).collect()


def test_a_row_is_looked_up_by_its_number() -> None:
    found = looked_up(pl.Series([2, 0, 5, 2]), pl.DataFrame({"number": [2, 5], "name": ["two", "five"]}))
    assert found.rows() == [("two",), (None,), ("five",), ("two",)]
    assert looked_up(pl.Series([1]), pl.DataFrame(schema={"number": pl.Int64, "name": pl.String})).rows() == [(None,)]
