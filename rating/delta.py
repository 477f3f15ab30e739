"""Append frames to a Delta table, each exactly once, and durably.

delta-rs never syncs: after a power cut a commit can be there while its Parquet files are not, or be an empty file,
which delta-rs 1.6.6 reads as a commit without content. So the order here is ours: the Parquet files are written, synced
and named first; then the commit, which carries an application transaction (`application`, `version`); then the log
entry and its directory are synced. Whoever appends keeps its own copy of the frame until `append` has returned.

Opening trusts only what is on the disk (RELIABILITY fact 3): the newest log entry, the only one that can be unsynced,
is rewritten into a new synced file, or removed when it is not whole; its frame is then appended again from that copy.
"""

import io
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, PostCommitHookProperties, RemoveAction

from rating.disk import Disk

ROWS_PER_FILE_MAX = 2_000_000
COMMITS_PER_CHECKPOINT = 100
SEQUENCE = "sequence"  # when a frame has this column, each file's range of it is kept in the log

_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)  # they write without syncing
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")


class SchemaConflict(ValueError):
    """A frame has a column that the table already holds with another type."""


class DurableTable:
    """A Delta table in a local directory, made at the first append. One process appends; anyone may read."""

    def __init__(self, directory: Path, *, disk: Disk, partition_by: Sequence[str] = ()) -> None:
        self.directory = directory
        self._disk = disk
        self._partition_by = list(partition_by)
        recover_log(disk, directory)
        self._table = _open(directory)

    @property
    def version(self) -> int:
        """The newest commit; -1 before the first."""
        return -1 if self._table is None else self._table.version()

    def fields(self) -> dict[str, Field]:
        """The table's columns by name, with what `append` noted on those that came later."""
        return {} if self._table is None else {field.name: field for field in self._table.schema().fields}

    def appended(self, application: str) -> int | None:
        """The newest version that `application` has appended, null when there is none."""
        return None if self._table is None else self._table.transaction_version(application)

    def files(self) -> pl.DataFrame:
        """One row is one Parquet file: `path`, `num_records`, and where known `min.<column>`, `max.<column>`,
        `partition.<column>`. Empty, without columns, before the first append."""
        return pl.DataFrame() if self._table is None else pl.DataFrame(self._table.get_add_actions(flatten=True))

    def append(
        self, frame: pl.DataFrame, *, application: str, version: int, new_column_notes: Mapping[str, str] | None = None
    ) -> bool:
        """Append `frame` unless `application` has appended this or a later `version`; False when it has.

        Columns that the table lacks are added to it first, each with `new_column_notes` as metadata; columns that the
        frame lacks are null. Returns when everything is durable. Raises SchemaConflict, and OSError when the disk
        fails: then it is open whether the frame was appended, and only opening the table again tells.
        """
        assert _PLAIN.fullmatch(application), f"application id {application!r} must be letters, digits, '.', '_' or '-'"
        before = self.appended(application)
        if before is not None and before >= version:
            return False
        table = self._with_columns(frame, new_column_notes or {})
        adds: list[AddAction | RemoveAction] = [
            self._write(part, values, f"{application}-{version:020d}-{number:04d}")
            for number, (values, part) in enumerate(_parts(frame, self._partition_by))
        ]
        marker = CommitProperties(app_transactions=[Transaction(application, version, _milliseconds())])
        known = table.version()
        table.create_write_transaction(
            adds,
            "append",
            table.schema(),
            self._partition_by or None,
            commit_properties=marker,
            post_commithook_properties=_NO_HOOKS,
        )
        self._sync_log(known)
        return True

    def _with_columns(self, frame: pl.DataFrame, notes: Mapping[str, str]) -> DeltaTable:
        """The table, made or widened so that it has every column of `frame`."""
        wanted = Schema.from_arrow(frame.head(0).to_arrow(compat_level=pl.CompatLevel.oldest()).schema)
        if self._table is None:
            self._disk.make_directory(self.directory / "_delta_log")
            self._table = DeltaTable.create(
                self.directory, wanted, partition_by=self._partition_by or None, post_commithook_properties=_NO_HOOKS
            )
            self._sync_log(-1)
            return self._table
        held = self.fields()
        for field in wanted.fields:
            if field.name in held and held[field.name].type != field.type:
                raise SchemaConflict(
                    f"column {field.name!r} holds {held[field.name].type} and not {field.type}; use another name"
                )
        added = [
            Field(field.name, field.type, nullable=True, metadata=dict(notes))
            for field in wanted.fields
            if field.name not in held
        ]
        if added:
            known = self._table.version()
            self._table.alter.add_columns(added, post_commithook_properties=_NO_HOOKS)
            self._sync_log(known)
        return self._table

    def _write(self, part: pl.DataFrame, partition: Mapping[str, str], name: str) -> AddAction:
        """Write one Parquet file durably. The name is that of the append: a repeated try replaces its own file."""
        folder = self.directory.joinpath(*(f"{column}={value}" for column, value in partition.items()))
        self._disk.make_directory(folder)
        content = io.BytesIO()
        part.write_parquet(content, compression="zstd", compression_level=1)
        path = folder / f"{name}.parquet"
        self._disk.publish(path, [content.getbuffer()])
        relative = path.relative_to(self.directory).as_posix()
        return AddAction(
            relative, content.getbuffer().nbytes, partition, _milliseconds(), True, json.dumps(_stats(part))
        )

    def _sync_log(self, known: int) -> None:
        """Make the log entries after version `known` durable, and a checkpoint where one is due."""
        assert self._table is not None
        self._table.update_incremental()
        log = self.directory / "_delta_log"
        for version in range(known + 1, self._table.version() + 1):
            self._disk.sync_file(log / f"{version:020d}.json")
        self._disk.sync_directory(log)
        if self._table.version() // COMMITS_PER_CHECKPOINT > max(known, 0) // COMMITS_PER_CHECKPOINT:
            self._checkpoint(log)

    def _checkpoint(self, log: Path) -> None:
        assert self._table is not None
        self._table.create_checkpoint()
        for path in [*log.glob(f"{self._table.version():020d}.checkpoint*"), log / "_last_checkpoint"]:
            self._disk.sync_file(path)
        self._disk.sync_directory(log)


