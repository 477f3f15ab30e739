"""From the bytes of a body to columns. Numbers are read from digits; what is wrong with one event stays with it."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from ingest.decode.arrow_stream import decode_arrow
from ingest.decode.checks import data_problems, nul_in_values
from ingest.decode.columns import Decoded
from ingest.decode.encoding import check_size, unpacked
from ingest.decode.json_body import JsonValues, read_json, typed
from ingest.decode.media_types import ARROW, CONTENT_TYPES, CSV, JSON_KINDS, NDJSON, PARQUET, is_columnar, media_type_of
from ingest.decode.ndjson import lines_of, read_lines
from ingest.decode.numbers import Problem
from ingest.decode.originals import json_items
from ingest.decode.repeated_keys import may_repeat_keys, repeated_keys
from ingest.decode.tables import decode_csv, decode_parquet
from ingest.decode.uniform import UniformBody, read_uniform, uniform_body
from ingest.errors import TooManyEvents, UnsupportedContentType
from ingest.limits import IngestLimits
from rating.core.schema import PropertyType

__all__ = ["CONTENT_TYPES", "Decoded", "Problem", "decode", "read_values", "unpack"]

_COMMAS_AN_EVENT, _OBJECTS_AN_EVENT = 8, 4
"""A body with more of them than so many for each event that it may have is refused before it is made into objects."""


def decode(body: bytes, content_type: str, properties: Mapping[str, PropertyType], limits: IngestLimits) -> Decoded:
    """Read the events of `body` (see `unpack`), in their order.

    Raises UnsupportedContentType, UnreadableBody, BodyTooLarge: then no event of the body is judged.
    """
    check_size(len(body), limits.arrow_bytes if is_columnar(media_type_of(content_type)) else limits.inflated_bytes)
    values = read_values(body, content_type, properties, limits)
    if values is None:
        return _decode_table(body, content_type, properties, limits)
    if isinstance(values, JsonValues):
        return typed(values)
    return read_uniform([values]) or typed(values.read())


def unpack(body: bytes, content_type: str, content_encoding: str, limits: IngestLimits) -> bytes:
    """A body as it was before its Content-Encoding, within the limits of its size before and after.

    Raises UnsupportedEncoding, UnreadableBody, BodyTooLarge.
    """
    columnar = is_columnar(media_type_of(content_type))
    check_size(len(body), limits.arrow_bytes if columnar else limits.json_bytes)
    if not content_encoding:
        return body
    bytes_max = limits.arrow_bytes if columnar else limits.inflated_bytes
    return unpacked(body, content_encoding, bytes_max=bytes_max, ratio_max=limits.inflated_ratio)


def read_values(
    body: bytes, content_type: str, properties: Mapping[str, PropertyType], limits: IngestLimits
) -> JsonValues | UniformBody | None:
    """The events of a body that is JSON or NDJSON, checked but not typed yet; null when it is something else. A body
    that looks as if all its events were written alike is not checked yet either.

    Raises UnreadableBody, BodyTooLarge.
    """
    media_type = media_type_of(content_type)
    if JSON_KINDS.get(media_type, "one") != "one":
        uniform = uniform_body(body, properties, limits, partial(_read_values, body, media_type, properties, limits))
        if uniform is not None:
            return uniform
    if media_type in JSON_KINDS or media_type in NDJSON:
        return _read_values(body, media_type, properties, limits)
    return None


def _read_values(
    body: bytes, media_type: str, properties: Mapping[str, PropertyType], limits: IngestLimits
) -> JsonValues:
    if media_type in NDJSON:
        lines = lines_of(body)
        _check_events(len(lines), limits)
        values = read_lines(lines, properties)
    else:
        _check_values(body, limits)
        values = read_json(body, JSON_KINDS[media_type], properties, events_max=limits.events_per_batch)
    _check_events(len(values), limits)
    _note_problems(body, media_type, values, limits)
    return values


def _decode_table(
    body: bytes, content_type: str, properties: Mapping[str, PropertyType], limits: IngestLimits
) -> Decoded:
    readers = {ARROW: decode_arrow, PARQUET: decode_parquet, CSV: decode_csv}
    read = readers.get(media_type_of(content_type))
    if read is None:
        raise UnsupportedContentType(
            f"content type {content_type!r} is not read here; send one of {', '.join(CONTENT_TYPES)}"
        )
    decoded = read(body, properties, limits)
    _check_events(decoded.events.height, limits)
    data = decoded.events.get_column("data")
    if data.null_count() < len(data):
        decoded.problems.update(data_problems(data, limits))
    return decoded


def _note_problems(body: bytes, media_type: str, values: JsonValues, limits: IngestLimits) -> None:
    """Add what no reader of JSON sees. The first problem of an event stands."""
    found = data_problems(values.data, limits)
    if b"\\" in body and b"\\u0000" in body:
        found |= nul_in_values([*values.attributes.values(), *values.properties.values()], values.data)
    if limits.refuse_repeated_keys and may_repeat_keys(body, values):
        found |= repeated_keys(lines_of(body) if media_type in NDJSON else json_items(body))
    for row, problem in found.items():
        values.problems.setdefault(row, problem)


def _check_events(number: int, limits: IngestLimits) -> None:
    if number > limits.events_per_batch:
        raise TooManyEvents(f"{number} events in one batch; send at most {limits.events_per_batch}")


def _check_values(body: bytes, limits: IngestLimits) -> None:
    """Refuse a body of very many tiny values: as objects they would take a hundred times its size."""
    if len(body) <= _OBJECTS_AN_EVENT * limits.events_per_batch:
        return
    characters = np.frombuffer(body, np.uint8)
    most = {ord(","): _COMMAS_AN_EVENT, ord("{"): _OBJECTS_AN_EVENT}
    if any(np.count_nonzero(characters == mark) > each * limits.events_per_batch for mark, each in most.items()):
        raise TooManyEvents(f"more values than {limits.events_per_batch} events have; send at most that many events")
