"""Append frames to a Delta table, each exactly once, and durably; merge its files, and remove what is not needed.

delta-rs never syncs: after a power cut a commit can be there while its Parquet files are not, or be an empty file,
which delta-rs 1.6.6 reads as a commit without content. So the order here is ours: the Parquet files are written, synced
and named first; then the commit, which carries an application transaction (`application`, `version`); then the log
entry and its directory are synced. Whoever appends keeps its own copy of the frame until `append` has returned.

Opening trusts only what is on the disk (RELIABILITY fact 3, rating/delta_log.py): an entry that a crash has cut is
removed; its frame is then appended again from that copy. After a full disk the same call can be made again: it goes on
from what was committed.

A file is named `<application>-<version>-<table version>-<number>-<XXH3-64 of its content>`. It has the columns that the
table had at this table version; a column that came later says in its metadata which version added it
(`tallystick.added_in`).
"""

import errno
import io
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import xxhash
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, PostCommitHookProperties, RemoveAction

from rating.delta_log import recover_log, write_checkpoint
from rating.disk import Disk

ROWS_PER_FILE_MAX = 2_000_000
COMMITS_PER_CHECKPOINT = 100
SEQUENCE = "sequence"
RANGED = (SEQUENCE, "subject_number")  # where a frame has these columns, each file's range of them is kept in the log
ADDED_IN = "tallystick.added_in"
WRITTEN_AT = "written_at"

_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)  # they write without syncing
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_WRITTEN_AT = r"-(\d{8,})-\d{4}-[0-9a-f]{16}\.parquet$"
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class SchemaConflict(ValueError):
    """A frame has a column that the table already holds with another type."""


