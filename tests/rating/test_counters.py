"""Counters equal Python's integers, and what they count is what the metering module counts."""

from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rating.catalog.sql import parsed_expression
from rating.core.book import Filter, Meter
from rating.core.metering import metered_events
from rating.core.prefixes import PREFIX, PrefixTable
from rating.core.schema import QUANTITY, PropertyType, usage_event_schema
from rating.counters import UNITS, Counters, counted, quantity, units_of

FILTERS = [
    Filter("model", "in", ("m", "n")),
    Filter("model", "not_in", ("m",)),
    Filter("model", "prefix", ("m",)),
    Filter("model", "exists"),
    Filter("model", "absent"),
    Filter("label", "in", ("long",)),  # is no property of any event: LABELS gives it
    *(Filter("c", operator, bound=Decimal(1)) for operator in ("more_than", "at_least", "less_than", "at_most")),
]
LABELS = PrefixTable("label", "model", pl.DataFrame([("m", "short"), ("mn", "long")], schema=PREFIX, orient="row"))
NUMBERS: dict[str, PropertyType] = {"a": "number", "b": "number"}
VALUES: list[dict[str, Any]] = [
    {"aggregation": "count"},
    {"aggregation": "sum", "add": ("a",)},
    {"aggregation": "sum", "add": ("a", "b"), "subtract": ("c",)},
    {"aggregation": "sum", "expression": parsed_expression("a * 0.5 - coalesce(b, 0)", NUMBERS)},
    {"aggregation": "count", "duration": "b"},
    {"aggregation": "sum", "add": ("a",), "elapsed": "b"},
]
RULES = st.lists(st.sampled_from(FILTERS), max_size=2).map(tuple)
METER = st.builds(
    lambda value, filters, exclude: Meter("m", "llm", filters=filters, exclude=exclude, prefixes=(LABELS,), **value),
    st.sampled_from(VALUES),
    RULES,
    st.lists(st.lists(st.sampled_from(FILTERS), min_size=1, max_size=2).map(tuple), max_size=2).map(tuple),
)
SCHEMA = usage_event_schema({"a": "number", "b": "number", "c": "number", "model": "string"})
NUMBER = st.one_of(st.none(), st.decimals(-(10**15), 10**15, places=9), st.integers(-3, 3).map(Decimal))
EVENT = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["llm", "llm", "other"]),
        "data_a": NUMBER,
        "data_b": NUMBER,
        "data_c": NUMBER,
        "data_model": st.sampled_from(["m", "mn", "n", "o", None]),
    }
)


@given(st.lists(EVENT, max_size=8), METER)
def test_events_are_counted_as_metering_counts_them(events: list[dict[str, Any]], meter: Meter) -> None:
    frame = pl.DataFrame(events, schema={name: SCHEMA[name] for name in EVENT_COLUMNS}).with_row_index("row")
    expected = metered_events(frame.lazy(), meter).select("row", "quantity").sort("row").collect().rows()
    rows, units = counted(frame, meter)
    places = range(frame.height) if rows is None else rows.tolist()
    assert [(row, quantity(int(each))) for row, each in zip(places, units, strict=True)] == expected


EVENT_COLUMNS = ("type", "data_a", "data_b", "data_c", "data_model")
ADDITION = st.lists(st.tuples(st.integers(0, 3), st.integers(-(10**25), 10**25)), max_size=6)


@given(st.lists(ADDITION, max_size=6), st.integers(0, 10**16))
def test_sums_are_exact_however_large_they_become(additions: list[list[tuple[int, int]]], threshold: int) -> None:
    counters, expected = Counters(), [0, 0, 0, 0]
    for _ in expected:
        counters.new(quantity(threshold))
    for addition in additions:
        rows = np.array([row for row, _ in addition], np.int64)
        counters.add(rows, units_of(pl.Series([quantity(units) for _, units in addition], dtype=QUANTITY)))
        for row, units in addition:
            expected[row] += units
        reached = counters.reached(rows)
        assert reached == sorted(set(reached))
        assert {row for row in rows.tolist() if expected[row] >= threshold} <= set(reached)
    assert [counters.value(row) for row in range(4)] == [quantity(units) for units in expected]


def test_a_counter_that_words_of_64_bits_cannot_hold() -> None:
    counters = Counters()
    row = counters.new(Decimal(10**19))
    for _ in range(20):
        counters.add(np.zeros(1_000, np.int64), np.full(1_000, 10**15 * UNITS + 1, object))
    assert counters.value(row) == Decimal(20 * 10**18) + Decimal("0.00002")
    assert counters.reached(np.zeros(1, np.int64)) == [row]


def test_more_counters_than_there_was_room_for() -> None:
    counters = Counters()
    rows = np.array([counters.new(None) for _ in range(5_000)])
    counters.add(rows, rows * UNITS)
    assert [counters.value(row) for row in (0, 1_023, 1_024, 4_999)] == [0, 1_023, 1_024, 4_999]
    assert counters.reached(rows) == []


@given(st.lists(st.lists(st.integers(-(10**13), 10**13), min_size=1, max_size=5), min_size=1, max_size=5))
def test_fractions_become_whole_before_their_words_are_full(groups: list[list[int]]) -> None:
    counters = Counters()
    row = counters.new(None)
    for units in groups:
        counters._rest_bound = 2**62 // UNITS  # so many fractions would have been added up by now
        counters.add(np.full(len(units), row), np.array(units))
        assert 0 <= int(counters._rest[row]) < (len(units) + 1) * UNITS
    assert counters.units(row) == sum(map(sum, groups))
