"""A JSON array of events that are all written alike -> columns, without an object for an event or a value.

What one program sends is written alike: the same keys in the same order, the same white space, other values. So the
first event gives a pattern: pieces of text that stand in every event, and between them places for values. All quotes of
the body are found at once; counted off by the pattern they tell where each value begins and ends. Every byte between
two values is compared with its piece, so nothing is guessed: a body that is anything else, if by one byte, is left to
json_body.py, and so is one with an escape, a control character, nested values, or a number that JSON does not know.

Why it is exact: strings here hold neither quote nor escape, so a text between two quotes that follow each other is that
value, and pieces and values together are the whole body. A key that is twice in one event is twice in the first.

Most of it is some thirty calls that cost as much for one body as for ten, so bodies of one pattern are read as one.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from ingest.decode.columns import Decoded, Problems, event_frame, number_texts, time_column, whole_number_column
from ingest.decode.json_body import JsonValues
from ingest.limits import IngestLimits
from rating.core.schema import PropertyType, property_column

BYTES_MIN = 16 << 10
"""Below this a reader of values takes less time."""
FIRST_EVENT_BYTES = 8192
_TEXT_ATTRIBUTES = ("source", "id", "type", "subject")
_QUOTE, _BACKSLASH, _SPACE, _CONTINUATION = ord('"'), b"\\", ord(" "), 0b10
_MEMBER = re.compile(rb' *"([^"]*)" *: *("[^"]*"|-?[0-9][0-9.eE+-]*|true|false|null|\{)')
_NEXT, _END = re.compile(rb" *([,}])"), re.compile(rb" *\}")
_QUOTES = re.compile(rb'"')
_SEPARATOR = re.compile(rb" *, *(?=\{)")
_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"
_SCALAR = rf"^(?:true|false|null)$|{_NUMBER}"

_CHECK = "is as written: "

Use = Literal["attribute", "string", "number", "undeclared", "ignored"]


@dataclass(frozen=True)
class _Member:
    """A key of an event, or of its data, and where its value stands in the body."""

    key: str
    is_in_data: bool
    start: int
    end: int
    is_text: bool


@dataclass(frozen=True)
class _Value:
    """A place for a value: what it is used for, and whether it stands between quotes."""

    use: Use
    name: str
    is_text: bool


@dataclass(frozen=True)
class Pattern:
    """`pieces[i]` stands before `values[i]`; the first one is what is between the last value of an event and the first
    one of the next."""

    pieces: tuple[str, ...]
    values: tuple[_Value, ...]


@dataclass(frozen=True)
class First:
    """The pattern of a body, and how its quotes are counted off: each value begins some bytes behind one quote of its
    event (`begins`: number from 0, bytes), and ends some bytes before another, maybe the first of the next event.

    `event` matches an event of the pattern behind the bracket that opens a body.
    """

    pattern: Pattern
    quotes: int
    begins: tuple[tuple[int, int], ...]
    ends: tuple[tuple[int, int], ...]
    tail: bytes
    separator: bytes
    first_quote: int
    event: re.Pattern[bytes]


_lately: deque[tuple[Mapping[str, PropertyType], IngestLimits, First]] = deque(maxlen=8)


@dataclass(frozen=True)
class UniformBody:
    """A body whose first event has a pattern, and as many quotes as a number of such events. `quotes` are their places,
    one row an event; `read` reads the body the exact way, and raises what is wrong with it."""

    body: bytes
    declared: Mapping[str, PropertyType]
    first: First
    quotes: npt.NDArray[np.int32]
    read: Callable[[], JsonValues]

    def __len__(self) -> int:
        return len(self.quotes)


def uniform_body(
    body: bytes, properties: Mapping[str, PropertyType], limits: IngestLimits, read: Callable[[], JsonValues]
) -> UniformBody | None:
    """Null when the body must be read otherwise, whatever is wrong with it."""
    if len(body) < BYTES_MIN or not body.startswith(b"[{") or not body.endswith(b"}]") or _BACKSLASH in body:
        return None
    characters = np.frombuffer(body, np.uint8)
    if characters.min() < _SPACE or not _is_unicode(body):
        return None
    first = _known(body, properties, limits) or _first(body, properties, limits)
    if first is None:
        return None
    quotes = np.flatnonzero(characters == _QUOTE)
    if len(quotes) % first.quotes or len(quotes) // first.quotes > limits.events_per_batch:
        return None
    return UniformBody(body, properties, first, quotes.astype(np.int32).reshape(-1, first.quotes), read)


def read_uniform(bodies: Sequence[UniformBody]) -> Decoded | None:
    """The columns of bodies of one pattern, one behind the other; null when one of them is not as its first event."""
    texts = _cut(bodies)
    return None if texts is None else _columns(texts, bodies[0].first.pattern, bodies[0].declared)


def _known(body: bytes, properties: Mapping[str, PropertyType], limits: IngestLimits) -> First | None:
    """A pattern that was found lately in another body, and that the first event of this one has."""
    for declared, under, first in tuple(_lately):
        if declared is properties and under is limits and first.event.match(body, 1) is not None:
            return first
    return None


def _is_unicode(body: bytes) -> bool:
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False


def _first(body: bytes, properties: Mapping[str, PropertyType], limits: IngestLimits) -> First | None:
    """What the first event tells; null when it is not of the kind that is read here."""
    members, end = _members(body[:FIRST_EVENT_BYTES], 1, is_data=False)
    separator = _SEPARATOR.match(body, end) if end else None
    if separator is None or len({(m.is_in_data, m.key) for m in members}) < len(members):
        return None
    uses = [_use(member, body, properties) for member in members]
    undeclared = sum(use == "undeclared" for use in uses)
    if None in uses or undeclared > limits.data_properties or limits.data_depth < 1:
        return None
    values = [(m, use) for m, use in zip(members, uses, strict=True) if use is not None and use != "constant"]
    if not values:
        return None
    first = _measured(body, values, end, separator.group())
    _lately.append((properties, limits, first))
    return first


def _members(body: bytes, at: int, *, is_data: bool) -> tuple[list[_Member], int]:
    """The members of the object that begins at `at`, `data` taken apart, and where it ends: 0 when it is not flat."""
    members: list[_Member] = []
    at += 1
    if (end := _END.match(body, at)) is not None:
        return members, end.end()
    while (member := _MEMBER.match(body, at)) is not None:
        key, (start, at) = member[1].decode(errors="replace"), member.span(2)
        if member[2] == b"{":
            if is_data or key != "data":
                return [], 0
            inner, at = _members(body, start, is_data=True)
            members += [_Member("data", False, start, start, False), *inner]
        else:
            members.append(_Member(key, is_data, start, at, body[start] == _QUOTE))
        following = _NEXT.match(body, at) if at else None
        if following is None:
            return [], 0
        at = following.end()
        if following[1] == b"}":
            return members, at
    return [], 0


def _use(member: _Member, body: bytes, properties: Mapping[str, PropertyType]) -> Use | Literal["constant"] | None:
    """What a value is for; null when it must be read otherwise."""
    if member.is_in_data:
        kind = properties.get(member.key)
        if kind is None:
            return "undeclared"
        return None if kind == "string" and not member.is_text else kind
    if member.key in (*_TEXT_ATTRIBUTES, "time"):
        return "attribute" if member.is_text else None
    if member.key == "specversion":
        return "constant" if body[member.start : member.end] == b'"1.0"' else None
    if member.key == "data":
        return "constant" if member.start == member.end else None
    if member.key == "data_base64":
        return None
    return "ignored" if member.is_text else "constant"


def _measured(body: bytes, members: Sequence[tuple[_Member, Use]], end: int, separator: bytes) -> First:
    quotes = [match.start() for match in _QUOTES.finditer(body, 0, end)]
    starts = [member.start + member.is_text for member, _ in members]
    stops = [member.end - member.is_text for member, _ in members]
    begins, ends = [], []
    following = end + len(separator) + quotes[0] - 1  # the first quote of the next event
    for start, stop in zip(starts, stops, strict=True):
        before = max(number for number, at in enumerate(quotes) if at < start)
        behind = next((number for number, at in enumerate(quotes) if at >= stop), len(quotes))
        begins.append((before, start - quotes[before]))
        ends.append((behind, [*quotes, following][behind] - stop))
    tail = body[stops[-1] : end]
    pieces = [body[1 : starts[0]]] + [body[stop:start] for stop, start in zip(stops, starts[1:], strict=False)]
    values = tuple(_Value(use, member.key, member.is_text) for member, use in members)
    places = (rb'[^"]*' if value.is_text else rb'[^", }]*' for value in values)
    event = b"".join(re.escape(piece) + place for piece, place in zip(pieces, places, strict=True)) + re.escape(tail)
    pieces[0] = tail + separator + pieces[0]
    pattern = Pattern(tuple(piece.decode() for piece in pieces), values)
    measures = (tuple(begins), tuple(ends), tail, separator, quotes[0] - 1, re.compile(event))
    return First(pattern, len(quotes), *measures)


def _cut(bodies: Sequence[UniformBody]) -> pl.Series | None:
    """All events as texts: piece, value, piece, value, ... Null when their quotes do not allow that."""
    first = bodies[0].first
    leading = first.tail + first.separator
    parts = [leading, first.separator.join([body.body[1:-1] for body in bodies]), b"]"]
    text = b"".join(parts)
    shifts = accumulate((len(body.body) - 2 + len(first.separator) for body in bodies), initial=len(leading) - 1)
    quotes = np.concatenate([body.quotes + np.int32(shift) for body, shift in zip(bodies, shifts, strict=False)])
    following = np.append(quotes[1:, 0], len(text) - 1 + len(first.separator) + first.first_quote)
    bounds = np.empty((len(quotes), 2 * len(first.begins)), np.int32)
    for number, (begin, end) in enumerate(zip(first.begins, first.ends, strict=True)):
        bounds[:, 2 * number] = quotes[:, begin[0]] + begin[1]
        bounds[:, 2 * number + 1] = (quotes[:, end[0]] if end[0] < first.quotes else following) - end[1]
    offsets = np.append(np.int32(0), bounds.ravel())
    if (offsets[1:] < offsets[:-1]).any() or text[offsets[-1] :] != first.tail + b"]":
        return None
    if not text.isascii() and (np.frombuffer(text, np.uint8)[offsets] >> 6 == _CONTINUATION).any():
        return None
    return pl.Series("text", pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(text)))


def _columns(texts: pl.Series, pattern: Pattern, properties: Mapping[str, PropertyType]) -> Decoded | None:
    """Null when a piece is not as in the pattern, or what stands without quotes is no JSON."""
    found = texts.to_frame().select_seq(_computed(pattern))
    if not all(found.get_column(name)[0] for name in found.columns if name.startswith(_CHECK)):
        return None
    columns = {name: found.get_column(name) for name in found.columns if not name.startswith(_CHECK)}
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, found.height)
    for name in (*_TEXT_ATTRIBUTES, "time", "data"):
        columns.setdefault(name, nothing)
    columns["time"], problems = time_column(columns["time"])
    quoted = {value.name: value.is_text for value in pattern.values if value.use == "number"}
    for name, kind in properties.items():
        column = columns.get(property_column(name), nothing)
        if kind == "number":
            numbers = _numbers(name, column, is_quoted=quoted.get(name, True))
            if numbers is None:
                return None
            column, problems = numbers[0], numbers[1] | problems
        columns[property_column(name)] = column
    return Decoded(event_frame(columns, properties), problems)


@lru_cache(maxsize=64)  # building expressions costs more than running them
def _computed(pattern: Pattern) -> list[pl.Expr]:
    """All that one query computes: whether each piece is what it should be in all events, and the columns."""
    text, step = pl.col("text"), 2 * len(pattern.values)
    checks = [
        (text.gather_every(step, 2 * number) == pl.lit(piece)).all().alias(f"{_CHECK}{number}")
        for number, piece in enumerate(pattern.pieces)
    ]
    columns, members = [], []
    for number, value in enumerate(pattern.values):
        column = text.gather_every(step, 2 * number + 1)
        if value.use == "undeclared":
            members.append((value, column))
            if not value.is_text:
                checks.append(column.str.contains(_SCALAR).all().alias(f"{_CHECK}scalar {number}"))
        elif value.use != "ignored":
            columns.append(column.alias(value.name if value.use == "attribute" else property_column(value.name)))
    return [*columns, *([_object(members)] if members else []), *checks]


def _object(members: Sequence[tuple[_Value, pl.Expr]]) -> pl.Expr:
    """The values of each event as a JSON object."""
    parts: list[pl.Expr] = []
    for number, (value, column) in enumerate(members):
        quote = '"' if value.is_text else ""
        parts += [pl.lit(f'{"," if number else "{"}"{value.name}":{quote}'), column, pl.lit(quote)]
    return pl.concat_str([*parts, pl.lit("}")]).alias("data")


def _numbers(name: str, texts: pl.Series, *, is_quoted: bool) -> tuple[pl.Series, Problems] | None:
    """Exact quantities; null when a text without quotes is no number."""
    whole = texts.cast(pl.Int64, strict=False)
    if not whole.null_count() and whole.cast(pl.String).equals(texts):
        return whole_number_column(name, whole)
    if not is_quoted and not texts.str.contains(_NUMBER).all():
        return None
    return number_texts(name, texts)
