"""Every content type and encoding gives the same events; every limit refuses with its own error or code."""

import csv
import gzip
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decode import Decoded, decode, unpack
from ingest.decode.binary_mode import header_text, is_binary_mode, structured_event
from ingest.errors import (
    BodyTooLarge,
    InflatedTooLarge,
    IngestError,
    TooManyColumns,
    TooManyEvents,
    UnreadableBody,
    UnsupportedContentType,
    UnsupportedEncoding,
)
from ingest.limits import IngestLimits
from tests.ingest.events import ARROW, JSON, PROPERTIES, arrow_body, codes, event, json_body, open_log, stored

LIMITS = IngestLimits()
NDJSON, CSV, PARQUET = "application/x-ndjson", "text/csv", "application/vnd.apache.parquet"
EVENTS = [event(1), event(2, subject="Zoë", data={"tokens": "0.000000001", "model": 'a,"b"', "other": "x"})]


def read(body: bytes, content_type: str, limits: IngestLimits = LIMITS) -> Decoded:
    return decode(body, content_type, PROPERTIES, limits)


def problem_codes(decoded: Decoded) -> list[str | None]:
    return [decoded.problems[row].code if row in decoded.problems else None for row in range(decoded.events.height)]


def ndjson_body(events: list[dict[str, Any]]) -> bytes:
    return b"".join(json_body(one) + b"\r\n" for one in events)


def columns_of(events: list[dict[str, Any]]) -> dict[str, list[Any]]:
    flat = [{**one, **one.get("data", {})} for one in events]
    names = ("id", "source", "type", "subject", "time", "tokens", "model", "other")
    return {name: [None if one.get(name) is None else str(one[name]) for one in flat] for name in names}


