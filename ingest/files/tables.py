"""Parquet, Arrow IPC and CSV -> raw tables of at most so many rows, and how far in the file each one ends."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ingest.files.problems import FileProblem

TableFormat = Literal["parquet", "csv", "arrow"]
CSV_BLOCK_BYTES = 4 << 20
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_FILE_MAGIC = b"ARROW1"


def column_names(path: Path, format: TableFormat) -> list[str]:
    """The columns of the file, in their order. Raises FileProblem for a name that is there twice."""
    with reading(path):
        if format == "parquet":
            names = pyarrow.parquet.read_schema(path).names
        elif format == "arrow":
            with path.open("rb") as file:
                names = _arrow_reader(file).schema.names
        else:
            with path.open("rb") as file:
                names = _csv_reader(uncompressed(path, file), None).schema.names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise FileProblem(f"{path.name} has more than one column named {', '.join(map(repr, repeated))}. Rename one.")
    return list(names)


def raw_tables(path: Path, format: TableFormat, columns: Sequence[str], rows: int) -> Iterator[tuple[pa.Table, float]]:
    """Tables with `columns`, each of at most `rows` rows, and the part of the file that is read with it (0 to 1)."""
    with reading(path):
        for table, part in _tables(path, format, columns, rows):
            for start in range(0, table.num_rows, rows):
                yield table.slice(start, rows), part


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What a reader raises, as a FileProblem that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError) as error:
        what = (getattr(error, "strerror", None) or str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileProblem(f"{path.name} cannot be read: {what}") from error


def uncompressed(path: Path, file: BinaryIO) -> pa.NativeFile | BinaryIO:
    """The content of a file that may end in .gz or .zst."""
    compression = COMPRESSIONS.get(path.suffix.lower())
    return file if compression is None else pa.CompressedInputStream(pa.PythonFile(file), compression)


def part_read(path: Path, file: BinaryIO) -> float:
    """How far in the file the reader is."""
    return min(file.tell() / max(path.stat().st_size, 1), 1.0)


def _tables(path: Path, format: TableFormat, columns: Sequence[str], rows: int) -> Iterator[tuple[pa.Table, float]]:
    if format == "parquet":
        yield from _parquet_tables(path, columns, rows)
        return
    with path.open("rb") as file:
        batches = _arrow_batches(file) if format == "arrow" else _csv_reader(uncompressed(path, file), columns)
        for batch in batches:
            yield pa.Table.from_batches([batch]).select(columns), part_read(path, file)


def _parquet_tables(path: Path, columns: Sequence[str], rows: int) -> Iterator[tuple[pa.Table, float]]:
    with pyarrow.parquet.ParquetFile(path) as file:
        done = 0
        for batch in file.iter_batches(batch_size=rows, columns=list(columns)):
            done += batch.num_rows
            yield pa.Table.from_batches([batch]).select(columns), done / file.metadata.num_rows


def _arrow_reader(file: BinaryIO) -> pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader:
    """An IPC file begins with a magic word, a stream does not."""
    is_file = file.read(len(_FILE_MAGIC)) == _FILE_MAGIC
    file.seek(0)
    return pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)


def _arrow_batches(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    reader = _arrow_reader(file)
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from reader


def _csv_reader(content: pa.NativeFile | BinaryIO, columns: Sequence[str] | None) -> pyarrow.csv.CSVStreamingReader:
    """Every column as text, so that a number keeps its digits; an empty field is null, a quoted empty one is not."""
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(columns or (), pa.string()),
        include_columns=list(columns or ()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    read = pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES)
    return pyarrow.csv.open_csv(content, read_options=read, parse_options=parse, convert_options=convert)