def recover_log(disk: Disk, directory: Path) -> None:
    """Leave only durable, whole entries in the log of the table in `directory`.

    The newest entry is rewritten, or removed when it is empty or torn: `append` had not returned then. The newest
    checkpoint may be unsynced too; it is a cache over the entries, all of which are kept, so it is removed.
    """
    log = directory / "_delta_log"
    for path in (log / "_last_checkpoint", *sorted(log.glob("*.checkpoint*.parquet"))[-1:]):
        if path.exists():
            disk.unlink(path)
    entries = sorted(path for path in log.glob("*.json") if path.stem.isdigit())
    if entries and _is_whole(entries[-1].read_bytes()):
        disk.publish(entries[-1], [entries[-1].read_bytes()])
    elif entries:
        disk.unlink(entries[-1])


def _open(directory: Path) -> DeltaTable | None:
    try:
        return DeltaTable(directory)
    except TableNotFoundError:
        return None


def _is_whole(entry: bytes) -> bool:
    """Whether a log entry has an action on each of its lines; delta-rs takes an empty one for a commit of nothing."""
    try:
        return bool(entry) and all(isinstance(json.loads(line), dict) for line in entry.splitlines())
    except ValueError:
        return False


def _parts(frame: pl.DataFrame, partition_by: list[str]) -> Iterator[tuple[dict[str, str], pl.DataFrame]]:
    """The files of a frame: partition values as text, and the rows without those columns."""
    groups = frame.partition_by(partition_by, as_dict=True, maintain_order=True) if partition_by else {(): frame}
    for values, group in groups.items():
        texts = dict(zip(partition_by, map(str, values), strict=True))
        assert all(_PLAIN.fullmatch(text) for text in texts.values()), f"partition values {texts} must be plain"
        for part in group.drop(partition_by).iter_slices(ROWS_PER_FILE_MAX):
            yield texts, part


def _stats(part: pl.DataFrame) -> dict[str, object]:
    stats: dict[str, object] = {"numRecords": part.height}
    if SEQUENCE in part.columns:
        stats["minValues"] = {SEQUENCE: part[SEQUENCE].min()}
        stats["maxValues"] = {SEQUENCE: part[SEQUENCE].max()}
    return stats


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
