"""Numbers for combinations of values are the same where all values are, and only there."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rating.core.keys import numbered_keys

COLUMNS = {"a": pl.String, "b": pl.Int64, "c": pl.Datetime("us", "UTC")}
ROWS = st.lists(st.tuples(st.sampled_from(["x", "y", None]), st.sampled_from([0, 1, None]), st.none()), max_size=20)


@given(rows=ROWS)
def test_equal_rows_have_one_number(rows: list[tuple[str | None, int | None, None]]) -> None:
    frame = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    different, key = numbered_keys(frame, list(COLUMNS))
    assert sorted(map(str, different.select(*COLUMNS).rows())) == sorted(map(str, set(rows)))
    named = dict(zip(different["key"], different.select(*COLUMNS).rows(), strict=True))
    assert [named[number] for number in key] == rows
