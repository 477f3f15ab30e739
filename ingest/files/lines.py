"""NDJSON -> event tables. A line is a CloudEvent (it has `specversion`, or `data` that is an object), or a flat object
whose fields are attributes and properties. Values stay the JSON text that they are, so that no number changes."""

from collections.abc import Iterable, Iterator
from io import BufferedReader
from itertools import islice
from pathlib import Path

import msgspec
import pyarrow as pa
from msgspec import Raw

from ingest.files.columns import zoned_time
from ingest.files.mapping import ATTRIBUTES, LEFT_OUT, Column, ColumnMapping, Constant, Resolved
from ingest.files.tables import part_read, reading, uncompressed

_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_read_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode

Line = tuple[int, bytes]


def numbered_lines(path: Path, rows: int) -> Iterator[tuple[list[Line], float]]:
    """The lines that are not blank, with their numbers from 1, `rows` at a time, and the part of the file read."""
    with reading(path), path.open("rb") as file:
        content = uncompressed(path, file)
        lines = BufferedReader(content) if isinstance(content, pa.NativeFile) else content
        full = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
        while chunk := list(islice(full, rows)):
            yield chunk, part_read(path, file)


def field_names(lines: Iterable[Line]) -> list[str]:
    """The fields that lines have, those within the `data` of a CloudEvent too, in the order of their first line."""
    names: dict[str, None] = {}
    for _, line in lines:
        fields = _fields(line)
        if fields is not None:
            names |= dict.fromkeys([*fields, *(_cloud_event_data(fields) or {})])
    return list(names)


def event_table_of_lines(
    lines: list[Line], mapping: Resolved, wanted: ColumnMapping, digest: str, file: str
) -> pa.Table:
    """One row a line: the attributes, and `data` with all properties. What is no JSON object is left to the log to
    refuse, by its text in `data`."""
    columns: dict[str, list[str | None]] = {name: [] for name in (*ATTRIBUTES, "data")}
    for number, line in lines:
        fields = _fields(line)
        data = _data(fields, mapping, wanted) if fields is not None else line.decode(errors="replace").strip()
        columns["data"].append(data)
        for name in ATTRIBUTES:
            origin = mapping.attributes.get(name)
            made = f"{digest}-{number}" if origin is None else None
            columns[name].append(made or _attribute(fields or {}, origin))
    table = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    time = mapping.attributes["time"]
    where = f"{file}: field {time.name!r}" if isinstance(time, Column) else f"{file}: --time"
    table["time"] = zoned_time(pa.chunked_array([table["time"]]), wanted.time_zone, where)
    return pa.table(table)


def _attribute(fields: dict[str, Raw], origin: Column | Constant | None) -> str | None:
    """The text of a field: a string's content, a number's digits."""
    if isinstance(origin, Constant):
        return origin.value
    raw = fields.get(origin.name) if origin is not None else None
    text = bytes(raw).strip().decode() if raw is not None else "null"
    return None if text == "null" else _read_text(text) if text.startswith('"') else text


def _data(fields: dict[str, Raw], mapping: Resolved, wanted: ColumnMapping) -> str | None:
    """The properties as a JSON object: those of a CloudEvent are in its `data`, those of a flat object beside it."""
    inner = _cloud_event_data(fields)
    values = fields if inner is None else inner
    named = {name: values[column] for name, column in wanted.properties.items() if column in values}
    if wanted.only:
        return _encode(named).decode() if named else None
    taken = set(wanted.properties.values())
    if inner is None:
        taken |= {*ATTRIBUTES, *LEFT_OUT, *mapping.columns_of_attributes()}
    others = {name: value for name, value in values.items() if name not in taken and name not in named}
    return _encode({**named, **others}).decode() if named or others else None


def _cloud_event_data(fields: dict[str, Raw]) -> dict[str, Raw] | None:
    """The properties of a CloudEvent, None for a flat object."""
    try:
        return _read_object(fields["data"]) if "data" in fields else {} if "specversion" in fields else None
    except msgspec.DecodeError:
        return None


def _fields(line: bytes) -> dict[str, Raw] | None:
    try:
        return _read_object(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
