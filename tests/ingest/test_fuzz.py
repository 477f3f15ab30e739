"""Whatever the bytes: events with verdicts, or a declared refusal; never another exception, and never a long wait."""

import gzip
import io
import json
import resource
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.admission import screen
from ingest.decode import decode, unpack
from ingest.decode.binary_mode import structured_event
from ingest.decode.media_types import CONTENT_TYPES
from ingest.decode.originals import originals, text_attribute
from ingest.errors import BodyTooLarge, UnreadableBody, UnsupportedContentType, UnsupportedEncoding
from ingest.limits import IngestLimits
from tests.ingest.events import ARROW, BATCH, JSON, NOW, ONE, PROPERTIES, arrow_body, event, json_body

LIMITS = IngestLimits(arrow_bytes=1 << 20, inflated_bytes=1 << 20)
NDJSON, CSV, PARQUET = "application/x-ndjson", "text/csv", "application/vnd.apache.parquet"
DECLARED = (UnreadableBody, BodyTooLarge, UnsupportedContentType, UnsupportedEncoding)


def status(body: bytes, content_type: str, encoding: str = "") -> int:
    """What the body would be answered with by a log that knows no event; each event is ready or has a verdict, and can
    be kept."""
    try:
        unpacked = unpack(body, content_type, encoding, LIMITS)
        decoded = decode(unpacked, content_type, PROPERTIES, LIMITS)
    except DECLARED as error:
        return 413 if isinstance(error, BodyTooLarge) else 400 if isinstance(error, UnreadableBody) else 415
    candidates = screen(decoded, now=NOW, limits=LIMITS, seeds=(1, 2))
    refused = [verdict.index for verdict in candidates.rejected]
    assert len(candidates.index) + len(refused) == candidates.total == decoded.events.height
    assert candidates.events["time"].null_count() == 0
    for original in originals(unpacked, content_type, refused, LIMITS):
        text_attribute(original, "id")
    return 200 if not refused else 422 if len(refused) == candidates.total else 207


def table(**changes: Any) -> pa.Table:
    columns = {
        "source": ["s", "s"],
        "id": ["1", "2"],
        "type": ["t", "t"],
        "subject": ["x", None],
        "time": pa.array([1, None], pa.timestamp("us", "UTC")),
        "tokens": pa.array([Decimal("1.5"), None], pa.decimal128(10, 3)),
        "extra": pa.array([[1, 2], None]),
        "data": ['{"a": 1}', None],
    }
    return pa.table(columns | changes)


def parquet(compression: str) -> bytes:
    sink = io.BytesIO()
    pa.parquet.write_table(table().drop_columns(["extra"]), sink, compression=compression, store_schema=False)
    return sink.getvalue()


GOOD: dict[str, tuple[bytes, str, str]] = {
    "json": (json_body([event(1), event(2, data={"tokens": 1.5, "x": "é"})]), BATCH, ""),
    "one": (json_body(event(1)), ONE, ""),
    "ndjson": (json_body(event(1)) + b"\n" + json_body(event(2, subject="")), NDJSON, ""),
    "csv": (b'id,source,type,subject,tokens,data\n1,s,t,x,1.50,"{""a"": 1}"\n2,s,t,"a\nb",,\n', CSV, ""),
    "arrow": (arrow_body({name: table()[name] for name in table().column_names}), ARROW, ""),
    "parquet": (parquet("none"), PARQUET, ""),
    "parquet zstd": (parquet("zstd"), PARQUET, ""),
    "gzip": (gzip.compress(json_body([event(1)]), mtime=0), JSON, "gzip"),
    "zstd": (pa.Codec("zstd").compress(json_body([event(1)]), asbytes=True), JSON, "zstd"),
}


