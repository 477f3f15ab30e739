"""An Arrow IPC stream -> columns.

Columns named like CloudEvents attributes are those; `data` is a JSON object as text; every other column is the property
of its name. Undeclared columns join what is left of `data`. Where a property is in both, its column wins.
"""

from collections.abc import Mapping

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw
from pyarrow import types

from ingest.decode.checks import check_columns, has_nul, nul_in_events
from ingest.decode.columns import (
    Decoded,
    Problems,
    decimal_column,
    event_frame,
    instant_column,
    number_texts,
    property_values,
    text_column,
    time_column,
    whole_number_column,
)
from ingest.decode.json_body import TEXT_ATTRIBUTES, read_data_texts, take_apart
from ingest.decode.numbers import Problem
from ingest.decode.repeated_keys import repeated_in_data
from ingest.decode.undeclared import json_objects
from ingest.errors import BodyTooLarge, UnreadableBody
from ingest.limits import IngestLimits
from rating.core.schema import INSTANT, QUANTITY, PropertyType, property_column

NOT_PROPERTIES = frozenset({*TEXT_ATTRIBUTES, "time", "data", "specversion", "datacontenttype", "dataschema"})
UNREADABLE = (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, TypeError, KeyError, ArithmeticError)
"""What Arrow and Polars raise over a stream that was made or cut by something else than an Arrow library."""
_WHOLE_DIGITS_SAFE = 29  # a decimal with so many digits before the point fits Decimal(38, 9)
_encode = msgspec.json.Encoder(decimal_format="number").encode


def decode_arrow(body: bytes, properties: Mapping[str, PropertyType], limits: IngestLimits) -> Decoded:
    """Read a stream; what its columns take in memory is bounded too."""
    try:
        return decode_table(read_stream(body, limits), properties, limits)
    except UNREADABLE as error:
        raise UnreadableBody(f"the body is not an Arrow IPC stream of values that can be read: {error}") from error


def decode_table(table: pa.Table, properties: Mapping[str, PropertyType], limits: IngestLimits) -> Decoded:
    """The columns of a table, whatever format it came in; no name is there twice. Raises one of UNREADABLE."""
    columns: dict[str, pl.Series] = {}
    problems: Problems = {}
    for name in TEXT_ATTRIBUTES:
        columns[name], found = _attribute(table, name)
        problems = found | problems
    columns["time"], found = _time(table)
    problems = found | problems
    columns["data"], from_data, found = _data(table, properties, limits)
    problems = found | problems
    for name, kind in properties.items():
        column, found = _property(table, name, kind)
        beneath, found_beneath = from_data.get(name, (None, {}))
        columns[property_column(name)] = column if beneath is None else _over(column, found, beneath)
        problems = found | found_beneath | problems
    events = event_frame(columns, properties)
    return Decoded(events, nul_in_events(events) | problems if has_nul(table) else problems)


def read_stream(body: bytes, limits: IngestLimits) -> pa.Table:
    """The rows of a stream, validated. Raises UnreadableBody, BodyTooLarge, or one of UNREADABLE."""
    batches, rows, size = [], 0, 0
    reader = pa.ipc.open_stream(pa.py_buffer(body))
    check_columns(reader.schema.names, limits)
    for batch in reader:
        batch.validate(full=True)  # before anything else looks at it: `nbytes` of wrong offsets kills the process
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows > limits.events_per_batch or size > limits.arrow_bytes:
            raise BodyTooLarge(
                f"more than {limits.events_per_batch} events or {limits.arrow_bytes} bytes; send less at once"
            )
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _attribute(table: pa.Table, name: str) -> tuple[pl.Series, Problems]:
    column = _column(table, name)
    if _is_text(column.type) or types.is_null(column.type):
        return _texts(column, name), {}
    problem = Problem("malformed_event", f"column {name} has type {column.type}; send strings")
    return _nulls(name, table.num_rows), _where_set(column, problem)


def _time(table: pa.Table) -> tuple[pl.Series, Problems]:
    column = _column(table, "time")
    nulls = _nulls("time", table.num_rows).cast(INSTANT)
    if _is_text(column.type) or types.is_null(column.type):
        return time_column(_texts(column, "time").to_list())
    if not types.is_timestamp(column.type):
        return nulls, _where_set(
            column,
            Problem(
                "invalid_time", f"column time has type {column.type}; send timestamps with a zone, or RFC 3339 strings"
            ),
        )
    if column.type.tz is None:
        return nulls, _where_set(
            column, Problem("time_without_zone", f"column time has type {column.type}; give the type the zone UTC")
        )
    try:
        options = pc.CastOptions(pa.timestamp("us", "UTC"), allow_time_truncate=True)
        return instant_column(pl.Series("time", pc.cast(column, options=options)).cast(INSTANT))
    except pa.ArrowInvalid as error:
        return nulls, _where_set(column, Problem("invalid_time", f"column time holds instants out of range: {error}"))


