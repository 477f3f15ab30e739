"""Snapshots: the data directory as it was at one moment, at one log sequence number, to be copied at leisure.

directory/snapshots/<id>/  a second name (hard link) for each file of the directory, and a copy of the SQLite database

Files are immutable, or grow at their end: a name and a size say what a file held. So a moment is cheap: ingest waits
while the segments of the journal are linked, not while the tables are, and for nobody who copies. What upkeep removes
or replaces meanwhile stays under its second name. A crash in front of that moment and one behind it are states that a
start recovers from; so is the moment itself.

Left out are the database's own files (it is copied as SQLite's backup interface sees it), files that were never
finished, and what `doctor --repair` keeps of damaged files. A snapshot that nobody releases goes after a day, and with
the next start.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from uuid import uuid4

from api.backfills import BackfillService
from ingest.errors import DiskFull
from ingest.lock import LOCK_FILE
from ingest.log import UsageLog
from rating.disk import Disk, is_full
from rating.run_table import RunTable
from store import Store
from store.database import sqlite_path, view
from store.errors import NotFound, TooManySnapshots

DIRECTORY = "snapshots"
DATABASE = "tallystick.sqlite"
SNAPSHOTS_MAX = 4
KEPT = timedelta(days=1)

_LEFT_OUT = (DIRECTORY, "damaged")
_UNFINISHED = (".tmp", ".part")
_APPENDED = ("journal", "rejections")
_CACHE = "identities"


@dataclass(frozen=True)
class SnapshotFile:
    """`path` is where it belongs in a data directory; its first `size` bytes are the file, in the snapshot's directory
    under `name`."""

    path: str
    name: str
    size: int


@dataclass(frozen=True)
class Snapshot:
    """A data directory with all events up to `last_sequence`, and no other. `has_database` is false where the records
    are in PostgreSQL."""

    id: str
    directory: Path
    taken_at: datetime
    last_sequence: int
    has_database: bool
    files: tuple[SnapshotFile, ...]


class SnapshotService:
    """The snapshots of one engine. Every method may be called from any thread."""

    def __init__(
        self,
        store: Store,
        log: UsageLog,
        backfills: BackfillService,
        tables: Sequence[RunTable],
        data: Path,
        now: Callable[[], datetime],
        *,
        disk: Disk,
    ) -> None:
        """`tables` are those of runs. Removes what a process before has left."""
        self._store, self._log, self._backfills, self._tables = store, log, backfills, tables
        self._data, self._now, self._disk = data, now, disk
        self._directory = data / DIRECTORY
        self._taking = Lock()
        self._taken: dict[str, Snapshot] = {}
        if self._directory.exists():
            disk.remove_tree(self._directory)

    def take(self) -> Snapshot:
        """A snapshot as of now. Raises TooManySnapshots and DiskFull."""
        with self._taking:
            self._release_old()
            if len(self._taken) >= SNAPSHOTS_MAX:
                oldest = next(iter(self._taken))
                raise TooManySnapshots(
                    [f"{SNAPSHOTS_MAX} backups are being made; wait for one, or DELETE /v1/snapshots/{oldest}"]
                )
            name = uuid4().hex
            directory = self._directory / name
            try:
                self._disk.make_directory(directory)
                self._taken[name] = self._take(name, directory)
            except BaseException as error:
                self._disk.remove_tree(directory)
                if is_full(error):
                    raise DiskFull(f"there is no room for a snapshot: {error.strerror}; try again") from error
                raise
            return self._taken[name]

    def release(self, name: str) -> None:
        """Forget a snapshot that was copied. Raises NotFound."""
        with self._taking:
            if name not in self._taken:
                raise NotFound("snapshot", name)
            self._forget(name)

    def _take(self, name: str, directory: Path) -> Snapshot:
        linked = _Linked(self._data, directory, self._disk, sqlite_path(self._store.engine))
        with ExitStack() as database:
            with ExitStack() as held:
                logs = [*held.enter_context(self._backfills.still()), self._log]
                kept = [path for log in logs for path in held.enter_context(log.still_tables())]
                kept += [path for table in self._tables for path in held.enter_context(table.still())]
                with ExitStack() as paused:
                    for log in logs:
                        paused.enter_context(log.paused())
                    paused.enter_context(self._log.rejections.still())
                    taken_at, last_sequence = self._now(), self._log.view().last_sequence
                    records = view(self._store.engine)
                    copy = None if records is None else database.enter_context(records)
                    linked.add(self._appended(logs))
                linked.add(self._others(set(kept)))
            if copy is not None:
                linked.add_copy(copy)
        return Snapshot(name, directory, taken_at, last_sequence, copy is not None, tuple(linked.files))

    def _appended(self, logs: Iterable[UsageLog]) -> Iterator[Path]:
        for log in logs:
            for folder in _APPENDED:
                yield from _files_in(log.directory / folder)

    def _others(self, kept: set[Path]) -> Iterator[Path]:
        """Every other file; of the tables that are written to only what they consist of."""
        tables = {path.parent.parent for path in kept if path.parent.name == "_delta_log"}
        for path in _files_in(self._data):
            table = next((folder for folder in path.parents if folder in tables), None)
            if table is None or path in kept:
                yield path

    def _release_old(self) -> None:
        before = self._now() - KEPT
        for name in [name for name, snapshot in self._taken.items() if snapshot.taken_at < before]:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._disk.remove_tree(self._taken.pop(name).directory)


class _Linked:
    """The files of a snapshot so far, each path once."""

    def __init__(self, data: Path, directory: Path, disk: Disk, database: Path | None) -> None:
        self.files: list[SnapshotFile] = []
        self._data, self._directory, self._disk = data, directory, disk
        self._database = None if database is None else database.absolute()
        self._paths: set[Path] = set()

    def add(self, paths: Iterable[Path]) -> None:
        """Link files; their sizes as of now are what counts."""
        for path in paths:
            if path not in self._paths and not self._is_left_out(path):
                with suppress(FileNotFoundError) if path.parent.name == _CACHE else nullcontext():  # merged just now
                    self._link(path)

    def add_copy(self, copy: Callable[[Path], None]) -> None:
        """Add the database as `copy` writes it."""
        target = self._directory / self._next_name()
        copy(target)
        self._disk.sync_file(target)
        self.files.append(SnapshotFile(DATABASE, target.name, target.stat().st_size))

    def _link(self, path: Path) -> None:
        target = self._directory / self._next_name()
        self._disk.link(path, target)
        self._paths.add(path)
        self.files.append(SnapshotFile(path.relative_to(self._data).as_posix(), target.name, target.stat().st_size))

    def _next_name(self) -> str:
        return f"{len(self.files):08d}"

    def _is_left_out(self, path: Path) -> bool:
        is_of_database = (
            self._database is not None
            and path.name.startswith(self._database.name)
            and path.absolute().parent == self._database.parent
        )
        return is_of_database or path.suffix in _UNFINISHED or path.name == LOCK_FILE


def _files_in(directory: Path) -> Iterator[Path]:
    """Every file below `directory` but those of other snapshots."""
    for folder, folders, names in os.walk(directory):
        if Path(folder) == directory:
            folders[:] = [name for name in folders if name not in _LEFT_OUT]
        yield from (Path(folder, name) for name in names)
