"""Usage files: Parquet, CSV, NDJSON and Arrow IPC, read in bounded batches as tables that `POST /v1/events` takes."""

from ingest.files.mapping import BadMapping, ColumnMapping, parse_origin, parse_property
from ingest.files.opening import BATCH_ROWS, EXTENSIONS, Batch, FileFormat, UsageFile, open_usage_file
from ingest.files.problems import FileProblem

__all__ = [
    "BATCH_ROWS",
    "EXTENSIONS",
    "BadMapping",
    "Batch",
    "ColumnMapping",
    "FileFormat",
    "FileProblem",
    "UsageFile",
    "open_usage_file",
    "parse_origin",
    "parse_property",
]
