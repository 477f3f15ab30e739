"""The events of a body one by one, as they came: to keep those that are refused. Not on the path of a good batch."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Raw

from ingest.decode.arrow_stream import read_stream
from ingest.decode.media_types import ARROW, CSV, NDJSON, PARQUET, media_type_of
from ingest.decode.ndjson import lines_of
from ingest.decode.tables import read_csv, read_parquet
from ingest.limits import IngestLimits

_ATTRIBUTES = frozenset({"id", "source", "type", "subject", "time", "specversion", "datacontenttype", "dataschema"})
_read_array = msgspec.json.Decoder(list[Raw]).decode
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_read_text = msgspec.json.Decoder(str).decode


def originals(body: bytes, content_type: str, rows: Sequence[int], limits: IngestLimits) -> list[bytes]:
    """The events `rows` of a body that was decoded: JSON items and lines as they were sent, rows of tables as the
    CloudEvent in JSON that says the same, a broken CSV row as its text."""
    media_type = media_type_of(content_type)
    if media_type in (ARROW, PARQUET, CSV):
        return _table_events(body, media_type, rows, limits)
    items = lines_of(body) if media_type in NDJSON else json_items(body)
    return [items[row] for row in rows]


def json_items(body: bytes) -> list[bytes]:
    """The events of a JSON body that was decoded: its items, or itself."""
    return [bytes(item) for item in _read_array(body)] if body.lstrip()[:1] == b"[" else [body]


def text_attribute(event: bytes, name: str) -> str | None:
    """An attribute of an event in JSON; null when the event cannot be read, or the attribute is no text."""
    try:
        return _read_text(_read_object(event)[name])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return None


def _table_events(body: bytes, media_type: str, rows: Sequence[int], limits: IngestLimits) -> list[bytes]:
    broken: Mapping[int, str] = {}
    if media_type == CSV:
        table, broken = read_csv(body, limits)
    else:
        table = (read_stream if media_type == ARROW else read_parquet)(body, limits)
    chosen = table.take(pa.array(rows, pa.int64()))
    cells = {name: _cells(chosen[name]) for name in chosen.column_names}
    events = [{name: column[row] for name, column in cells.items()} for row in range(len(rows))]
    return [
        broken[row].encode() if row in broken else _json_event(event) for row, event in zip(rows, events, strict=True)
    ]


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column. Some types can say what Python cannot hold: those are named, not lost in silence."""
    try:
        return list(column.to_pylist())
    except (ArithmeticError, ValueError, pa.ArrowException):
        return [{"unreadable": str(column.type)} if is_set else None for is_set in column.is_valid().to_pylist()]


def _json_event(row: Mapping[str, Any]) -> bytes:
    present = {name: value for name, value in row.items() if value is not None}
    event = {name: _json_value(value) for name, value in present.items() if name in _ATTRIBUTES}
    properties = {name: _json_value(value) for name, value in present.items() if name not in (*_ATTRIBUTES, "data")}
    data = _data(present.get("data"))
    if data is None or properties:
        data = {**(data if isinstance(data, dict) else {}), **properties} or None
    return msgspec.json.encode(event if data is None else {**event, "data": data})


def _data(text: object) -> object:
    """The column `data`: its members as they are written, or its text where it is no object."""
    if text is None:
        return None
    try:
        return _read_object(str(text))
    except (msgspec.DecodeError, RecursionError):
        return str(text)


def _json_value(value: Any) -> Any:
    """A cell in JSON. A float becomes an object, so that nothing takes its digits for exact ones."""
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, Decimal):
        return Raw(f"{value:f}".encode())
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    return value if isinstance(value, str | int | bool | None) else str(value)
