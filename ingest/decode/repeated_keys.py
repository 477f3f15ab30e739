"""JSON events that have a key twice, in the event or in its `data`: parsers disagree on which one counts, so we refuse.

No fast parser tells: msgspec, orjson and the standard library let the last one win. So the keys of a body are counted,
which costs a few percent of decoding it, and only when there are more than the values explain is each event read again,
pair by pair (docs/decisions/0009 has the figures).
"""

import json
import re
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from msgspec import Raw

from ingest.decode.columns import Problems
from ingest.decode.json_body import JsonValues
from ingest.decode.numbers import Problem

_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_SPACE_BEFORE_COLON = re.compile(rb'"\s+:')
_QUOTE, _COLON, _SPACE = ord('"'), ord(":"), ord(" ")
_WITHOUT_COLUMN = (b'"datacontenttype":', b'"dataschema":')
_SPACE_BEHIND_QUOTE = re.compile(rb'"[\x00- ]')
_SMALL_BYTES = 4096  # up to here the methods of bytes are faster than numpy
_VERSION = int.from_bytes(b"cver", "little")
"""A piece of `specversion`, which the values do not keep."""


def may_repeat_keys(body: bytes, values: JsonValues) -> bool:
    """Whether a JSON body has more keys than the `values` read from it explain.

    Each key is counted by the quote and colon that end it, and explained by the one value that it gave, so two keys for
    one value are too many. Every event must have `data`, and no space may stand before a colon: else it says true.
    """
    if not _all_have_data(values):
        return True
    given = [*values.attributes.values(), *values.properties.values()]
    explained = sum(len(column) - len([None for value in column if value is None]) for column in given)
    explained += len(values) + "\n".join(filter(None, values.data)).count('":') + _versions(body)
    keys, has_space_behind_quote = _keys(body)
    if keys != explained:
        explained += sum(body.count(name) for name in _WITHOUT_COLUMN)
    return keys != explained or has_space_behind_quote


def _keys(body: bytes) -> tuple[int, bool]:
    """How many quotes have a colon behind them, and whether one has white space there."""
    if len(body) <= _SMALL_BYTES:
        return body.count(b'":'), _SPACE_BEHIND_QUOTE.search(body) is not None
    characters = np.frombuffer(body, np.uint8)
    is_quote, behind = characters[:-1] == _QUOTE, characters[1:]
    return int(np.count_nonzero(is_quote & (behind == _COLON))), bool((is_quote & (behind <= _SPACE)).any())


def repeated_keys(items: Sequence[bytes]) -> Problems:
    """The events (JSON values) of `items` that have a key twice. What is no JSON is left to others."""
    found = ((row, _repeated(item)) for row, item in enumerate(items))
    return {row: _problem(key) for row, key in found if key is not None}


def repeated_in_data(texts: Sequence[str | None], objects: Sequence[Mapping[str, Raw]]) -> Problems:
    """The events whose `data`, a JSON text that was read as the object beside it, has a key twice."""
    rows = (
        row
        for row, (text, found) in enumerate(zip(texts, objects, strict=True))
        if text is not None and (text.count('":') != len(found) or _SPACE_BEFORE_COLON.search(text.encode()))
    )
    keys = ((row, _repeated_of(texts[row] or "", is_event=False)) for row in rows)
    return {row: _problem(key) for row, key in keys if key is not None}


def _all_have_data(values: JsonValues) -> bool:
    columns = [values.data, *values.properties.values()]
    if any(None not in column for column in columns):
        return True
    return all(any(value is not None for value in row) for row in zip(*columns, strict=True))


def _versions(body: bytes) -> int:
    """How often `specversion` is written; what else contains the piece only makes the count too high."""
    if len(body) <= _SMALL_BYTES:
        return body.count(b"cver")
    words = (len(body) - 3) // 4
    starts = range(4) if words > 0 else ()
    return sum(int(np.count_nonzero(np.frombuffer(body, "<u4", words, start) == _VERSION)) for start in starts)


def _repeated(item: bytes) -> str | None:
    """The first key that is twice in an event, or in its `data`."""
    return None if _keys_differ(item) else _repeated_of(item, is_event=True)


def _repeated_of(item: bytes | str, *, is_event: bool) -> str | None:
    """The same, pair by pair; of an object that is no event, only its own keys."""
    try:
        event = json.loads(item, object_pairs_hook=_Pairs, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, _Pairs):
        return None
    data = [value for key, value in event if is_event and key == "data" and isinstance(value, _Pairs)]
    parts = [event, *data]
    return next((key for part in parts if (key := _first_repeated(part)) is not None), None)


def _keys_differ(item: bytes) -> bool:
    """Whether an event has as many keys as are written in it: quicker than pair by pair, and enough for most."""
    try:
        event = _read_object(item)
        data = _read_object(event["data"]) if "data" in event else ()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return len(event) + len(data) == item.count(b'":') and _SPACE_BEFORE_COLON.search(item) is None


class _Pairs(list[tuple[str, object]]):
    """An object as it is written."""


def _first_repeated(pairs: _Pairs) -> str | None:
    if len({key for key, _ in pairs}) == len(pairs):
        return None
    seen: set[str] = set()
    return next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def _problem(key: str) -> Problem:
    return Problem("repeated_key", f"the key {key[:80]!r} is there more than once; send each key once")
