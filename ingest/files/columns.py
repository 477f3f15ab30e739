"""Columns of a file -> columns that the log reads exactly: text attributes, instants with a zone, no floats."""

import re
from collections.abc import Mapping

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from ingest.files.mapping import ATTRIBUTES, Column, ColumnMapping, Constant, Resolved
from ingest.files.problems import FileProblem

NAIVE = r"^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?$"
"""A date, or a date and time, without a zone."""


def event_table(raw: pa.Table, mapping: Resolved, wanted: ColumnMapping, ids: pa.Array | None, file: str) -> pa.Table:
    """The rows of `raw` as events: the attributes, then one column a property. `ids` are for files without any."""
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    for name in ATTRIBUTES:
        origin = mapping.attributes.get(name)
        if origin is None:
            columns[name] = ids
        elif isinstance(origin, Constant):
            columns[name] = pa.repeat(pa.scalar(origin.value, pa.string()), raw.num_rows)
        else:
            columns[name] = _attribute(raw, name, origin, wanted, file)
    columns |= _properties(raw, mapping.properties, wanted, file)
    return pa.table(columns)


def zoned_time(column: pa.ChunkedArray, time_zone: str | None, where: str) -> pa.ChunkedArray:
    """Instants with a zone, or texts that have one. Texts in another form stay as they are: the log judges each."""
    if types.is_timestamp(column.type) and column.type.tz is not None:
        return column
    if types.is_timestamp(column.type) or types.is_date(column.type):
        return _localized(pl.Series(column).cast(pl.Datetime("us")), _needed(time_zone, where), where).to_arrow()
    if not _is_text(column.type) and not types.is_null(column.type):
        raise FileProblem(
            f"{where} has type {column.type}; a time is a timestamp, a date, or RFC 3339 text. Convert it."
        )
    return _zoned_texts(pl.Series(column).cast(pl.String), time_zone, where).to_arrow()


def _attribute(raw: pa.Table, name: str, origin: Column, wanted: ColumnMapping, file: str) -> pa.ChunkedArray:
    column, where = _plain(raw.column(origin.name)), f"{file}: column {origin.name!r}"
    if name == "time":
        return zoned_time(column, wanted.time_zone, where)
    if types.is_floating(column.type):
        raise FileProblem(f"{where} has type {column.type} and cannot be the {name}: a float is not exact. Convert it.")
    try:
        return column if _is_text(column.type) else pc.cast(column, pa.string())
    except pa.ArrowException as error:
        raise FileProblem(f"{where} has type {column.type} and cannot be the {name}. Convert it to text.") from error


def _properties(
    raw: pa.Table, properties: Mapping[str, str], wanted: ColumnMapping, file: str
) -> dict[str, pa.ChunkedArray]:
    columns = {name: _plain(raw.column(column)) for name, column in properties.items()}
    floats = [properties[name] for name, column in columns.items() if types.is_floating(column.type)]
    if floats and wanted.decimals is None:
        raise FileProblem(
            f"{file}: column {', '.join(map(repr, floats))} has floats, which are not exact. Say --decimals N to take "
            "each value rounded to N decimals, or --only to leave out what --property does not name."
        )
    return {n: _rounded(c, wanted.decimals or 0) if types.is_floating(c.type) else c for n, c in columns.items()}


def _rounded(column: pa.ChunkedArray, decimals: int) -> pa.Array:
    """The decimal with so many decimals that is nearest to the float's exact value, ties to even, as text."""
    return pa.array([None if v is None else f"{v:.{decimals}f}" for v in column.to_pylist()], pa.string())


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(column, column.type.value_type) if types.is_dictionary(column.type) else column


def _zoned_texts(texts: pl.Series, time_zone: str | None, where: str) -> pl.Series:
    naive = texts.str.contains(NAIVE).fill_null(False)
    if not naive.any():
        return texts
    if time_zone is None:
        if naive.sum() == len(texts) - texts.null_count():
            _needed(time_zone, where)
        return texts
    instants = _localized(_naive_instants(texts.set(~naive, None)), time_zone, where)
    return instants.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").fill_null(texts)


def _naive_instants(texts: pl.Series) -> pl.Series:
    """From the forms of NAIVE; null for a day or time that no calendar has, and where `texts` is."""
    same = texts.str.replace(" ", "T", literal=True)
    day_only, no_seconds = same.str.len_bytes() == 10, same.str.len_bytes() == 16
    whole = same.zip_with(~day_only, same + "T00:00:00").zip_with(~no_seconds, same + ":00")
    return whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)


def _localized(naive: pl.Series, time_zone: str, where: str) -> pl.Series:
    """The instants that clocks in `time_zone` showed. Raises FileProblem where they show one twice or never."""
    try:
        return naive.dt.replace_time_zone(time_zone).dt.convert_time_zone("UTC")
    except pl.exceptions.ComputeError as error:
        what = re.sub(r"\s+", " ", str(error)).split(". ")[0].split("; ")[0]
        raise FileProblem(
            f"{where} cannot be read in {time_zone}: {what}. Write these times with their offset."
        ) from error


def _needed(time_zone: str | None, where: str) -> str:
    if time_zone is None:
        raise FileProblem(f"{where} has times in no zone. Say --time-zone UTC, or the zone that they are in.")
    return time_zone


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
