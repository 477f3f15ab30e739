"""Look whether a log is what was written: every record of the journal, every file of the usage table, every sequence.

Needs no owner and changes nothing (RELIABILITY R8). The journal of a directory that someone owns is being written: look
at it only while holding the lock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from ingest.journal import read_segment, segment_paths
from ingest.losses import lost_events, read_losses
from ingest.recovery import faults
from ingest.usage_table import APPLICATION
from rating.core.schema import SUBJECT_NUMBER
from rating.delta import SEQUENCE, is_as_written
from rating.delta_log import newest_whole_version

JOURNAL, TABLE = "journal", "usage"


@dataclass(frozen=True)
class JournalReport:
    """`problems` keep the log from being opened; a torn tail does not, it is cut."""

    segments: int
    events: int
    bytes: int
    torn_tail: str | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class TableReport:
    """`problems` are sentences; each is about events that are lost unless a backup has them."""

    version: int
    files: int
    events: int
    last_sequence: int
    problems: tuple[str, ...]


def verify_journal(directory: Path) -> JournalReport:
    """Check every checksum, the chain of digests, and that the sequences follow those of the table."""
    stored = _open(directory / TABLE)
    stored_sequence = (stored.transaction_version(APPLICATION) or 0) if stored is not None else 0
    segments = [read_segment(path) for path in segment_paths(directory / JOURNAL)]
    found = faults(segments, stored_sequence, read_losses(directory / JOURNAL))
    events = sum(record.events for segment in segments for record in segment.records)
    size = sum(segment.path.stat().st_size for segment in segments)
    last = segments[-1] if segments else None
    torn = None
    if last is not None and last.fault is not None and not found:
        torn = f"{last.path} from offset {last.fault.offset} on: {last.fault.what}"
    return JournalReport(len(segments), events, size, torn, tuple(str(fault) for fault in found))


def verify_table(directory: Path) -> TableReport | None:
    """Check that each file is there with the bytes that were written, that each sequence is there once, and that each
    subject has one number. Null when there is no table yet."""
    try:
        table = _open(directory / TABLE)
    except (DeltaError, OSError) as error:
        return TableReport(-1, 0, 0, 0, (f"its log cannot be read: {error}",))
    if table is None:
        return None
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    last = table.transaction_version(APPLICATION) or 0
    events = int(files["num_records"].sum()) if files.height else 0
    problems = [*_broken_files(directory / TABLE, files)] if files.height else []
    expected = last - lost_events(read_losses(directory / JOURNAL), last)
    if events != expected:
        problems.append(f"it has {events} events, and {expected} by its last sequence {last}")
    if not problems and events:
        paths = [str(directory / TABLE / path) for path in files["path"]]
        problems += _sequence_problems(paths, events, last)
        problems += _subject_problems(paths)
    return TableReport(table.version(), files.height, events, last, tuple(problems))


def _open(directory: Path) -> DeltaTable | None:
    """The table as the next start will find it."""
    version = newest_whole_version(directory)
    return None if version is None else DeltaTable(directory, version=version)


def _broken_files(directory: Path, files: pl.DataFrame) -> Iterator[str]:
    for path, size in files.select("path", "size_bytes").sort("path").iter_rows():
        file = directory / path
        if not file.is_file():
            yield f"{file} is gone"
        elif file.stat().st_size != size:
            yield f"{file} has {file.stat().st_size} bytes instead of {size}"
        elif not is_as_written(file):
            yield f"{file} does not have the content that it was written with"


def _subject_problems(paths: list[str]) -> Iterator[str]:
    pairs = (
        pl.scan_parquet(paths, hive_partitioning=False, missing_columns="insert", extra_columns="ignore", glob=False)
        .select("subject", SUBJECT_NUMBER)
        .unique()
        .collect(engine="streaming")
    )
    found = (pairs.height, pairs["subject"].n_unique(), pairs[SUBJECT_NUMBER].drop_nulls().n_unique())
    if len(set(found)) > 1:
        yield f"its {found[1]} subjects have {found[2]} numbers, in {found[0]} pairs of subject and number"


def _sequence_problems(paths: list[str], events: int, last: int) -> Iterator[str]:
    column = pl.col(SEQUENCE)
    found = (
        pl.scan_parquet(paths, hive_partitioning=False, missing_columns="insert", extra_columns="ignore", glob=False)
        .select(n=column.n_unique(), first=column.min(), last=column.max())
        .collect()
        .row(0, named=True)
    )
    if found["n"] != events or found["first"] < 1 or found["last"] > last:
        yield f"its {events} events have {found['n']} sequences, from {found['first']} to {found['last']}"
