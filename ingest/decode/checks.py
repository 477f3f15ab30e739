"""What decoded events may not hold, whatever content type they came in: NUL, deep or wide `data`."""

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from msgspec import Raw
from pyarrow import types

from ingest.decode.columns import Problems
from ingest.decode.numbers import Problem, shown
from ingest.errors import TooManyColumns, UnreadableBody
from ingest.limits import IngestLimits

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKET = re.compile(rb"[\[\]{}]")
_STEP = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}
_ESCAPED_NUL = re.compile(r"(?:^|[^\\])(?:\\\\)*\\u0000")
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_MEMBER_BYTES_MIN = 5  # "":0,
_NUL = Problem("invalid_character", "the event has the character U+0000; leave it out")


def data_problems(data: Iterable[str | None], limits: IngestLimits) -> Problems:
    """The events whose `data` (what is not declared, as JSON) is nested too deeply, or has too many properties.

    A text with few brackets and keys in all passes at once; only others are looked into.
    """
    if isinstance(data, pl.Series) and _all_in_column_are_flat(data, limits):
        return {}
    values = data.to_list() if isinstance(data, pl.Series) else list(data)
    texts = [text for text in values if text is not None]
    if not texts or _all_are_flat(texts, limits):
        return {}
    suspects = ((row, text) for row, text in enumerate(values) if text is not None and _is_suspect(text, limits))
    found = {row: _data_problem(text.encode(), limits) for row, text in suspects}
    return {row: problem for row, problem in found.items() if problem is not None}


def nul_in_values(columns: Iterable[list[object]], data: Iterable[str | None]) -> Problems:
    """The events that have a NUL in a value of `columns`, or escaped in `data`."""
    rows = {row for column in columns for row, value in enumerate(column) if isinstance(value, str) and "\0" in value}
    rows |= {row for row, text in enumerate(data) if text is not None and _ESCAPED_NUL.search(text)}
    return dict.fromkeys(sorted(rows), _NUL)


def nul_in_events(events: pl.DataFrame) -> Problems:
    """The decoded events that have a NUL in a text, or escaped in `data`."""
    texts = [events[name].to_list() for name, dtype in events.schema.items() if dtype == pl.String]
    return nul_in_values(texts, events["data"])


def has_nul(table: pa.Table) -> bool:
    """Whether a NUL can be in the texts of a table: looks at their memory as a whole, at once."""
    if any(types.is_dictionary(kind) or types.is_string_view(kind) for kind in table.schema.types):
        return True
    return any(
        _may_have_nul(column, is_json=name == "data")
        for name, column in zip(table.column_names, table.columns, strict=True)
    )


def check_columns(names: Sequence[str], limits: IngestLimits) -> None:
    """Raise UnreadableBody when a name is there twice, TooManyColumns when there are too many."""
    if len(names) > limits.columns:
        raise TooManyColumns(f"the body has {len(names)} columns; send at most {limits.columns}")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UnreadableBody(f"there is more than one column named {shown(', '.join(repeated))}")


def _may_have_nul(column: pa.ChunkedArray, *, is_json: bool) -> bool:
    if not (types.is_string(column.type) or types.is_large_string(column.type)):
        return False
    buffers = [buffer for chunk in column.chunks if (buffer := chunk.buffers()[2]) is not None and buffer.size]
    if any(np.frombuffer(buffer, np.uint8).min() == 0 for buffer in buffers):
        return True
    return is_json and any(b"\\u0000" in buffer.to_pybytes() for buffer in buffers)


def _all_are_flat(texts: list[str], limits: IngestLimits) -> bool:
    """Whether each object has no other bracket than its own, and is too short to have too many members."""
    joined = "".join(texts)
    brackets = joined.count("{") + joined.count("[")
    return brackets == len(texts) and max(map(len, texts)) <= _MEMBER_BYTES_MIN * limits.data_properties


def _all_in_column_are_flat(data: pl.Series, limits: IngestLimits) -> bool:
    """The same, looking at the memory of the column as a whole."""
    array = data.to_arrow(compat_level=pl.CompatLevel.oldest())
    if not len(array):
        return True
    ends = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    characters = np.frombuffer(array.buffers()[2] or b"", np.uint8)[ends[0] : ends[-1]]
    brackets = np.count_nonzero(characters == ord("{")) + np.count_nonzero(characters == ord("["))
    longest = int((ends[1:] - ends[:-1]).max())
    return brackets <= len(array) - array.null_count and longest <= _MEMBER_BYTES_MIN * limits.data_properties


def _is_suspect(text: str, limits: IngestLimits) -> bool:
    return text.count("{") + text.count("[") > limits.data_depth or text.count('":') > limits.data_properties


def _data_problem(data: bytes, limits: IngestLimits) -> Problem | None:
    if len(data) > limits.data_bytes:
        return None  # refused for its size
    depth = _depth(data)
    if depth > limits.data_depth:
        return Problem("nesting_too_deep", f"data is nested {depth} deep; send at most {limits.data_depth}")
    properties = len(_read_object(data))
    if properties > limits.data_properties:
        return Problem(
            "too_many_properties", f"data has {properties} undeclared properties; send at most {limits.data_properties}"
        )
    return None


def _depth(text: bytes) -> int:
    steps = (_STEP[bracket] for bracket in _BRACKET.findall(_STRING.sub(b"", text)))
    return max(accumulate(steps), default=0)
