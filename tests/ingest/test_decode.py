"""What each content type gives, and what is refused, event by event or as a whole."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decode import Decoded, decode
from ingest.errors import BodyTooLarge, UnreadableBody, UnsupportedContentType
from ingest.limits import IngestLimits
from tests.ingest.events import ARROW, BATCH, JSON, ONE, PROPERTIES, arrow_body, event, json_body

LIMITS = IngestLimits()


def decoded(events: object, content_type: str = JSON, properties: Any = PROPERTIES) -> Decoded:
    return decode(json_body(events), content_type, properties, LIMITS)


def code_of(changed: object) -> str | None:
    """The code of an event that stands between two good ones, which must not suffer."""
    result = decoded([event(1), changed, event(3)])
    assert set(result.problems) <= {1}
    assert result.events["id"].to_list()[::2] == ["1", "3"]
    assert result.events["data_tokens"].to_list()[::2] == [5, 5]
    return result.problems[1].code if result.problems else None


def data_body(text: str) -> bytes:
    """A batch of one event whose data is `text` as it stands."""
    return b"[" + json_body(event(1, data={"x": 0})).replace(b'{"x": 0}', text.encode()) + b"]"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param(5, "malformed_event", id="not an object"),
        pytest.param(event(2) | {"id": 7}, "malformed_event", id="an id that is a number"),
        pytest.param(event(2, data=[1]), "malformed_event", id="data that is an array"),
        pytest.param(event(2, data="x"), "malformed_event", id="data that is a string"),
        pytest.param(event(2, data_base64="eA=="), "malformed_event", id="binary data"),
        pytest.param(event(2, specversion="0.3"), "unsupported_specversion", id="an old version"),
        pytest.param(event(2, specversion=1.0), "unsupported_specversion", id="a version that is a number"),
        pytest.param(event(2, time=1760000000), "invalid_time", id="seconds since 1970"),
        pytest.param(event(2, time="yesterday"), "invalid_time", id="a word"),
        pytest.param(event(2, time="2026-02-30T00:00:00Z"), "invalid_time", id="no such day"),
        pytest.param(event(2, time="0000-01-01T00:00:00Z"), "invalid_time", id="the year 0"),
        pytest.param(event(2, time="0001-01-01T00:00:00+01:00"), "invalid_time", id="the year 0 in UTC"),
        pytest.param(event(2, time="2026-10-15T12:00:00"), "time_without_zone", id="no zone"),
        pytest.param(event(2, data={"tokens": "NaN"}), "not_a_number", id="NaN as text"),
        pytest.param(event(2, data={"tokens": "Infinity"}), "not_a_number", id="infinity as text"),
        pytest.param(event(2, data={"tokens": "1_0"}), "not_a_number", id="an underscore"),
        pytest.param(event(2, data={"tokens": " 1"}), "not_a_number", id="a space"),
        pytest.param(event(2, data={"tokens": ""}), "not_a_number", id="empty text"),
        pytest.param(event(2, data={"tokens": "٣"}), "not_a_number", id="a digit of another script"),
        pytest.param(event(2, data={"tokens": True}), "not_a_number", id="a boolean"),
        pytest.param(event(2, data={"tokens": {"a": 1}}), "not_a_number", id="an object"),
        pytest.param(event(2, data={"tokens": 10**15 + 1}), "number_out_of_range", id="one above the limit"),
        pytest.param(event(2, data={"tokens": -(10**15) - 1}), "number_out_of_range", id="one below the limit"),
        pytest.param(event(2, data={"tokens": 10**30}), "number_out_of_range", id="beyond 64 bits"),
        pytest.param(event(2, data={"tokens": "1e999999999"}), "number_out_of_range", id="an absurd exponent"),
        pytest.param(event(2, data={"tokens": "0.1234567891"}), "too_many_decimals", id="ten decimals"),
        pytest.param(event(2, data={"tokens": "1e-999999999"}), "too_many_decimals", id="an absurd negative exponent"),
        pytest.param(event(2, data={"model": ["a"]}), "not_a_string", id="a dimension that is an array"),
        pytest.param(event(2, data={"tokens": 10**15}), None, id="the limit itself"),
        pytest.param(event(2, data={"tokens": None, "model": None}), None, id="null is absent"),
        pytest.param(event(2, data=None), None, id="no data"),
        pytest.param(event(2, traceparent="00-1"), None, id="an extension attribute"),
    ],
)
def test_one_bad_event_is_refused_alone(changed: object, code: str | None) -> None:
    assert code_of(changed) == code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e3", "1000"),
        ("1E+3", "1000"),
        ("1.50", "1.5"),
        ('"1.50"', "1.5"),
        ("-0.000000001", "-0.000000001"),
        ("12.5e-1", "1.25"),
        ("1.0000000000000", "1"),
        ("-0", "0"),
        ("0e999999999", "0"),
        ("999999999999999.999999999", "999999999999999.999999999"),
        ("0.1", "0.1"),
    ],
)
def test_a_number_is_read_from_its_digits(text: str, expected: str) -> None:
    result = decode(data_body(f'{{"tokens":{text}}}'), JSON, PROPERTIES, LIMITS)
    assert result.events["data_tokens"].to_list() == [Decimal(expected)]


@pytest.mark.parametrize(
    ("text", "expected"), [("true", "true"), ("false", "false"), ("1.50", "1.50"), ("12", "12"), ('"a b"', "a b")]
)
def test_a_dimension_is_the_text_of_its_value(text: str, expected: str) -> None:
    result = decode(data_body(f'{{"model":{text}}}'), JSON, PROPERTIES, LIMITS)
    assert result.events["data_model"].to_list() == [expected]


def test_what_is_not_declared_stays_as_it_was_written_but_for_spaces() -> None:
    body = data_body('{"z": 1.50, "tokens": 5, "a": {"x": [1, 2.0e5]}, "text": "a  b"}')
    result = decode(body, JSON, PROPERTIES, LIMITS)
    assert result.events["data"].to_list() == ['{"z":1.50,"a":{"x":[1,2.0e5]},"text":"a  b"}']
    assert result.events["data_tokens"].to_list() == [5]


def test_the_three_ways_through_json_give_the_same_columns() -> None:
    good = [event(1, data={"tokens": "1.5", "model": 3.10}), event(2, time=None), event(3, data=None)]
    ways = [good, [*good, event(4, data={"other": 1})], [*good, event(4) | {"id": 5}]]
    frames = [decoded(events).events.head(3) for events in ways]
    assert frames[0].equals(frames[1])
    assert frames[0].equals(frames[2])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-10-15T12:00:00Z", "2026-10-15T12:00:00"),
        ("2026-10-15t12:00:00.5z", "2026-10-15T12:00:00.500000"),
        ("2026-10-15T14:00:00+02:00", "2026-10-15T12:00:00"),
        ("2026-10-15T12:00:00.123456789Z", "2026-10-15T12:00:00.123456"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999"),
        ("2016-12-31T18:59:60.5-05:00", "2016-12-31T23:59:59.999999"),
    ],
)
@pytest.mark.parametrize("company", ["2026-10-15T12:00:00Z", "2026-10-15T12:00:00.1234567Z"])
def test_an_instant_is_the_same_in_any_company(text: str, expected: str, company: str) -> None:
    result = decoded([event(1, time=text), event(2, time=company)])
    assert result.events["time"][0] == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b"[1,", BATCH),
        (b'{"id": NaN}', JSON),
        (b'[{"id": "\xff"}]', JSON),
        (json_body(event(1)), BATCH),
        (json_body([event(1)]), ONE),
        (b"[" * 100_000, JSON),
        (b"nothing of Arrow", ARROW),
        (arrow_body({"id": ["1"]})[:-20], ARROW),
    ],
)
def test_an_unreadable_body_is_refused_as_a_whole(body: bytes, content_type: str) -> None:
    with pytest.raises(UnreadableBody):
        decode(body, content_type, PROPERTIES, LIMITS)


def test_an_unknown_content_type_is_named_with_those_that_are_read() -> None:
    with pytest.raises(UnsupportedContentType, match=r"text/plain.*cloudevents-batch"):
        decode(b"", "text/plain", PROPERTIES, LIMITS)


@pytest.mark.parametrize("limits", [IngestLimits(inflated_bytes=100), IngestLimits(events_per_batch=1)])
def test_a_body_beyond_a_limit_is_refused(limits: IngestLimits) -> None:
    with pytest.raises(BodyTooLarge):
        decode(json_body([event(1), event(2)]), JSON, PROPERTIES, limits)


def test_a_content_type_may_have_parameters_and_any_case() -> None:
    result = decode(json_body(event(1)), "Application/JSON; charset=utf-8", PROPERTIES, LIMITS)
    assert result.events.height == 1


ATTRIBUTES = {"source": ["s", "s"], "id": ["1", "2"], "type": ["t", "t"], "subject": ["x", "x"]}
TIME = pa.array([NOW_US := 1_760_000_000_000_000, None], pa.timestamp("us", "UTC"))


def test_an_arrow_stream_gives_the_columns_that_json_gives() -> None:
    columns = {
        **ATTRIBUTES,
        "type": pa.array(["t", "t"]).dictionary_encode(),
        "time": TIME,
        "tokens": pa.array([Decimal("1.5"), None], pa.decimal128(10, 3)),
        "other": ["o", None],
        "data": [None, '{"tokens": 7, "n": 1.50}'],
    }
    result = decode(arrow_body(columns), ARROW, PROPERTIES, LIMITS)
    assert not result.problems
    assert result.events["data_tokens"].to_list() == [Decimal("1.5"), Decimal(7)]
    assert result.events["data"].to_list() == ['{"other":"o"}', '{"n":1.50}']
    assert result.events["time"].to_list() == [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW_US), None]


@pytest.mark.parametrize(
    ("columns", "problems"),
    [
        pytest.param({"tokens": pa.array([1.5, None])}, {0: "float_column"}, id="floats for a number"),
        pytest.param({"model": pa.array([None, 1.5])}, {1: "float_column"}, id="floats for a dimension"),
        pytest.param({"tokens": pa.array([True, None])}, {0: "not_a_number"}, id="booleans for a number"),
        pytest.param({"tokens": pa.array([[1], None])}, {0: "not_a_number"}, id="lists for a number"),
        pytest.param({"model": pa.array([[1], None])}, {0: "not_a_string"}, id="lists for a dimension"),
        pytest.param({"tokens": pa.array(["1", "x"])}, {1: "not_a_number"}, id="text that is no number"),
        pytest.param({"tokens": pa.array([10**15, 10**15 + 1])}, {1: "number_out_of_range"}, id="a large integer"),
        pytest.param({"tokens": pa.array([0, 2**64 - 1], pa.uint64())}, {1: "number_out_of_range"}, id="unsigned"),
        pytest.param(
            {"tokens": pa.array([Decimal("1E+20"), 1], pa.decimal128(38, 0))},
            {0: "number_out_of_range"},
            id="a large decimal",
        ),
        pytest.param(
            {"tokens": pa.array([Decimal("1.0000000001"), 1], pa.decimal128(38, 10))},
            {0: "too_many_decimals"},
            id="ten decimals",
        ),
        pytest.param({"time": pa.array([1, None], pa.timestamp("us"))}, {0: "time_without_zone"}, id="no zone"),
        pytest.param(
            {"time": pa.array([2**62, 1], pa.timestamp("us", "UTC"))}, {0: "invalid_time"}, id="the far future"
        ),
        pytest.param(
            {"time": pa.array([1, -(2**62)], pa.timestamp("s", "UTC"))},
            {0: "invalid_time", 1: "invalid_time"},
            id="beyond 64 bits",
        ),
        pytest.param({"time": pa.array([1, None], pa.int64())}, {0: "invalid_time"}, id="integers for time"),
        pytest.param({"id": pa.array([1, 2])}, {0: "malformed_event", 1: "malformed_event"}, id="integers for id"),
        pytest.param(
            {"data": pa.array(["[]", "{"])}, {0: "malformed_event", 1: "malformed_event"}, id="data without objects"
        ),
        pytest.param(
            {"tokens": pa.array([1, -1], pa.int8()), "model": pa.array([True, None])},
            {},
            id="small integers, a boolean dimension",
        ),
    ],
)
def test_an_arrow_column_of_another_type_is_refused_where_it_is_set(
    columns: dict[str, Any], problems: dict[int, str]
) -> None:
    result = decode(arrow_body(ATTRIBUTES | columns), ARROW, PROPERTIES, LIMITS)
    assert {row: problem.code for row, problem in result.problems.items()} == problems


def test_an_arrow_stream_is_bounded_in_memory_and_events() -> None:
    body = arrow_body(ATTRIBUTES)
    for limits in (IngestLimits(arrow_bytes=len(body) - 1), IngestLimits(events_per_batch=1)):
        with pytest.raises(BodyTooLarge):
            decode(body, ARROW, PROPERTIES, limits)


JSON_NUMBERS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,14})?([eE][+-]?[0-9]{1,3})?", fullmatch=True, alphabet="0123456789.eE+-"
)


@given(texts=st.lists(JSON_NUMBERS, min_size=1, max_size=20), quoted=st.booleans())
def test_a_number_is_stored_as_it_is_or_refused(texts: list[str], quoted: bool) -> None:
    values = [json.dumps(text) if quoted else text for text in texts]
    body = b"[" + b",".join(data_body(f'{{"tokens":{value}}}')[1:-1] for value in values) + b"]"
    result = decode(body, JSON, PROPERTIES, LIMITS)
    for row, text in enumerate(texts):
        exact = Decimal(text)
        storable = abs(exact) <= 10**15 and exact == exact.quantize(Decimal("1e-9")) if abs(exact) < 10**17 else False
        assert (row not in result.problems) == storable
        assert result.events["data_tokens"][row] == (exact if storable else None)


@given(st.lists(st.one_of(st.none(), st.integers(), st.decimals(), st.text(), st.booleans()), max_size=20))
def test_decoded_columns_have_their_types_whatever_comes(values: list[object]) -> None:
    events = [
        event(row, data={"tokens": str(value) if isinstance(value, Decimal) else value})
        for row, value in enumerate(values)
    ]
    result = decoded(events)
    assert result.events.schema["data_tokens"] == pl.Decimal(38, 9)
    assert result.events.height == len(values)
