"""Bodies that are tables, CSV and Parquet -> columns, by the rules of an Arrow stream (arrow_stream.py).

CSV has a header row, and every cell is text: numbers keep their digits. An empty cell is absent, a quoted empty one is
an empty string. A row with another number of cells than the header refuses that event.
"""

import csv
import io
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ingest.decode.arrow_stream import UNREADABLE, decode_table
from ingest.decode.checks import check_columns
from ingest.decode.columns import Decoded
from ingest.decode.numbers import Problem, shown
from ingest.errors import BodyTooLarge, TooManyEvents, UnreadableBody
from ingest.limits import IngestLimits
from rating.core.schema import PropertyType

PARQUET_BATCH_ROWS = 16_384
_THRIFT_BYTES = 4 << 20
"""What the metadata of a Parquet file may take."""

BrokenRows = dict[int, str]
"""The rows of a CSV body that have the wrong number of cells -> their text."""


def decode_csv(body: bytes, properties: Mapping[str, PropertyType], limits: IngestLimits) -> Decoded:
    """Raises UnreadableBody, TooManyColumns."""
    try:
        table, broken = read_csv(body, limits)
        decoded = decode_table(table, properties, limits)
    except UNREADABLE as error:
        raise UnreadableBody(f"the body is not CSV in UTF-8 with a header row: {error}") from error
    for row, text in broken.items():
        message = f"the row is {shown(text)}; send as many cells as the header has, {table.num_columns}"
        decoded.problems[row] = Problem("malformed_event", message)
    return decoded


def decode_parquet(body: bytes, properties: Mapping[str, PropertyType], limits: IngestLimits) -> Decoded:
    """Raises UnreadableBody, BodyTooLarge."""
    try:
        return decode_table(read_parquet(body, limits), properties, limits)
    except (*UNREADABLE, NotImplementedError) as error:
        raise UnreadableBody(f"the body is not a Parquet file of values that can be read: {error}") from error


def read_csv(body: bytes, limits: IngestLimits) -> tuple[pa.Table, BrokenRows]:
    """One row an event, all columns text; a broken row is null throughout."""
    if not body.isascii():
        body.decode()  # pyarrow drops a broken row whose text it cannot decode
    names = _header(body)
    check_columns(names, limits)
    broken: BrokenRows = {}

    def note_broken(row: pa.csv.InvalidRow) -> str:
        broken[row.number - 2] = row.text  # rows count from 1, the header is the first
        return "skip"

    table = pa.csv.read_csv(
        pa.BufferReader(body),
        read_options=pa.csv.ReadOptions(use_threads=False, block_size=len(body) + 1),  # so that rows have numbers
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note_broken),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    if table.column_names != names:
        raise UnreadableBody(f"the header of the CSV is {shown(', '.join(table.column_names))}; write names plainly")
    return _with_gaps(table, broken), broken


def read_parquet(body: bytes, limits: IngestLimits) -> pa.Table:
    """The rows of a file, which is refused for what it says of its size before anything of that size is made."""
    reader = pa.BufferReader(body)
    options = {"thrift_string_size_limit": _THRIFT_BYTES, "thrift_container_size_limit": _THRIFT_BYTES}
    with pa.parquet.ParquetFile(reader, **options) as file:
        about, schema = file.metadata, file.schema_arrow
        check_columns(schema.names, limits)
        if about.num_rows > limits.events_per_batch:
            raise TooManyEvents(f"{about.num_rows} events in one batch; send at most {limits.events_per_batch}")
        _check_memory(sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups)), limits)
        batches, size = [], 0
        for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS, use_threads=False):
            batch.validate(full=True)
            size += batch.nbytes
            _check_memory(size, limits)
            batches.append(batch)
        return pa.Table.from_batches(batches, schema)


def _header(body: bytes) -> list[str]:
    text = io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline="")
    try:
        return next((row for row in csv.reader(text) if row), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise UnreadableBody(f"the header of the CSV cannot be read: {error}") from error


def _with_gaps(table: pa.Table, broken: BrokenRows) -> pa.Table:
    if not broken:
        return table
    whole = iter(range(table.num_rows))
    rows = [None if row in broken else next(whole) for row in range(table.num_rows + len(broken))]
    return table.take(pa.array(rows, pa.int64()))


def _check_memory(size: int, limits: IngestLimits) -> None:
    if size > limits.arrow_bytes:
        raise BodyTooLarge(f"the columns take more than {limits.arrow_bytes} bytes; send less at once")