def _data(
    table: pa.Table, properties: Mapping[str, PropertyType], limits: IngestLimits
) -> tuple[pl.Series, dict[str, tuple[pl.Series, Problems]], Problems]:
    """The remainder, the declared properties that were found in `data`, and the events whose data is not an object."""
    column = _column(table, "data")
    extras = [name for name in table.column_names if name not in NOT_PROPERTIES and name not in properties]
    if not _is_text(column.type) and not types.is_null(column.type):
        problem = Problem("malformed_event", f"column data has type {column.type}; send JSON objects as strings")
        return _nulls("data", table.num_rows), {}, _where_set(column, problem)
    if column.null_count == len(column):
        undeclared = {name: _plain(table.column(name)) for name in extras}
        return json_objects(undeclared) if undeclared else _nulls("data", table.num_rows), {}, {}
    texts = _texts(column, "data").to_list()
    objects, problems = read_data_texts(texts)
    if limits.refuse_repeated_keys:
        problems = repeated_in_data(texts, objects) | problems
    for name in extras:
        for data, value in zip(objects, table.column(name).to_pylist(), strict=True):
            if value is not None and (encoded := _encode(value)) != b"null":
                data[name] = Raw(encoded)
    found, remainder = take_apart(objects, tuple(properties))
    typed = {name: property_values(name, kind, found[name]) for name, kind in properties.items()}
    return pl.Series("data", remainder, dtype=pl.String), typed, problems


def _property(table: pa.Table, name: str, kind: PropertyType) -> tuple[pl.Series, Problems]:
    usable = name in table.column_names and name not in NOT_PROPERTIES
    column = table.column(name) if usable else pa.chunked_array([pa.nulls(table.num_rows)])
    column = _plain(column)
    if types.is_floating(column.type):
        cure = "a float is not exact: send integers, decimals, or numbers as strings"
        problem = Problem("float_column", f"column {name} has type {column.type}; {cure}")
        return property_values(name, kind, [None] * len(column))[0], _where_set(column, problem)
    return (_number if kind == "number" else _dimension)(name, column)


def _number(name: str, column: pa.ChunkedArray) -> tuple[pl.Series, Problems]:
    if types.is_integer(column.type):
        return whole_number_column(name, pl.Series(column))
    if types.is_decimal(column.type):
        if column.type.scale in range(10) and column.type.precision - column.type.scale <= _WHOLE_DIGITS_SAFE:
            return decimal_column(name, pl.Series(column).cast(QUANTITY))
        return number_texts(name, _texts(pc.cast(column, pa.string()), name))
    if _is_text(column.type) or types.is_null(column.type):
        return number_texts(name, _texts(column, name))
    problem = Problem(
        "not_a_number", f"column {name} has type {column.type}; send integers, decimals, or numbers as strings"
    )
    return property_values(name, "number", [None] * len(column))[0], _where_set(column, problem)


def _dimension(name: str, column: pa.ChunkedArray) -> tuple[pl.Series, Problems]:
    if _is_text(column.type) or types.is_null(column.type):
        return _texts(column, property_column(name)), {}
    if types.is_integer(column.type) or types.is_boolean(column.type) or types.is_decimal(column.type):
        return text_column(
            name, [value if isinstance(value, bool | int | None) else f"{value:f}" for value in column.to_pylist()]
        )
    problem = Problem("not_a_string", f"column {name} has type {column.type}; send strings, integers or booleans")
    return property_values(name, "string", [None] * len(column))[0], _where_set(column, problem)


def _over(column: pl.Series, found: Problems, beneath: pl.Series) -> pl.Series:
    """`column`, and where it is null and has no problem, the value from `data`."""
    return column.zip_with(column.is_not_null(), beneath) if not found else column


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    return _plain(table.column(name)) if name in table.column_names else pa.chunked_array([pa.nulls(table.num_rows)])


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without dictionary encoding."""
    return pc.cast(column, column.type.value_type) if types.is_dictionary(column.type) else column


def _texts(column: pa.ChunkedArray, name: str) -> pl.Series:
    return pl.Series(name, column).cast(pl.String)


def _nulls(name: str, length: int) -> pl.Series:
    return pl.Series(name, [None], pl.String).new_from_index(0, length)


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _where_set(column: pa.ChunkedArray, problem: Problem) -> Problems:
    return dict.fromkeys((row for row, is_set in enumerate(column.is_valid().to_pylist()) if is_set), problem)