@given(st.binary(max_size=300), st.sampled_from(CONTENT_TYPES), st.sampled_from(["", "", "gzip", "zstd"]))
def test_any_bytes(body: bytes, content_type: str, encoding: str) -> None:
    status(body, content_type, encoding)


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_mutated_bytes(name: str, data: st.DataObject) -> None:
    body, content_type, encoding = GOOD[name]
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body)))
        piece = data.draw(
            st.binary(max_size=8) | st.sampled_from([b'"', b"{", b"]", b"\0", b"\\u0000", b"1e999", b"\n"])
        )
        body = body[:place] + piece + body[place + data.draw(st.integers(0, 8)) :]
    status(body, content_type, encoding)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_every_truncation_and_every_flipped_byte(name: str) -> None:
    body, content_type, encoding = GOOD[name]
    assert status(body, content_type, encoding) in (200, 207)
    started = time.process_time()
    step = 1 if len(body) < 700 else 5
    for size in range(0, len(body), step):
        status(body[:size], content_type, encoding)
        flipped = bytearray(body)
        flipped[size] ^= 0xFF if size % 2 else 1 << (size % 8)
        status(bytes(flipped), content_type, encoding)
    assert time.process_time() - started < 30


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(GOOD))
def test_every_bit(name: str) -> None:
    body, content_type, encoding = GOOD[name]
    for place in range(len(body)):
        for bit in range(8):
            flipped = bytearray(body)
            flipped[place] ^= 1 << bit
            status(bytes(flipped), content_type, encoding)


HEADER_BYTES = st.binary(max_size=20) | st.sampled_from([b'"', b'"\\"', b"%", b"%zz", b"%ff", b"%00", b""])


@given(st.dictionaries(st.sampled_from([b"ce-id", b"ce-source", b"ce-x", b"content-type"]), HEADER_BYTES), st.binary())
def test_any_headers_of_binary_mode(headers: dict[bytes, bytes], body: bytes) -> None:
    try:
        structured = structured_event(list(headers.items()), body)
    except DECLARED:
        return
    assert status(structured, ONE) in (200, 422, 413)


def with_data(text: str) -> bytes:
    return b"[" + json_body(event(1, data={"x": 0})).replace(b'{"x": 0}', text.encode()) + b"]"


def with_id(text: bytes) -> bytes:
    return b"[" + json_body(event("@")).replace(b'"@"', text) + b"]"


