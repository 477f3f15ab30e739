"""Usage files of every format become the same exact events."""

import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from ingest.decode import ARROW, decode
from ingest.files import ColumnMapping, FileProblem, UsageFile, open_usage_file, parse_origin, parse_property
from ingest.limits import IngestLimits

PROPERTIES = {"model": "string", "tokens": "number"}
ROWS = {
    "source": ["gateway", "gateway"],
    "id": ["1", "2"],
    "type": ["llm.request", "llm.request"],
    "subject": ["acme", "bert"],
    "time": ["2026-10-01T10:00:00Z", "2026-10-25T02:30:00+02:00"],
    "model": ["small", None],
    "tokens": ["123456789012345.123456789", "7"],
}
CSV = """source,id,type,subject,time,model,tokens
gateway,1,llm.request,acme,2026-10-01T10:00:00Z,small,123456789012345.123456789
gateway,2,llm.request,bert,2026-10-25T02:30:00+02:00,,7
"""
FLAT = """
{"source":"gateway","id":"1","type":"llm.request","subject":"acme","time":"2026-10-01T10:00:00Z","model":"small","tokens":123456789012345.123456789}

{"source":"gateway","id":2,"type":"llm.request","subject":"bert","time":"2026-10-25T02:30:00+02:00","tokens":7}
"""
CLOUD_EVENTS = """{"specversion":"1.0","source":"gateway","id":"1","type":"llm.request","subject":"acme","time":"2026-10-01T10:00:00Z","data":{"model":"small","tokens":123456789012345.123456789}}
{"source":"gateway","id":"2","type":"llm.request","subject":"bert","time":"2026-10-25T02:30:00+02:00","data":{"tokens":7},"extension":1}
"""  # noqa: E501


def write(path: Path, content: str | bytes | pa.Table) -> Path:
    if isinstance(content, pa.Table) and path.suffix == ".parquet":
        pyarrow.parquet.write_table(content, path)
    elif isinstance(content, pa.Table):
        kind = pa.ipc.new_file if path.suffix == ".arrow" else pa.ipc.new_stream
        with path.open("wb") as file, kind(file, content.schema) as writer:
            writer.write_table(content)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def decoded(file: UsageFile, rows: int = 50_000) -> pl.DataFrame:
    """The events as the log reads them; none has a problem."""
    frames = []
    for batch in file.batches(rows):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.events.schema) as writer:
            writer.write_table(batch.events)
        read = decode(sink.getvalue().to_pybytes(), ARROW, PROPERTIES, IngestLimits())  # type: ignore[arg-type]
        assert read.problems == {}
        assert len(batch.rows) == read.events.height <= rows
        frames.append(read.events)
    return pl.concat(frames)


TABLE = pa.table(ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("usage.csv", CSV, id="CSV"),
        pytest.param("usage.csv.gz", gzip.compress(CSV.encode()), id="compressed CSV"),
        pytest.param("usage.ndjson", FLAT, id="NDJSON of flat objects, with a blank line and a number as id"),
        pytest.param("usage.jsonl", CLOUD_EVENTS, id="NDJSON of CloudEvents"),
        pytest.param("usage.jsonl.gz", gzip.compress(CLOUD_EVENTS.encode()), id="compressed NDJSON"),
        pytest.param("usage.parquet", TABLE, id="Parquet"),
        pytest.param("usage.arrow", TABLE, id="an Arrow IPC file"),
        pytest.param("usage.arrows", TABLE, id="an Arrow IPC stream"),
    ],
)
@pytest.mark.parametrize("rows", [1, 50_000])
def test_every_format_gives_the_same_events_to_the_last_digit(
    tmp_path: Path, name: str, content: Any, rows: int
) -> None:
    events = decoded(open_usage_file(write(tmp_path / name, content)), rows)
    assert events.select("source", "id", "type", "subject").rows() == [
        ("gateway", "1", "llm.request", "acme"),
        ("gateway", "2", "llm.request", "bert"),
    ]
    assert [str(quantity) for quantity in events["data_tokens"]] == ["123456789012345.123456789", "7.000000000"]
    assert events["data_model"].to_list() == ["small", None]
    assert events["time"].dt.strftime("%FT%TZ").to_list() == ["2026-10-01T10:00:00Z", "2026-10-25T00:30:00Z"]


def test_columns_are_mapped_and_the_rest_are_properties_or_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "u.csv", "when,account,kind,used,region\n2026-10-01T00:00:00Z,acme,small,5,eu\n")
    attributes = {"time": "when", "subject": "account", "type": "=llm.request", "source": "=export", "id": "used"}
    origins = {name: parse_origin(text) for name, text in attributes.items()}
    named = dict([parse_property("model=kind"), parse_property("tokens=used")])
    all_columns = next(open_usage_file(path, mapping=ColumnMapping(origins, named)).batches()).events
    assert all_columns.column_names == ["source", "id", "type", "subject", "time", "model", "tokens", "region"]
    only = next(open_usage_file(path, mapping=ColumnMapping(origins, named, only=True)).batches()).events
    assert only.to_pylist() == [
        {"source": "export", "id": "5", "type": "llm.request", "subject": "acme", "time": "2026-10-01T00:00:00Z",
         "model": "small", "tokens": "5"}
    ]  # fmt: skip


