"""CloudEvents in JSON -> columns.

Three ways through, by what is in the batch; each gives the same columns for the same event:

1. `_alike`: each event is well typed and has no undeclared property that the first event does not have. One pass into
   structs; what is not declared is kept as it was written, in the order of the first event.
2. `_with_remainder`: well typed, but of several kinds. A second pass takes `data` apart into raw values; those not
   declared are put together again, digits and order untouched.
3. `_one_by_one`: some event is not well typed. Each is read by itself, so that only it is refused.

`read_json` gives plain values and `typed` makes columns of them: the values of many small bodies are typed together,
because a column of one value costs as much as one of a thousand.

Floats are never made: JSON floats arrive as their text (`float_hook=str`). CloudEvents attributes other than those of
USAGE_EVENT are dropped.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from json import JSONDecoder
from operator import attrgetter
from typing import Any, Literal

import msgspec
import polars as pl
from msgspec import Raw

from ingest.decode.columns import Container, Decoded, Problems, event_frame, property_values, time_column
from ingest.decode.numbers import Problem, shown
from ingest.errors import TooManyEvents, UnreadableBody
from rating.core.schema import PropertyType, property_column

TEXT_ATTRIBUTES = ("source", "id", "type", "subject")
FIRST_EVENT_BYTES = 8192  # of a body are looked at for the first event
UNDECLARED_MAX = 64
_ARRAY = re.compile(rb"[ \t\r\n]*\[")
_SPACE = b" \t\r\n"
_ABSENT = Raw()
_NO_FIELD_NAME = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')
"""What the name of a msgspec field cannot have."""
_first_value = JSONDecoder().raw_decode
_encode = msgspec.json.Encoder().encode
_read_value = msgspec.json.Decoder(float_hook=str).decode
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_read_array = msgspec.json.Decoder(list[Raw]).decode


@dataclass
class JsonValues:
    """The events of one body or of several: one list a column, one item an event.

    `declared` are the properties it was read with; `problems` are those that were found before the columns are typed.
    """

    declared: Mapping[str, PropertyType]
    attributes: dict[str, list[Any]]
    properties: dict[str, list[Any]]
    data: list[str | None]
    problems: Problems = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.data)


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


def read_json(
    body: bytes, kind: str, properties: Mapping[str, PropertyType], *, events_max: int | None = None
) -> JsonValues:
    """The values of a body, not typed yet. Raises UnreadableBody, TooManyEvents."""
    is_array = _ARRAY.match(body) is not None
    if (kind == "batch" and not is_array) or (kind == "one" and is_array):
        wanted = (
            "an array of events" if kind == "batch" else "one event; send arrays as application/cloudevents-batch+json"
        )
        raise UnreadableBody(f"the body is not {wanted}")
    try:
        values = _read(body, is_array, properties, events_max)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableBody(f"the body is not JSON in UTF-8: {error}") from error
    _check_events(len(values), events_max)
    return values


def merged(bodies: Sequence[JsonValues]) -> JsonValues:
    """The events of several bodies, read with the same properties, as if they had come in one."""
    problems: Problems = {}
    offset = 0
    for body in bodies:
        problems |= {offset + row: problem for row, problem in body.problems.items()}
        offset += len(body)
    attributes = {name: _chained([body.attributes[name] for body in bodies]) for name in bodies[0].attributes}
    properties = {name: _chained([body.properties[name] for body in bodies]) for name in bodies[0].declared}
    return JsonValues(bodies[0].declared, attributes, properties, _chained([body.data for body in bodies]), problems)


def typed(values: JsonValues) -> Decoded:
    """The columns; the first problem of an event is the one that was found first."""
    columns = {name: pl.Series(name, values.attributes[name], dtype=pl.String) for name in TEXT_ATTRIBUTES}
    columns["data"] = pl.Series("data", values.data, dtype=pl.String)
    columns["time"], found = time_column(values.attributes["time"])
    problems = found | values.problems
    for name, kind in values.declared.items():
        columns[property_column(name)], found = property_values(name, kind, values.properties[name])
        problems = found | problems
    return Decoded(event_frame(columns, values.declared), problems)


def _read(body: bytes, is_array: bool, properties: Mapping[str, PropertyType], events_max: int | None) -> JsonValues:
    try:
        return _alike(body, is_array, properties, ())
    except msgspec.ValidationError:
        undeclared = _undeclared_in_first(body, properties)
    if undeclared:
        try:
            return _alike(body, is_array, properties, undeclared)
        except msgspec.ValidationError:
            pass
    try:
        return _with_remainder(body, is_array, properties)
    except msgspec.ValidationError:
        raws = _read_array(body) if is_array else [Raw(body)]
        _check_events(len(raws), events_max)  # each takes microseconds
        return _one_by_one(raws, properties)


def _alike(
    body: bytes, is_array: bool, properties: Mapping[str, PropertyType], undeclared: tuple[str, ...]
) -> JsonValues:
    """ValidationError when something is badly typed, or neither declared nor one of `undeclared`."""
    events, datas, columns = _structs(body, is_array, tuple(properties), undeclared)
    return JsonValues(properties, _attributes(events), columns, _objects(datas, undeclared))


def _with_remainder(body: bytes, is_array: bool, properties: Mapping[str, PropertyType]) -> JsonValues:
    events, _, columns = _structs(body, is_array, tuple(properties), None)
    raws = _RAW_MANY(body) if is_array else [_RAW_ONE(body)]
    remainders = _remainders([raw.data or {} for raw in raws], tuple(properties))
    return JsonValues(properties, _attributes(events), columns, remainders)


def _structs(
    body: bytes, is_array: bool, properties: tuple[str, ...], undeclared: tuple[str, ...] | None
) -> tuple[Sequence[Any], Sequence[Any], dict[str, list[Any]]]:
    """The events, their data, and the values of each declared property. ValidationError when something is badly typed,
    or is not one of `undeclared` (null: may be anything)."""
    one, many, nothing = _struct_decoders(properties, undeclared)
    events = many(body) if is_array else [one(body)]
    datas = [event.data or nothing for event in events]
    return events, datas, {name: list(map(attrgetter(f"p{number}"), datas)) for number, name in enumerate(properties)}


def _undeclared_in_first(body: bytes, properties: Mapping[str, PropertyType]) -> tuple[str, ...]:
    """The properties of the first event that are not declared, in its order; none when it cannot be told."""
    text = body[:FIRST_EVENT_BYTES].decode(errors="replace")
    try:
        event, _ = _first_value(text, text.index("{"))
    except (ValueError, RecursionError):
        return ()
    data = event.get("data")
    names = tuple(name for name in data if name not in properties) if isinstance(data, dict) else ()
    return () if len(names) > UNDECLARED_MAX or any(map(_NO_FIELD_NAME.search, names)) else names


def _objects(datas: Sequence[Any], names: tuple[str, ...]) -> list[str | None]:
    """The members `names` of each data as a JSON object, as they were written; null where there are none."""
    if not names:
        return [None] * len(datas)
    keys = [_encode(name) + b":" for name in names]
    columns = [list(map(attrgetter(f"u{number}"), datas)) for number in range(len(names))]
    if any(_ABSENT in column for column in columns):
        return [_object(keys, row) for row in zip(*columns, strict=True)]
    template = b"{" + b",".join(key.replace(b"%", b"%%") + b"%b" for key in keys) + b"}"
    objects = [template % row for row in zip(*columns, strict=True)]
    joined = b"\n".join(objects)
    has_space = len(joined.translate(None, _SPACE)) < len(joined) - len(objects) + 1
    return [*map(_compact, objects)] if has_space else [*joined.decode().split("\n")]


def _object(keys: Sequence[bytes], row: Sequence[Raw]) -> str | None:
    members = [key + raw for key, raw in zip(keys, row, strict=True) if raw is not _ABSENT]
    return _compact(b"{" + b",".join(members) + b"}") if members else None


def _one_by_one(raws: Sequence[Raw], properties: Mapping[str, PropertyType]) -> JsonValues:
    problems: Problems = {}
    events: list[_RawEvent] = []
    for row, raw in enumerate(raws):
        try:
            events.append(_RAW_ONE(raw))
        except msgspec.ValidationError:
            event, problems[row] = _readable_part(raw)
            events.append(event)
    taken = take_apart([event.data or {} for event in events], tuple(properties))
    return JsonValues(properties, _attributes(events), *taken, problems)


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


def _check_events(number: int, events_max: int | None) -> None:
    if events_max is not None and number > events_max:
        raise TooManyEvents(f"{number} events in one batch; send at most {events_max}")


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


def _chained(lists: Sequence[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))


_RAW_ONE = msgspec.json.Decoder(_RawEvent).decode
_RAW_MANY = msgspec.json.Decoder(list[_RawEvent]).decode


@lru_cache(maxsize=64)
def _struct_decoders(
    properties: tuple[str, ...], undeclared: tuple[str, ...] | None
) -> tuple[Callable[[bytes], Any], Callable[[bytes], Any], Any]:
    """Decoders of one event and of an array that read `properties` in `data`, and `undeclared` as raw JSON (others are
    refused; null: others are skipped), and the data of an event without.

    Fields are p0, p1, ... and u0, u1, ... so that a property may have any name.
    """
    names = {f"p{number}": name for number, name in enumerate(properties)}
    raws = {f"u{number}": name for number, name in enumerate(undeclared or ())}
    fields: list[tuple[str, Any, Any]] = [(key, Any, None) for key in names]
    data = msgspec.defstruct(
        "Data",
        fields + [(key, Raw, _ABSENT) for key in raws],
        rename=names | raws,
        forbid_unknown_fields=undeclared is not None,
        gc=False,
    )
    event = msgspec.defstruct("Event", [("data", data | None, None)], bases=(_Attributes,), gc=False)
    one, many = (msgspec.json.Decoder(kind, float_hook=str).decode for kind in (event, list[event]))  # type: ignore[valid-type]  # built above
    return one, many, data()