def csv_body(events: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    columns = columns_of(events)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def parquet_body(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


BODIES: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    JSON: json_body,
    NDJSON: ndjson_body,
    "application/jsonl": ndjson_body,
    CSV: csv_body,
    ARROW: lambda events: arrow_body(columns_of(events)),
    PARQUET: lambda events: parquet_body(columns_of(events)),
}


@pytest.mark.parametrize("content_type", BODIES)
def test_each_content_type_gives_the_same_columns(content_type: str) -> None:
    expected = read(json_body(EVENTS), JSON)
    decoded = read(BODIES[content_type](EVENTS), content_type)
    assert not decoded.problems
    assert decoded.events.equals(expected.events)


@pytest.mark.parametrize("content_type", BODIES)
def test_a_resend_through_another_content_type_is_a_duplicate(tmp_path: Path, content_type: str) -> None:
    log = open_log(tmp_path)
    log.submit(json_body(EVENTS), JSON).result(30)
    again = log.submit(BODIES[content_type](EVENTS), content_type).result(30)
    assert codes(again) == ["duplicate", "duplicate"]
    log.close()


def test_a_broken_line_refuses_that_event_only() -> None:
    lines = [json_body(event(1)), b'{"id": ', b'{"id":"\xff"}', b"{} {}", b"[" * 100_000, json_body(event(2)), b"7"]
    decoded = read(b"\n".join([*lines, b"", b"  "]), NDJSON)
    assert problem_codes(decoded) == [None, *["malformed_event"] * 4, None, "malformed_event"]
    assert decoded.events["id"].to_list() == ["1", None, None, None, None, "2", None]


def test_two_broken_lines_never_make_a_whole_one() -> None:
    decoded = read(b'{"a":[1\n2]}\n{"x":1},{"y":2}', NDJSON)
    assert problem_codes(decoded) == ["malformed_event"] * 3


def test_a_csv_row_with_another_number_of_cells_refuses_that_event_only() -> None:
    body = b'id,source,type,subject,tokens,data\n1,s,t,x,1.50,\n\n2,s\n3,s,t,"a\nb",,"{""k"":1.0}"\n4,s,t,x,1,,9\n'
    decoded = read(body, CSV)
    assert problem_codes(decoded) == [None, "malformed_event", None, "malformed_event"]
    assert decoded.events["subject"].to_list() == ["x", None, "a\nb", None]
    assert decoded.events["data"].to_list() == [None, None, '{"k":1.0}', None]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", CSV),
        (b"id,id\n1,2\n", CSV),
        (b"id\n\xff\n", CSV),
        (b"id,source\n" + b"1,s\n" * 5_000 + b"\xff\n", CSV),
        (b'"' + b"x" * 200_000 + b'"\n', CSV),
        (b"PAR1", PARQUET),
        (parquet_body({"id": ["1"]})[:-10], PARQUET),
        (b"", PARQUET),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_as_a_whole(body: bytes, content_type: str) -> None:
    with pytest.raises(UnreadableBody):
        read(body, content_type)


HEADERS = [
    (b"content-type", b"application/json"),
    (b"ce-specversion", b"1.0"),
    (b"ce-id", b"1"),
    (b"ce-source", b"/gateway"),
    (b"ce-type", b"llm.request"),
    (b"ce-subject", b"Zo%C3%AB%20%25"),
    (b"ce-time", b"2026-10-15T11:00:00Z"),
]


def test_binary_mode_takes_attributes_from_headers_and_data_from_the_body() -> None:
    assert is_binary_mode(HEADERS)
    assert not is_binary_mode([(b"content-type", b"application/cloudevents+json"), *HEADERS[1:]])
    body = structured_event(HEADERS, b'{"tokens": 1.50, "model": "m"}')
    decoded = read(body, "application/cloudevents+json")
    assert not decoded.problems
    assert decoded.events.rows(named=True)[0] | {"time": None} == {
        "source": "/gateway", "id": "1", "type": "llm.request", "subject": "Zoë %", "time": None, "data": None,
        "data_tokens": decoded.events["data_tokens"][0], "data_model": "m",
    }  # fmt: skip
    assert str(decoded.events["data_tokens"][0]) == "1.500000000"


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        (HEADERS, b'{"a": 1}, "id": "2"', UnreadableBody),
        (HEADERS, b"{", UnreadableBody),
        ([*HEADERS, (b"ce-id", b"2")], b"", UnreadableBody),
        ([*HEADERS, (b"ce-data", b"x")], b"", UnreadableBody),
        ([*HEADERS[1:], (b"ce-x", b"%ff")], b"", UnreadableBody),
        ([(b"content-type", b"text/plain"), *HEADERS[1:]], b"hello", UnsupportedContentType),
        (HEADERS[1:], b"{}", UnsupportedContentType),
    ],
)
def test_binary_mode_that_cannot_be_read_is_refused(headers: Any, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        structured_event(headers, body)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"%E2%82%AC", "€"),
        (b'"a \\"b\\" c"', 'a "b" c'),
        (b"100%25", "100%"),
        (b"%zz", "%zz"),
        (b' "x" ', "x"),
    ],
)
def test_a_header_value_is_decoded_as_the_binding_says(value: bytes, text: str) -> None:
    assert header_text(value) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_text_survives_percent_encoding(text: str) -> None:
    assert header_text("".join(f"%{byte:02X}" for byte in text.encode()).encode()) == text


def packed(codec: str, body: bytes) -> bytes:
    return gzip.compress(body) if codec == "gzip" else pa.Codec(codec).compress(body, asbytes=True)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_packed_body_is_read(tmp_path: Path, codec: str) -> None:
    log = open_log(tmp_path)
    body = packed(codec, json_body(EVENTS))
    assert log.submit(body, JSON, content_encoding=codec).result(30).accepted == 2
    assert stored(log).height == 2
    log.close()


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_bomb_costs_no_more_than_the_limits(codec: str) -> None:
    bomb = packed(codec, b" " * (50 << 20))
    assert len(bomb) < 60_000
    started = time.process_time()
    with pytest.raises(InflatedTooLarge, match="times its size"):
        unpack(bomb, JSON, codec, LIMITS)
    assert time.process_time() - started < 1
    with pytest.raises(InflatedTooLarge, match="more than 1000 bytes"):
        unpack(packed(codec, b" " * 1001), JSON, codec, IngestLimits(inflated_bytes=1000))
    assert unpack(packed(codec, b" " * 1000), JSON, codec, IngestLimits(inflated_bytes=1000)) == b" " * 1000


