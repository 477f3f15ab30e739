"""The ways that are fast for ordinary bodies give what the slow ways give for the same text."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.admission import Candidates, screen
from ingest.decode import Decoded, decode
from ingest.decode.json_body import JsonValues, merged, read_json, typed
from ingest.errors import UnreadableBody
from ingest.limits import IngestLimits
from ingest.merging import parts_of, split
from ingest.verdicts import batch_verdict
from tests.ingest.events import ARROW, BATCH, NOW, PROPERTIES, arrow_body, event, json_body

LIMITS = IngestLimits()
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.text(max_size=6), st.lists(st.integers(), max_size=2)
)
DATA = st.dictionaries(
    st.sampled_from(["tokens", "model", "region", "a%b", 'q"', "b\\", "", "\u00e9", "\n"]), VALUES, max_size=5
)
EVENTS = st.lists(DATA | st.none(), min_size=1, max_size=8).map(
    lambda datas: [event(row, data=data) for row, data in enumerate(datas)]
)


def one_by_one(events: list[dict[str, Any]]) -> list[Decoded]:
    return [decode(json_body([each]), BATCH, PROPERTIES, LIMITS) for each in events]


def rows(frames: list[pl.DataFrame]) -> list[dict[str, Any]]:
    """The rows, with what is not declared as a value: the order of its members does not matter."""
    found = [row for frame in frames for row in frame.iter_rows(named=True)]
    return [row | {"data": json.loads(row["data"], parse_float=str) if row["data"] else None} for row in found]


@given(EVENTS, st.sampled_from([None, 1]))
def test_an_event_is_read_alike_in_any_company(events: list[dict[str, Any]], indent: int | None) -> None:
    body = json.dumps(events, indent=indent).encode()
    together, alone = decode(body, BATCH, PROPERTIES, LIMITS), one_by_one(events)
    assert rows([together.events]) == rows([decoded.events for decoded in alone])
    assert {row: problem.code for row, problem in together.problems.items()} == {
        row: decoded.problems[0].code for row, decoded in enumerate(alone) if decoded.problems
    }


@given(EVENTS, st.data())
def test_merged_bodies_are_typed_as_one_batch(events: list[dict[str, Any]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(events)))
    bodies = [part for part in (events[:cut], events[cut:]) if part]
    values = merged([read_json(json_body(part), "batch", PROPERTIES) for part in bodies])
    whole = decode(json_body(events), BATCH, PROPERTIES, LIMITS)
    assert rows([typed(values).events]) == rows([whole.events])
    assert typed(values).problems.keys() == whole.problems.keys()


def test_what_all_events_have_undeclared_is_kept_as_it_was_written() -> None:
    body = b'[{"id": "1", "data": {"n": 1.50, "s": "\\u00e9"}}, {"id": "2", "data": {"s": "x  y", "n": 2e5}}]'
    decoded = decode(body, BATCH, PROPERTIES, LIMITS)
    assert decoded.events["data"].to_list() == ['{"n":1.50,"s":"\\u00e9"}', '{"n":2e5,"s":"x  y"}']


def test_a_name_of_half_a_character_is_refused_like_any_text_that_is_no_unicode() -> None:
    body = b'[{"id": "1", "data": {"\\ud800": 1}}]'
    with pytest.raises(UnreadableBody):
        decode(body, BATCH, PROPERTIES, LIMITS)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00.123456789Z", 123_456),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("1969-12-31T23:59:59.000000001Z", -1_000_000),
    ],
)
@pytest.mark.parametrize("company", ["2026-10-15T12:00:00.123456789Z", "2016-12-31T23:59:60Z"])
def test_nanoseconds_are_cut_the_same_as_a_vector_and_alone(text: str, micros: int, company: str) -> None:
    decoded = decode(json_body([event(1, time=text), event(2, time=company)]), BATCH, PROPERTIES, LIMITS)
    assert decoded.events["time"].to_physical()[0] == micros


EXTRAS: dict[str, Any] = {
    "text": ["x", None, 'q"\n\\'],
    "plain": ["eu", "us", None],
    'a"b': pa.array([1, None, 2**64 - 1], pa.uint64()),
    "flag": [True, None, False],
    "list": [[1, 2], None, None],
    "exact": pa.array([Decimal("1.50"), None, None], pa.decimal128(10, 2)),
    "float": [float("nan"), None, 1.5],
    "kind": pa.array(["k", None, "k"]).dictionary_encode(),
}


@pytest.mark.parametrize("name", EXTRAS)
def test_undeclared_columns_become_the_same_data_with_and_without_a_column_data(name: str) -> None:
    columns = {"id": ["1", "2", "3"], name: EXTRAS[name], "more": ["m", None, None]}
    fast = decode(arrow_body(columns), ARROW, PROPERTIES, LIMITS)
    slow = decode(arrow_body(columns | {"data": ["{}", None, None]}), ARROW, PROPERTIES, LIMITS)
    assert fast.events["data"].to_list() == slow.events["data"].to_list()


def screened(decoded: Decoded) -> Candidates:
    return screen(decoded, now=NOW, limits=LIMITS, seeds=(1, 2))


def read(*events: dict[str, Any]) -> JsonValues:
    return read_json(json_body(list(events)), "batch", PROPERTIES)


def test_each_merged_submission_gets_its_own_verdicts() -> None:
    group = [read(event(1), event(2, subject="")), read(event(3)), read(event(4, time="never"), event(5))]
    [part], failed = parts_of(group, screened)
    verdicts = dict(split(part, batch_verdict(len(part.batch), part.batch.rejected)))
    assert not failed
    assert [(v.accepted, [(e.index, e.code) for e in v.events]) for _, v in sorted(verdicts.items())] == [
        (1, [(1, "missing_subject")]),
        (1, []),
        (1, [(0, "invalid_time")]),
    ]


def test_a_submission_that_cannot_be_typed_costs_only_itself() -> None:
    def failing(decoded: Decoded) -> Candidates:
        if "2" in decoded.events["id"]:
            raise ValueError("a bug")
        return screened(decoded)

    parts, failed = parts_of([read(event(1)), read(event(2)), read(event(3))], failing)
    assert [part.places for part in parts] == [(0,), (2,)]
    assert list(failed) == [1]


def test_only_bodies_read_with_the_same_properties_are_merged() -> None:
    other = read_json(json_body([event(2)]), "batch", {"tokens": "number"})
    parts, _ = parts_of([read(event(1)), other, screened(typed(read(event(3))))], screened)
    assert sorted(part.places for part in parts) == [(0,), (1,), (2,)]


def test_received_at_is_the_clock_of_the_group() -> None:
    [part], _ = parts_of([read(event(1, time=None))], screened)
    assert part.batch.events["time"].to_list() == [datetime(2026, 10, 15, 12, tzinfo=UTC)] == [NOW]