class DurableTable:
    """A Delta table in a local directory, made at the first append. One thread appends; anyone may read."""

    def __init__(
        self,
        directory: Path,
        *,
        disk: Disk,
        partition_by: Sequence[str] = (),
        sort_by: Sequence[str] = (),
        configuration: Mapping[str, str] | None = None,
    ) -> None:
        """`configuration` is written into the table when it is made. The rows of a file are sorted by `sort_by`."""
        self.directory = directory
        self._disk = disk
        self._partition_by = list(partition_by)
        self._sort_by = list(sort_by)
        self._created_with = dict(configuration or {})
        self._durable_folders: set[Path] = set()
        recover_log(disk, directory)
        self._table = _open(directory)
        self._synced = self.version
        self._is_committing = False

    @property
    def version(self) -> int:
        """The newest commit; -1 before the first."""
        return -1 if self._table is None else self._table.version()

    @property
    def configuration(self) -> dict[str, str]:
        """What the table was made with; what it will be made with before the first append."""
        return self._created_with if self._table is None else dict(self._table.metadata().configuration)

    @property
    def partition_columns(self) -> list[str]:
        """The columns that the table is partitioned by."""
        return self._partition_by if self._table is None else list(self._table.metadata().partition_columns)

    def fields(self) -> dict[str, Field]:
        """The table's columns by name."""
        return {} if self._table is None else {field.name: field for field in self._table.schema().fields}

    def appended(self, application: str) -> int | None:
        """The newest version that `application` has appended, null when there is none."""
        return None if self._table is None else self._table.transaction_version(application)

    def files(self) -> pl.DataFrame:
        """One row is one Parquet file: `path`, `num_records`, `size_bytes`, `written_at` (the table version whose
        columns it has), and where known `min.<column>`, `max.<column>`, `null_count.<column>`, `partition.<column>`.

        Empty, without columns, before the first append."""
        if self._table is None:
            return pl.DataFrame()
        files = pl.DataFrame(self._table.get_add_actions(flatten=True))
        return files.with_columns(pl.col("path").str.extract(_WRITTEN_AT).cast(pl.Int64).alias(WRITTEN_AT))

    def kept_files(self) -> list[Path]:
        """What the table consists of now: its log, and the files that this names; nothing that waits to be removed.
        Whoever asks sees to it that nobody appends meanwhile."""
        log = [path for path in (self.directory / "_delta_log").glob("*") if path.suffix != ".tmp" and path.is_file()]
        files = self.files()
        return [*log, *(self.directory / path for path in (files["path"] if files.width else ()))]

    def append(self, frame: pl.DataFrame, *, application: str, version: int) -> bool:
        """Append `frame` unless `application` has appended this or a later `version`; False when it has.

        Columns that the table lacks are added to it first; columns that the frame lacks are null. Returns when
        everything is durable. Raises SchemaConflict, and OSError when the disk fails: then it is open whether the frame
        was appended. When it was only full the call may be made again; else only opening the table again tells.
        """
        assert _PLAIN.fullmatch(application), f"application id {application!r} must be letters, digits, '.', '_' or '-'"
        self._catch_up()
        before = self.appended(application)
        if before is not None and before >= version:
            return False
        table = self._with_columns(frame)
        adds = self._write_all(frame, f"{application}-{version:020d}", is_new=True)
        marker = CommitProperties(app_transactions=[Transaction(application, version, _milliseconds())])
        self._commit(table, adds, marker)
        return True

    def replace(self, paths: Sequence[str], frame: pl.DataFrame, *, application: str) -> None:
        """Put `frame`, which holds the same rows, in the place of the files `paths` (as in `files`), in one commit.

        The files themselves stay until `vacuum`. Durable on return; raises as `append` does.
        """
        self._catch_up()
        replaced = self.files().filter(pl.col("path").is_in(list(paths)))
        assert replaced.height == len(paths), f"{len(paths) - replaced.height} of the files are not in the table"
        rows = replaced["num_records"].sum()
        assert rows == frame.height, f"{rows} rows are in the files and {frame.height} in the frame"
        table = self._with_columns(frame)
        adds = self._write_all(frame, f"{application}-{table.version():020d}", is_new=False)
        now = _milliseconds()
        removes = [
            RemoveAction(file["path"], False, now, file["size_bytes"], self._partition_values(file))
            for file in replaced.iter_rows(named=True)
        ]
        self._commit(table, [*adds, *removes], None)

    def vacuum(self, *, retention_hours: int, files_max: int) -> int:
        """Remove up to `files_max` files that are not part of the table since `retention_hours`, and say how many.

        A reader that holds an older version can go on for that long."""
        if self._table is None:
            return 0
        self._catch_up()
        needless = self._table.vacuum(
            retention_hours=retention_hours, dry_run=True, enforce_retention_duration=False, full=True
        )
        for path in needless[:files_max]:
            self._disk.unlink(self.directory / path)
        return min(len(needless), files_max)

    def _with_columns(self, frame: pl.DataFrame) -> DeltaTable:
        """The table, made or widened so that it has every column of `frame`."""
        wanted = Schema.from_arrow(frame.head(0).to_arrow(compat_level=pl.CompatLevel.oldest()).schema)
        if self._table is None:
            self._table = self._create(wanted)
            self._sync_log()
            return self._table
        held = self.fields()
        for field in wanted.fields:
            if field.name in held and held[field.name].type != field.type:
                raise SchemaConflict(
                    f"column {field.name!r} holds {held[field.name].type} and not {field.type}; use another name"
                )
        note = {ADDED_IN: str(self._table.version() + 1)}
        added = [
            Field(field.name, field.type, nullable=True, metadata=note)
            for field in wanted.fields
            if field.name not in held
        ]
        if added:
            with self._committing():
                self._table.alter.add_columns(added, post_commithook_properties=_NO_HOOKS)
            self._sync_log()
        return self._table

    def _create(self, schema: Schema) -> DeltaTable:
        self._disk.make_directory(self.directory / "_delta_log")
        with self._committing():
            return DeltaTable.create(
                self.directory,
                schema,
                partition_by=self._partition_by or None,
                configuration=self._created_with,
                raise_if_key_not_exists=False,
                post_commithook_properties=_NO_HOOKS,
            )

    def _write_all(self, frame: pl.DataFrame, name: str, *, is_new: bool) -> list[AddAction | RemoveAction]:
        """Write the files of `frame`. A repeated try replaces the files of the one before, or they are vacuumed."""
        return [
            self._write(part, values, f"{name}-{self.version:08d}-{number:04d}", is_new)
            for number, (values, part) in enumerate(_parts(frame, self._partition_by, self._sort_by))
        ]

    def _write(self, part: pl.DataFrame, partition: Mapping[str, str | None], name: str, is_new: bool) -> AddAction:
        """Write one Parquet file durably."""
        folder = self.directory
        for column, value in partition.items():
            folder = folder / f"{column}={_NULL_PARTITION if value is None else value}"
            if folder not in self._durable_folders:
                self._disk.make_directory(folder)
                self._durable_folders.add(folder)
        content = io.BytesIO()
        part.write_parquet(content, compression="zstd", compression_level=1)
        path = folder / f"{name}-{xxhash.xxh3_64_hexdigest(content.getbuffer())}.parquet"
        self._disk.publish(path, [content.getbuffer()])
        relative, size = path.relative_to(self.directory).as_posix(), content.getbuffer().nbytes
        return AddAction(relative, size, partition, _milliseconds(), is_new, json.dumps(_stats(part)))

    def _commit(
        self, table: DeltaTable, actions: list[AddAction | RemoveAction], properties: CommitProperties | None
    ) -> None:
        with self._committing():
            table.create_write_transaction(
                actions,
                "append",
                table.schema(),
                self._partition_by or None,
                commit_properties=properties,
                post_commithook_properties=_NO_HOOKS,
            )
        self._sync_log()

    @contextmanager
    def _committing(self) -> Iterator[None]:
        """A commit by delta-rs, which counts as open until its entry is synced."""
        self._is_committing = True
        with _full_disk_has_its_number():
            yield

    def _catch_up(self) -> None:
        """See and sync what a call committed that did not return."""
        if self._is_committing:
            self._table = _open(self.directory)
            if self._table is not None:
                self._sync_log()

    def _sync_log(self) -> None:
        """Make every log entry durable, and a checkpoint where one is due."""
        assert self._table is not None
        self._table.update_incremental()
        log, known, newest = self.directory / "_delta_log", self._synced, self._table.version()
        for version in range(known + 1, newest + 1):
            self._disk.sync_file(log / f"{version:020d}.json")
        self._disk.sync_directory(log)
        self._synced, self._is_committing = newest, False
        if newest // COMMITS_PER_CHECKPOINT > max(known, 0) // COMMITS_PER_CHECKPOINT:
            try:
                with _full_disk_has_its_number():
                    write_checkpoint(self._disk, log, self._table)
            finally:
                self._table = _open(self.directory)  # the one that was open may read entries that are gone now

    def _partition_values(self, file: Mapping[str, object]) -> dict[str, str | None]:
        values = {column: file[f"partition.{column}"] for column in self._partition_by}
        return {column: None if value is None else str(value) for column, value in values.items()}