def test_fields_of_ndjson_are_mapped_the_same_way(tmp_path: Path) -> None:
    line = '{"when":"2026-10-01T00:00:00Z","account":"acme","used":1e2,"extra":{"a":[1.10]}}\n'
    path = write(tmp_path / "u.ndjson", line + line.replace("extra", "later"))
    attributes = {"time": "when", "subject": "account", "type": "=t"}
    mapping = ColumnMapping({n: parse_origin(t) for n, t in attributes.items()}, {"tokens": "used"})
    events = next(open_usage_file(path, mapping=mapping).batches()).events
    assert events["data"].to_pylist() == ['{"tokens":1e2,"extra":{"a":[1.10]}}', '{"tokens":1e2,"later":{"a":[1.10]}}']


def test_without_ids_an_event_is_named_by_the_digest_of_the_file_and_its_row(tmp_path: Path) -> None:
    text = "subject,time,type\nacme,2026-10-01T00:00:00Z,t\nacme,2026-10-01T00:00:00Z,t\n"
    first = open_usage_file(write(tmp_path / "a.csv", text))
    ids = [name for batch in first.batches(1) for name in batch.events["id"].to_pylist()]
    assert ids == [f"{first.digest}-1", f"{first.digest}-2"]
    renamed = open_usage_file(write(tmp_path / "b.csv", text))
    assert next(renamed.batches()).events["id"].to_pylist() == ids
    other = open_usage_file(write(tmp_path / "c.csv", text + "acme,2026-10-01T00:00:00Z,t\n"))
    assert other.digest != first.digest


@pytest.mark.parametrize(
    ("times", "zone", "expected"),
    [
        pytest.param(["2026-10-01 00:30:00"], "Europe/Madrid", "2026-09-30T22:30:00Z", id="text without a zone"),
        pytest.param(["2026-10-01"], "UTC", "2026-10-01T00:00:00Z", id="a date"),
        pytest.param(["2026-10-01T00:30"], "UTC", "2026-10-01T00:30:00Z", id="text without seconds"),
        pytest.param(["2026-10-01T00:30:00+05:30"], "Europe/Madrid", "2026-09-30T19:00:00Z", id="its own zone stays"),
        pytest.param([datetime(2026, 10, 1, 0, 30)], "Asia/Tokyo", "2026-09-30T15:30:00Z", id="a naive timestamp"),  # noqa: DTZ001
    ],
)
def test_times_without_zone_are_read_in_the_zone_that_is_given(
    tmp_path: Path, times: list[Any], zone: str, expected: str
) -> None:
    table = pa.table({"id": ["1"], "source": ["s"], "subject": ["acme"], "type": ["t"], "time": times})
    file = open_usage_file(write(tmp_path / "u.parquet", table), mapping=ColumnMapping(time_zone=zone))
    assert decoded(file)["time"].dt.strftime("%FT%TZ").to_list() == [expected]


def test_floats_are_taken_only_when_their_decimals_are_said_and_then_rounded_exactly(tmp_path: Path) -> None:
    table = pa.table({**ROWS, "tokens": pa.array([0.1, 2.5], pa.float64())})
    path = write(tmp_path / "u.parquet", table)
    with pytest.raises(FileProblem, match=r"column 'tokens' has floats, which are not exact. Say --decimals N"):
        next(open_usage_file(path).batches())
    rounded = open_usage_file(path, mapping=ColumnMapping(decimals=0))
    assert decoded(rounded)["data_tokens"].to_list() == [0, 2]  # 2.5 is a tie: to even


HEAD = "source,id,type,subject,time\n"
GOOD = "s,1,t,acme,2026-10-01T00:00:00Z\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("u.csv", "", "u.csv is empty: there is no event in it.", id="an empty file"),
        pytest.param("u.ndjson", "\n\n", "u.ndjson is empty", id="only blank lines"),
        pytest.param("u.ndjson", "[1]\n", "line 1 is no JSON object, nor is any after it", id="not NDJSON"),
        pytest.param(
            "u.csv", "source,id,type,Subject,time\n" + GOOD, "Did you mean 'Subject'?", id="a name nearly right"
        ),
        pytest.param(
            "u.csv", "source,id,type,subject\ns,1,t,a\n", "Say --time COLUMN. It has 'source', 'id'", id="no time"
        ),
        pytest.param(
            "u.csv", "id,type,subject,time\n1,t,a,x\n", "It says where the ids are unique.", id="ids without source"
        ),
        pytest.param("u.csv", "id,id\n1,2\n", "more than one column named 'id'", id="a name twice"),
        pytest.param("u.csv", HEAD + GOOD + "s,2,t\n", "u.csv cannot be read: CSV parse error", id="a short row"),
        pytest.param("u.csv", HEAD.encode() + b"s,\xff,t,a,x\n", "u.csv cannot be read", id="not UTF-8"),
        pytest.param(
            "u.csv", HEAD + "s,1,t,acme,2026-10-01 00:00:00\n", "has times in no zone. Say --time-zone", id="no zone"
        ),
        pytest.param("u.parquet", "PAR1 no more", "u.parquet cannot be read", id="not Parquet"),
        pytest.param("u.arrow", "ARROW1 no more", "u.arrow cannot be read", id="not Arrow"),
        pytest.param("u.xlsx", "x", "its ending does not say the format", id="another format"),
    ],
)
def test_a_file_that_is_no_usage_says_what_is_wrong_and_the_cure(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(FileProblem) as problem:
        list(open_usage_file(path).batches())
    assert message in str(problem.value)


def test_a_time_that_clocks_show_twice_is_not_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "u.csv", HEAD + "s,1,t,acme,2026-10-25 02:30:00\n")
    with pytest.raises(FileProblem, match=r"cannot be read in Europe/Madrid.*with their offset"):
        list(open_usage_file(path, mapping=ColumnMapping(time_zone="Europe/Madrid")).batches())