@pytest.mark.parametrize(
    ("body", "encoding", "error"),
    [
        (b"x", "br", UnsupportedEncoding),
        (b"x", "gzip, gzip", UnsupportedEncoding),
        (b"[]", "gzip", UnreadableBody),
        (b"", "zstd", UnreadableBody),
        (gzip.compress(b"[]", mtime=0)[:-3], "gzip", UnreadableBody),
    ],
)
def test_what_cannot_be_unpacked_is_refused(body: bytes, encoding: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        unpack(body, JSON, encoding, LIMITS)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    ("body", "content_type", "limits", "refused"),
    [
        pytest.param(json_body([event(1)] * 3), JSON, IngestLimits(events_per_batch=2), TooManyEvents, id="events"),
        pytest.param(b"{}\n" * 3, NDJSON, IngestLimits(events_per_batch=2), TooManyEvents, id="lines"),
        pytest.param(b"id\n1\n2\n3\n", CSV, IngestLimits(events_per_batch=2), TooManyEvents, id="CSV rows"),
        pytest.param(
            parquet_body({"id": ["1"] * 3}), PARQUET, IngestLimits(events_per_batch=2), TooManyEvents, id="Parquet rows"
        ),
        pytest.param(
            parquet_body({"id": ["x" * 9_000_000]}, compression="zstd"),
            PARQUET,
            IngestLimits(arrow_bytes=8 << 20),
            BodyTooLarge,
            id="a Parquet file that unpacks to much",
        ),
        pytest.param(b"a,b,c\n1,2,3\n", CSV, IngestLimits(columns=2), TooManyColumns, id="CSV columns"),
        pytest.param(
            parquet_body({"a": [1], "b": [1], "c": [1]}),
            PARQUET,
            IngestLimits(columns=2),
            TooManyColumns,
            id="Parquet columns",
        ),
        pytest.param(b"[" + b"0," * 4_000_000 + b"0]", JSON, LIMITS, TooManyEvents, id="very many tiny values"),
        pytest.param(b"[" + b"{}," * 2_700_000 + b"{}]", JSON, LIMITS, TooManyEvents, id="very many empty objects"),
    ],
)
def test_a_body_above_a_limit_is_refused_as_a_whole(
    body: bytes, content_type: str, limits: IngestLimits, refused: type[IngestError]
) -> None:
    started = time.process_time()
    with pytest.raises(refused):
        read(body, content_type, limits)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(nested(LIMITS.data_depth), None, id="as deep as may be"),
        pytest.param(nested(LIMITS.data_depth + 1), "nesting_too_deep", id="one deeper"),
        pytest.param({"x": "[{" * 50}, None, id="brackets in a string"),
        pytest.param({f"k{n}": n for n in range(LIMITS.data_properties)}, None, id="as many properties as may be"),
        pytest.param({f"k{n}": n for n in range(LIMITS.data_properties + 1)}, "too_many_properties", id="one more"),
        pytest.param({"model": "a\0"}, "invalid_character", id="NUL in a declared string"),
        pytest.param({"x": "a\0"}, "invalid_character", id="NUL in what is not declared"),
        pytest.param({"x": "\\u0000"}, None, id="a backslash and u0000"),
    ],
)
@pytest.mark.parametrize("content_type", [JSON, NDJSON, ARROW])
def test_data_above_a_limit_refuses_that_event_only(data: dict[str, Any], code: str | None, content_type: str) -> None:
    events = [event(1), event(2, data=data), event(3)]
    if content_type == ARROW:
        texts = [json.dumps(one["data"]) for one in events]
        attributes = {name: [one[name] for one in events] for name in ("id", "source", "type", "subject")}
        decoded = read(arrow_body(attributes | {"data": texts}), ARROW)
    else:
        decoded = read(BODIES[content_type](events), content_type)
    assert problem_codes(decoded) == [None, code, None]


def test_a_nul_in_a_column_refuses_that_event_only() -> None:
    columns = {"id": ["1", "2\0"], "source": ["s", "s"], "type": ["t", "t"], "subject": ["x", "x"]}
    assert problem_codes(read(arrow_body(columns), ARROW)) == [None, "invalid_character"]


