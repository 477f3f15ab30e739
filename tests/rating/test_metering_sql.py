"""SQL meters: what is refused and why, and that what is left gives the numbers that DuckDB gives for the same text."""

from decimal import Decimal
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog.sql import parsed_expression
from rating.core.expression import WrongExpression, event_value
from rating.core.schema import QUANTITY, PropertyType

PROPERTIES: dict[str, PropertyType] = {"a": "number", "c": "number", "b": "string"}
REFUSED = [
    ("random()", "not every function is exact and repeatable"),
    ("now()", "not every function"),
    ("nextval('s')", "not every function"),
    ("read_text('/etc/passwd')", "not every function"),
    ("a / 2", "not exact on decimals; divide the whole quantity with the meter's `divide_by`"),
    ("a % 2", "not exact"),
    ("a * a * a", "up to 27 decimals; 18 are exact"),
    ("a * 1e5", "numbers are plain decimals"),
    ("a * 0.0000000001", "more than 9 decimals"),
    ("CAST(a AS DOUBLE)", "cast` cannot be used"),
    ("(SELECT max(a) FROM t)", "subquery` cannot be used"),
    ("sum(a)", "not every function"),
    ("sum(a) OVER ()", "window"),
    ("a FROM read_csv('x')", "one scalar expression"),
    ("a WHERE true", "one scalar expression"),
    ("a ORDER BY 1", "one scalar expression"),
    ("DISTINCT a", "one scalar expression"),
    ("a, c", "one scalar expression"),
    ("a; DROP TABLE x", "not an expression"),
    ("a UNION SELECT 1", "one scalar expression"),
    ("*", "star` cannot be used"),
    ("?", "parameter` cannot be used"),
    ("d", "`d` is not one of the `properties`"),
    ("t.a", "`t.a` is not one of the `properties`"),
    ("b", "must be a number; this is text"),
    ("a > 1", "must be a number; this is true or false"),
    ("a + b", "must be a number; this is text"),
    ("CASE WHEN a = b THEN 1 END", "has a number and text in it"),
    ("CASE WHEN a THEN 1 END", "joins conditions; this is a number"),
    ("CASE WHEN true THEN 1 ELSE 'x' END", "has a number and text in it"),
    ("round(a, c)", "constant number of decimals"),
    ("floor(a, 2)", "does not take 2 arguments"),
    ("- " * 900 + "a", "nested"),
    ("a +", "not an expression of SQL"),
]
EXPRESSIONS = [
    "a + 4 * c",
    "a - c - 1.5",
    "a * c",
    "-a",
    "abs(a) + floor(c) - ceil(a)",
    "round(a * c, 2)",
    "round(c)",
    "least(a, c, 3) + greatest(a, 0.5)",
    "coalesce(a, c, 0)",
    "CASE WHEN b = 'x' THEN a WHEN b IS NULL THEN -1 ELSE c END",
    "CASE WHEN a BETWEEN 1 AND 2.5 OR NOT (c > 0 AND b <> 'y') THEN a END",
    "CASE b WHEN 'x' THEN 1 WHEN 'xy' THEN 2.25 END",
    "CASE WHEN b IN ('x', 'y') THEN a WHEN a NOT IN (1, 2, NULL) THEN c ELSE 0 END",
    "CASE WHEN starts_with(b, 'x') THEN 1 WHEN contains(b, '%') THEN 2 WHEN suffix(b, 'y') THEN 3 END",
    "CASE WHEN b IS NOT NULL AND a <= c THEN a END",
]
numbers = st.one_of(st.none(), st.integers(-3, 3).map(Decimal), st.decimals(-999, 999, places=9))
texts = st.sampled_from([None, "", "x", "y", "xy", "50%", "ü"])


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[text[:30] for text, _ in REFUSED])
def test_what_is_not_exact_and_repeatable_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(WrongExpression) as refused:
        parsed_expression(text, PROPERTIES)
    assert why in str(refused.value)


@settings(max_examples=60)
@given(text=st.sampled_from(EXPRESSIONS), rows=st.lists(st.tuples(numbers, texts, numbers), min_size=1, max_size=8))
def test_an_expression_gives_what_duckdb_gives(text: str, rows: list[tuple[Any, ...]]) -> None:
    schema = {"data_a": QUANTITY, "data_b": pl.String(), "data_c": QUANTITY}
    events = pl.DataFrame(rows, schema=schema, orient="row")
    got = events.select(value=event_value(parsed_expression(text, PROPERTIES)))["value"].to_list()
    with duckdb.connect(":memory:") as engine:
        engine.execute("CREATE TABLE e (i INTEGER, a DECIMAL(13, 9), b VARCHAR, c DECIMAL(13, 9))")
        engine.executemany("INSERT INTO e VALUES (?, ?, ?, ?)", [(i, *row) for i, row in enumerate(rows)])
        wanted = [row[0] for row in engine.execute(f"SELECT {text} FROM e ORDER BY i").fetchall()]
    assert [_nine(value) for value in got] == [_nine(value) for value in wanted]


def _nine(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value).quantize(Decimal("1e-9"))


def test_a_product_of_the_largest_numbers_that_does_not_fit_is_an_error_and_never_another_number() -> None:
    events = pl.DataFrame({"data_a": [Decimal(10) ** 15]}, schema={"data_a": QUANTITY})
    with pytest.raises(pl.exceptions.ComputeError, match="overflow"):
        events.select(event_value(parsed_expression("a * a", {"a": "number"})))
