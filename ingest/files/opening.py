"""Open a usage file and read it as batches of events."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import pyarrow as pa

from ingest.files.columns import event_table
from ingest.files.lines import event_table_of_lines, field_names, numbered_lines
from ingest.files.mapping import ColumnMapping, Resolved, resolve
from ingest.files.problems import FileProblem
from ingest.files.tables import COMPRESSIONS, TableFormat, column_names, raw_tables, reading

FileFormat = Literal["parquet", "csv", "ndjson", "arrow"]
EXTENSIONS: dict[str, FileFormat] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
BATCH_ROWS = 50_000
DIGEST_DIGITS = 32


@dataclass(frozen=True)
class Batch:
    """Some events of a file. `events` has the columns of an Arrow body of `POST /v1/events`; `rows` are the numbers of
    their rows (of a line in NDJSON), from 1; `part` of the file, from 0 to 1, is read with it."""

    events: pa.Table
    rows: range | list[int]
    part: float


@dataclass(frozen=True)
class UsageFile:
    """A file whose columns are found. Reading it twice gives the same events with the same ids."""

    path: Path
    format: FileFormat
    mapping: Resolved
    wanted: ColumnMapping
    digest: str  # of the content; empty where the file has ids of its own

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Batch]:
        """The events in the order of the file, at most `rows` at a time. Raises FileProblem where it cannot go on."""
        return self._of_lines(rows) if self.format == "ndjson" else self._of_tables(self.format, rows)

    def _of_tables(self, format: TableFormat, rows: int) -> Iterator[Batch]:
        first = 1
        columns = self.mapping.columns()
        for raw, part in raw_tables(self.path, format, columns, rows):
            numbers = range(first, first + raw.num_rows)
            ids = pa.array([f"{self.digest}-{number}" for number in numbers], pa.string()) if self.digest else None
            yield Batch(event_table(raw, self.mapping, self.wanted, ids, self.path.name), numbers, part)
            first += raw.num_rows

    def _of_lines(self, rows: int) -> Iterator[Batch]:
        for lines, part in numbered_lines(self.path, rows):
            events = event_table_of_lines(lines, self.mapping, self.wanted, self.digest, self.path.name)
            yield Batch(events, [number for number, _ in lines], part)


def open_usage_file(path: Path, *, format: FileFormat | None = None, mapping: ColumnMapping | None = None) -> UsageFile:
    """Find the columns of the file. Without `format` its name decides; .gz and .zst are unpacked (CSV, NDJSON).

    Where nothing gives ids, an event's id is the digest of the file and the number of its row, so that the same file
    read again is all duplicates. Raises FileProblem.
    """
    wanted = mapping or ColumnMapping()
    kind = format or _format_of(path)
    names = _columns(path, kind)
    if not names:
        raise FileProblem(f"{path.name} is empty: there is no event in it.")
    resolved = resolve(path.name, names, wanted, made_source="file")
    return UsageFile(path, kind, resolved, wanted, "" if "id" in resolved.attributes else _digest(path))


def _format_of(path: Path) -> FileFormat:
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    format = EXTENSIONS.get(name.suffix.lower())
    if format is None:
        raise FileProblem(
            f"{path.name}: its ending does not say the format. Say --format parquet, csv, ndjson or arrow."
        )
    return format


def _columns(path: Path, format: FileFormat) -> list[str]:
    with reading(path):
        if path.stat().st_size == 0:
            return []
    if format != "ndjson":
        return column_names(path, format)
    lines = list(chain.from_iterable(next(([chunk] for chunk, _ in numbered_lines(path, BATCH_ROWS)), [])))
    names = field_names(lines)
    if lines and not names:
        raise FileProblem(
            f"{path.name}: line {lines[0][0]} is no JSON object, nor is any after it. Say another --format."
        )
    return names


def _digest(path: Path) -> str:
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:DIGEST_DIGITS]