def is_as_written(path: Path) -> bool:
    """Whether a file of a table has the content that its name says."""
    return path.stem.endswith(f"-{xxhash.xxh3_64_hexdigest(path.read_bytes())}")


def _open(directory: Path) -> DeltaTable | None:
    try:
        return DeltaTable(directory)
    except TableNotFoundError:
        return None


@contextmanager
def _full_disk_has_its_number() -> Iterator[None]:
    """Give an error of delta-rs the errno of a full disk: it only has the sentence, at a checkpoint not the class."""
    try:
        yield
    except (OSError, DeltaError) as error:
        if getattr(error, "errno", None) is None and re.search(r"os error (27|28|122)\b", str(error)):
            raise OSError(errno.ENOSPC, "the disk is full") from error
        raise


def _parts(
    frame: pl.DataFrame, partition_by: list[str], sort_by: list[str]
) -> Iterator[tuple[dict[str, str | None], pl.DataFrame]]:
    """The files of a frame: partition values as text, and the rows without those columns, sorted: one partition after
    the other, for each fits into a cache."""
    for values, group in _groups(frame, partition_by):
        texts = {
            column: None if value is None else str(value) for column, value in zip(partition_by, values, strict=True)
        }
        assert all(text is None or _PLAIN.fullmatch(text) for text in texts.values()), (
            f"partition values {texts} must be plain"
        )
        rows = group.drop(partition_by)
        for part in (rows.sort(sort_by) if sort_by else rows).iter_slices(ROWS_PER_FILE_MAX):
            yield texts, part


def _groups(frame: pl.DataFrame, partition_by: list[str]) -> Iterable[tuple[tuple[object, ...], pl.DataFrame]]:
    """The rows of each partition. Where all are of one, they are not moved: they may be many, and wide."""
    values = frame.select(partition_by).unique()
    if values.height == 1:
        return [(values.row(0), frame)]
    return (
        frame.partition_by(partition_by, as_dict=True, maintain_order=True).items() if partition_by else [((), frame)]
    )


def _stats(part: pl.DataFrame) -> dict[str, object]:
    """What the log keeps of a file: its rows, the ranges of RANGED, the columns that are empty."""
    empty = [name for name in part.columns if part[name].null_count() == part.height]
    stats: dict[str, object] = {"numRecords": part.height, "nullCount": dict.fromkeys(empty, part.height)}
    if ranged := [name for name in RANGED if name in part.columns]:
        stats["minValues"] = {name: part[name].min() for name in ranged}
        stats["maxValues"] = {name: part[name].max() for name in ranged}
    return stats


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