NASTY: list[tuple[str, bytes, str, int]] = [
    ("nothing", b"", JSON, 400),
    ("a space", b" ", JSON, 400),
    ("an empty array", b"[]", JSON, 200),
    ("an empty object", b"{}", JSON, 422),
    ("null", b"null", JSON, 422),
    ("true", b"true", JSON, 422),
    ("a number", b"1", JSON, 422),
    ("a string", b'"x"', JSON, 422),
    ("half an object", b'{"id": "1"', JSON, 400),
    ("a comma too many", b"[{},]", JSON, 400),
    ("a comma alone", b"[,]", JSON, 400),
    ("two bodies", b"{}{}", JSON, 400),
    ("something behind it", json_body([event(1)]) + b"x", JSON, 400),
    ("single quotes", b"[{'id': '1'}]", JSON, 400),
    ("a comment", b"[/* x */]", JSON, 400),
    ("a byte order mark", b"\xef\xbb\xbf[]", JSON, 400),
    ("UTF-16", json.dumps([event(1)]).encode("utf-16"), JSON, 400),
    ("UTF-8 cut", with_id(b'"\xc3"'), JSON, 400),
    ("UTF-8 too long a form", with_id(b'"\xc0\xaf"'), JSON, 400),
    ("a surrogate in UTF-8", with_id(b'"\xed\xa0\x80"'), JSON, 400),
    ("a lone high surrogate", with_id(rb'"\ud800"'), JSON, 400),
    ("a lone low surrogate", with_id(rb'"\udc00"'), JSON, 400),
    ("a pair of surrogates", with_id(rb'"\ud83d\ude00"'), JSON, 200),
    ("a NUL escaped", with_id(rb'"a\u0000"'), JSON, 422),
    ("a NUL as it is", with_id(b'"a\0"'), JSON, 400),
    ("a newline in a string", with_id(b'"a\nb"'), JSON, 400),
    ("an unknown escape", with_id(rb'"\x41"'), JSON, 400),
    ("NaN", with_data('{"tokens": NaN}'), JSON, 400),
    ("Infinity", with_data('{"tokens": Infinity}'), JSON, 400),
    ("-Infinity", with_data('{"tokens": -Infinity}'), JSON, 400),
    ("NaN as text", with_data('{"tokens": "NaN"}'), JSON, 422),
    ("a leading zero", with_data('{"tokens": 01}'), JSON, 400),
    ("a leading plus", with_data('{"tokens": +1}'), JSON, 400),
    ("a leading point", with_data('{"tokens": .5}'), JSON, 400),
    ("a trailing point", with_data('{"tokens": 1.}'), JSON, 400),
    ("hexadecimal", with_data('{"tokens": 0x10}'), JSON, 400),
    ("an exponent of 9 digits", with_data('{"tokens": 1e999999999}'), JSON, 422),
    ("an exponent of 9 digits below", with_data('{"tokens": 1e-999999999}'), JSON, 422),
    ("a number of 100,000 digits", with_data('{"tokens": %s}' % ("9" * 100_000)), JSON, 422),
    ("a fraction of 60,000 digits", with_data('{"tokens": 0.%s1}' % ("0" * 60_000)), JSON, 422),
    ("a long number that is not declared", with_data('{"x": %s}' % ("9" * 60_000)), JSON, 200),
    ("a key twice", with_data('{"tokens": 1, "tokens": 2}'), JSON, 422),
    ("an attribute twice", with_id(b'"1", "id": "2"'), JSON, 422),
    ("the key of a prototype", with_data('{"__proto__": {"x": 1}}'), JSON, 200),
    ("an empty key", with_data('{"": 1}'), JSON, 200),
    ("a key of 60,000 bytes", with_data('{"%s": 1}' % ("k" * 60_000)), JSON, 200),
    ("a key of 70,000 bytes", with_data('{"%s": 1}' % ("k" * 70_000)), JSON, 422),
    ("an id of 2,000 bytes", with_id(b'"%s"' % (b"k" * 2_000)), JSON, 422),
    ("200,000 arrays", b"[" * 200_000, JSON, 400),
    ("200,000 objects", b'{"a":' * 200_000, JSON, 400),
    ("100,000 arrays, closed", b"[" * 100_000 + b"]" * 100_000, JSON, 400),
    ("data 100 deep", with_data('{"x": ' + "[" * 100 + "]" * 100 + "}"), JSON, 422),
    ("data 5,000 deep", with_data('{"x": ' + "[" * 5000 + "]" * 5000 + "}"), JSON, 400),
    ("200,000 arrays in a line", b"[" * 200_000, NDJSON, 422),
    ("lines of nothing", b"\n\r\n \n", NDJSON, 200),
    ("a line of NUL", b"\0", NDJSON, 422),
    ("a good line and a bad one", json_body(event(1)) + b"\n{", NDJSON, 207),
    ("CSV of a header alone", b"id,source\n", CSV, 200),
    ("CSV with an open quote", b'id,source\n"1,s\n', CSV, 422),
    ("CSV with a NUL", b"id,source,type,subject\n1\0,s,t,x\n", CSV, 422),
    ("CSV of commas", b"," * 100_000, CSV, 413),
    ("an Arrow stream of nothing", b"\xff\xff\xff\xff\x00\x00\x00\x00", ARROW, 400),
    ("an Arrow stream of 4 GiB, it says", b"\xff\xff\xff\xff\xff\xff\xff\x7f", ARROW, 400),
    ("a Parquet file of magic words", b"PAR1\xff\xff\xff\x7fPAR1", PARQUET, 400),
]


@pytest.mark.parametrize(("body", "content_type", "expected"), [pytest.param(*r[1:], id=r[0]) for r in NASTY])
def test_a_nasty_document_has_the_status_it_should(body: bytes, content_type: str, expected: int) -> None:
    started = time.process_time()
    assert status(body, content_type) == expected
    assert time.process_time() - started < 1


def test_hostile_bodies_take_no_more_memory_than_the_limits_allow() -> None:
    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    before = peak()
    bombs: list[Callable[[], int]] = [
        lambda: status(gzip.compress(b" " * (50 << 20)), JSON, "gzip"),
        lambda: status(b"[" + b"0," * 500_000 + b"0]", JSON),
        lambda: status(b"[" * 1_000_000, JSON),
    ]
    assert [bomb() for bomb in bombs] == [413, 413, 400]
    assert peak() - before < 128 << 20


@pytest.mark.long
def test_atheris_finds_nothing_more() -> None:
    """Coverage-guided, for a minute, in a process of its own; skipped where there is no wheel of atheris."""
    pytest.importorskip("atheris")
    import subprocess
    from pathlib import Path

    script = Path(__file__).with_name("atheris_decoders.py")
    done = subprocess.run([sys.executable, str(script), "-max_total_time=60", "-rss_limit_mb=2048"], check=False)
    assert done.returncode == 0