GOOD = json_body(event(1)).decode()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(GOOD, None, id="none twice"),
        pytest.param(GOOD.replace('"id":', '"id": "0", "id":'), "repeated_key", id="an attribute"),
        pytest.param(GOOD.replace('"tokens":', '"tokens": 1, "tokens":'), "repeated_key", id="a declared property"),
        pytest.param(GOOD.replace('"tokens":', '"x": 1, "x": 2, "tokens":'), "repeated_key", id="an undeclared one"),
        pytest.param(GOOD.replace('"id":', '"ext": 1, "ext": 2, "id":'), "repeated_key", id="an extension"),
        pytest.param(GOOD.replace('"data":', '"data": {}, "data":'), "repeated_key", id="data"),
        pytest.param(GOOD.replace('"id":', '"\\u0069d": "0", "id":'), "repeated_key", id="one of them escaped"),
        pytest.param(GOOD.replace('"id":', '"id" : "0", "id":'), "repeated_key", id="a space before the colon"),
        pytest.param(GOOD.replace('"model": "gpt-4o"', '"model": "cver \\":"'), None, id="what looks like a key"),
        pytest.param(GOOD.replace('"specversion": "1.0", ', ""), None, id="no specversion"),
        pytest.param(GOOD.replace('"tokens": 5', '"tokens": null'), None, id="null is a value"),
        pytest.param(GOOD.replace('"tokens":', '"x": {"y": 1}, "tokens":'), None, id="nested objects"),
    ],
)
@pytest.mark.parametrize("others", [0, 3])
def test_a_key_that_is_there_twice_refuses_that_event_only(text: str, code: str | None, others: int) -> None:
    good = [json_body(event(f"good-{n}")).decode() for n in range(others)]
    body = f"[{','.join([*good, text, *good])}]".encode()
    assert problem_codes(read(body, JSON)) == [*[None] * others, code, *[None] * others]
    lines = "\n".join([*good, text, *good]).encode()
    assert problem_codes(read(lines, NDJSON)) == [*[None] * others, code, *[None] * others]
    lenient = IngestLimits(refuse_repeated_keys=False)
    assert not read(body, JSON, lenient).problems


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ('{"x": 1, "tokens": 5}', None),
        ('{"x": 1, "x": 2}', "repeated_key"),
        ('{"tokens": 1, "tokens": 2}', "repeated_key"),
        ('{"x" : 1, "\\u0078" : 2}', "repeated_key"),
        ('{"x": "\\":"}', None),
        ('{"data": {"y": 1}, "x": {"y": 1}}', None),
        ('{"x": {"y": 1, "y": 2}}', None),  # as in JSON: only an event's own keys and those of its data
    ],
)
@pytest.mark.parametrize("content_type", [ARROW, PARQUET, CSV])
def test_a_key_that_is_twice_in_the_data_of_a_row_refuses_that_event_only(
    content_type: str, data: str, code: str | None
) -> None:
    columns = {name: ["1", "2", "3"] for name in ("id", "source", "type", "subject")}
    table = pa.table(columns | {"data": ['{"x": 1}', data, None]})
    out = io.BytesIO()
    if content_type == CSV:
        pa.csv.write_csv(table, out)
    elif content_type == PARQUET:
        pa.parquet.write_table(table, out)
    else:
        out.write(arrow_body(dict(zip(table.column_names, table.columns, strict=True))))
    assert problem_codes(read(out.getvalue(), content_type)) == [None, code, None]
    assert not read(out.getvalue(), content_type, IngestLimits(refuse_repeated_keys=False)).problems


def test_a_stream_of_more_columns_than_the_limit_is_refused() -> None:
    columns = {name: ["1"] for name in ("id", "source", "type", "subject", "a")}
    assert not read(arrow_body(columns), ARROW, IngestLimits(columns=5)).problems
    with pytest.raises(TooManyColumns, match="has 5 columns; send at most 4"):
        read(arrow_body(columns), ARROW, IngestLimits(columns=4))


def test_a_body_at_its_limit_is_taken_and_one_byte_more_is_not() -> None:
    body = json_body(EVENTS)
    unpack(body, JSON, "", IngestLimits(json_bytes=len(body)))
    with pytest.raises(BodyTooLarge):
        unpack(body, JSON, "", IngestLimits(json_bytes=len(body) - 1))
    unpack(body, PARQUET, "", IngestLimits(json_bytes=1, arrow_bytes=len(body)))
