"""CloudEvents in JSON -> columns.

Three ways through, by what is in the batch; each gives the same columns for the same event:

1. `_declared_only`: each event is well typed and has no property that is not declared. One pass into structs.
2. `_with_remainder`: well typed, but something is not declared. A second pass takes `data` apart into raw values; those
   not declared are put together again, digits and order untouched.
3. `_one_by_one`: some event is not well typed. Each is read by itself, so that only it is refused.

Floats are never made: JSON floats arrive as their text (`float_hook=str`). CloudEvents attributes other than those of
USAGE_EVENT are dropped.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal

import msgspec
import polars as pl
from msgspec import Raw

from ingest.decode.columns import Container, Decoded, Problems, event_frame, property_values, time_column
from ingest.decode.numbers import Problem, shown
from ingest.errors import UnreadableBody
from rating.core.schema import PropertyType, property_column

TEXT_ATTRIBUTES = ("source", "id", "type", "subject")
_ARRAY = re.compile(rb"[ \t\r\n]*\[")
_encode = msgspec.json.Encoder().encode
_read_value = msgspec.json.Decoder(float_hook=str).decode
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_read_array = msgspec.json.Decoder(list[Raw]).decode


@dataclass
class _Values:
    """One list a column, one item an event; `problems` are those that were found before the columns are typed."""

    attributes: dict[str, list[Any]]
    properties: dict[str, list[Any]]
    data: list[str | None]
    problems: Problems = field(default_factory=dict)


class _Attributes(msgspec.Struct, gc=False):
    source: str | None = None
    id: str | None = None
    type: str | None = None
    subject: str | None = None
    time: str | None = None
    specversion: Literal["1.0"] | None = None
    data_base64: None = None


class _RawEvent(_Attributes, gc=False):
    data: dict[str, Raw] | None = None


def decode_json(body: bytes, kind: str, properties: Mapping[str, PropertyType]) -> Decoded:
    """Read a body of one event (`kind` one), an array (batch), or what it starts like (either)."""
    is_array = _ARRAY.match(body) is not None
    if (kind == "batch" and not is_array) or (kind == "one" and is_array):
        wanted = (
            "an array of events" if kind == "batch" else "one event; send arrays as application/cloudevents-batch+json"
        )
        raise UnreadableBody(f"the body is not {wanted}")
    try:
        values = _read(body, is_array, tuple(properties))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableBody(f"the body is not JSON in UTF-8: {error}") from error
    return _typed(values, properties)


def _read(body: bytes, is_array: bool, properties: tuple[str, ...]) -> _Values:
    try:
        return _declared_only(body, is_array, properties)
    except msgspec.ValidationError:
        pass
    try:
        return _with_remainder(body, is_array, properties)
    except msgspec.ValidationError:
        return _one_by_one(_read_array(body) if is_array else [Raw(body)], properties)


def _declared_only(body: bytes, is_array: bool, properties: tuple[str, ...]) -> _Values:
    events, columns = _structs(body, is_array, properties, is_strict=True)
    return _Values(_attributes(events), columns, [None] * len(events))


def _with_remainder(body: bytes, is_array: bool, properties: tuple[str, ...]) -> _Values:
    events, columns = _structs(body, is_array, properties, is_strict=False)
    raws = _RAW_MANY(body) if is_array else [_RAW_ONE(body)]
    return _Values(_attributes(events), columns, _remainders([raw.data or {} for raw in raws], properties))


def _structs(
    body: bytes, is_array: bool, properties: tuple[str, ...], *, is_strict: bool
) -> tuple[Sequence[Any], dict[str, list[Any]]]:
    """The events, and the values of each declared property. ValidationError when something is badly typed, or not
    declared while `is_strict`."""
    one, many, nothing = _struct_decoders(properties, is_strict)
    events = many(body) if is_array else [one(body)]
    datas = [event.data or nothing for event in events]
    return events, {name: list(map(attrgetter(f"p{number}"), datas)) for number, name in enumerate(properties)}


def _one_by_one(raws: Sequence[Raw], properties: tuple[str, ...]) -> _Values:
    problems: Problems = {}
    events: list[_RawEvent] = []
    for row, raw in enumerate(raws):
        try:
            events.append(_RAW_ONE(raw))
        except msgspec.ValidationError:
            event, problems[row] = _readable_part(raw)
            events.append(event)
    return _Values(_attributes(events), *take_apart([event.data or {} for event in events], properties), problems)


def take_apart(
    datas: Sequence[dict[str, Raw]], properties: tuple[str, ...]
) -> tuple[dict[str, list[Any]], list[str | None]]:
    """Take the declared properties out of each `data`; what is left becomes JSON again."""
    columns = {name: [_plain_value(data.get(name)) for data in datas] for name in properties}
    return columns, _remainders(datas, properties)


def _remainders(datas: Sequence[dict[str, Raw]], properties: tuple[str, ...]) -> list[str | None]:
    for data in datas:
        for name in properties:
            data.pop(name, None)
    return [_compact(_encode(data)) if data else None for data in datas]


def read_data_texts(texts: Sequence[str | None]) -> tuple[list[dict[str, Raw]], Problems]:
    """The objects in a column of JSON texts; what is not an object is empty and a problem."""
    objects: list[dict[str, Raw]] = []
    problems: Problems = {}
    for row, text in enumerate(texts):
        try:
            objects.append(_read_object(text) if text is not None else {})
        except (msgspec.DecodeError, RecursionError):
            objects.append({})
            problems[row] = Problem("malformed_event", f"data is {shown(text or '')}; send a JSON object")
    return objects, problems


def _readable_part(raw: Raw) -> tuple["_RawEvent", Problem]:
    """What can be read of a badly typed event, and its first problem."""
    try:
        fields = _read_object(raw)
    except msgspec.ValidationError:
        return _RawEvent(), Problem("malformed_event", f"the event is {_excerpt(raw)}; send a JSON object")
    texts = {name: _text(fields.get(name)) for name in (*TEXT_ATTRIBUTES, "time")}
    data, data_problem = _data_of(fields)
    problem = _version_problem(fields) or _text_problem(fields, texts) or data_problem
    assert problem is not None
    source, key, kind, subject, time = texts.values()
    return _RawEvent(source=source, id=key, type=kind, subject=subject, time=time, data=data), problem


def _text_problem(fields: Mapping[str, Raw], texts: Mapping[str, str | None]) -> Problem | None:
    for name, text in texts.items():
        if text is None and _plain_value(fields.get(name)) is not None:
            code = "invalid_time" if name == "time" else "malformed_event"
            return Problem(code, f"{name} is {_excerpt(fields[name])}; send a string")
    return None


def _data_of(fields: Mapping[str, Raw]) -> tuple[dict[str, Raw], Problem | None]:
    if _plain_value(fields.get("data_base64")) is not None:
        return {}, Problem("malformed_event", "the event has data_base64; send data as a JSON object")
    try:
        return _read_object(fields["data"]) if _plain_value(fields.get("data")) is not None else {}, None
    except msgspec.ValidationError:
        return {}, Problem("malformed_event", f"data is {_excerpt(fields['data'])}; send a JSON object")


def _version_problem(fields: Mapping[str, Raw]) -> Problem | None:
    version = fields.get("specversion")
    if _plain_value(version) is None or _text(version) == "1.0":
        return None
    return Problem("unsupported_specversion", f'specversion is {_excerpt(fields["specversion"])}; send "1.0"')


def _plain_value(raw: Raw | None) -> object:
    """A raw JSON value as `property_values` wants it: numbers as text, so that no number is too long to read."""
    if raw is None:
        return None
    text = bytes(raw).strip()
    first = text[:1]
    if first in b"-0123456789":
        return "0" if text == b"-0" else text.decode()
    return Container() if first in b"{[" else _read_value(text)


def _text(raw: Raw | None) -> str | None:
    """The string that a raw value is; null when it is something else."""
    return str(_read_value(raw)) if raw is not None and bytes(raw).lstrip()[:1] == b'"' else None


def _compact(encoded: bytes) -> str:
    """Raw values keep the white space they came with; take it out where there is any."""
    has_space = b" " in encoded or b"\n" in encoded or b"\t" in encoded or b"\r" in encoded
    return (msgspec.json.format(encoded, indent=-1) if has_space else encoded).decode()


def _excerpt(raw: Raw) -> str:
    return shown(bytes(raw).decode(errors="replace"))


def _attributes(events: Sequence[_Attributes]) -> dict[str, list[Any]]:
    return {
        "source": [event.source for event in events],
        "id": [event.id for event in events],
        "type": [event.type for event in events],
        "subject": [event.subject for event in events],
        "time": [event.time for event in events],
    }


def _typed(values: _Values, properties: Mapping[str, PropertyType]) -> Decoded:
    """The columns; the first problem of an event is the one that was found first."""
    columns = {name: pl.Series(name, values.attributes[name], dtype=pl.String) for name in TEXT_ATTRIBUTES}
    columns["data"] = pl.Series("data", values.data, dtype=pl.String)
    columns["time"], found = time_column(values.attributes["time"])
    problems = found | values.problems
    for name, kind in properties.items():
        columns[property_column(name)], found = property_values(name, kind, values.properties[name])
        problems = found | problems
    return Decoded(event_frame(columns, properties), problems)


_RAW_ONE = msgspec.json.Decoder(_RawEvent).decode
_RAW_MANY = msgspec.json.Decoder(list[_RawEvent]).decode


@lru_cache(maxsize=16)
def _struct_decoders(
    properties: tuple[str, ...], is_strict: bool
) -> tuple[Callable[[bytes], Any], Callable[[bytes], Any], Any]:
    """Decoders of one event and of an array that read `properties` in `data` (`is_strict`: and refuse others there),
    and the data of an event without.

    Fields are p0, p1, ... so that a property may have any name.
    """
    names = {f"p{number}": name for number, name in enumerate(properties)}
    data = msgspec.defstruct(
        "Data", [(key, Any, None) for key in names], rename=names, forbid_unknown_fields=is_strict, gc=False
    )
    event = msgspec.defstruct("Event", [("data", data | None, None)], bases=(_Attributes,), gc=False)
    one, many = (msgspec.json.Decoder(kind, float_hook=str).decode for kind in (event, list[event]))  # type: ignore[valid-type]  # built above
    return one, many, data()
