"""NDJSON (one event a line) -> values, through the same reader as JSON. A line that is no JSON refuses that event."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from ingest.decode.json_body import JsonValues, read_json
from ingest.decode.numbers import Problem, shown
from rating.core.schema import PropertyType

_read_raw = msgspec.json.Decoder(Raw).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def lines_of(body: bytes) -> list[bytes]:
    """The lines that are not blank, as they are; LF or CR LF ends one."""
    return [line for line in body.split(b"\n") if line and not line.isspace()]


def read_lines(lines: list[bytes], properties: Mapping[str, PropertyType]) -> JsonValues:
    """One event a line. A line holds exactly one JSON value: each is read by itself first, so that two broken lines
    cannot make a whole one."""
    broken = {row: error for row, line in enumerate(lines) if (error := _error(line)) is not None}
    whole = [b"null" if row in broken else line for row, line in enumerate(lines)] if broken else lines
    values = read_json(b"[" + b",".join(whole) + b"]", "batch", properties, events_max=len(lines))
    for row, error in broken.items():
        excerpt = shown(lines[row].decode(errors="replace").strip())
        values.problems[row] = Problem("malformed_event", f"the line is {excerpt}, which is not JSON in UTF-8: {error}")
    return values


def _error(line: bytes) -> str | None:
    try:
        _read_raw(line)
        if not line.isascii():
            line.decode()  # the reader of raw values does not look into strings
    except _UNREADABLE as error:
        return str(error)
    return None
