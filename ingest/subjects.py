"""The number of each subject of usage events, so that rating groups and joins by integers.

Numbers count from 0 in the order in which subjects are first seen. One is given when a subject is first looked at
behind the usage table, or when its segment moves there; it never changes while the process runs, and never again once
it is durable. It is made durable here before a row of the usage table has it: a crash in between leaves a number that
no row has yet, and the next start goes on behind it.

directory/  a Delta table of SUBJECT_NUMBERS; its transaction carries how many numbers are given

It is a cache over the usage table (RELIABILITY R5): what is missing or damaged is read from there again at the start.
In memory a subject is 128 bits of a keyed hash (R6, docs/decisions/0012) and its number, 24 bytes.
"""

import logging
import secrets
import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import polars_hash as plh
from deltalake.exceptions import DeltaError

from ingest.usage_table import TableSnapshot
from rating.core.schema import SUBJECT_NUMBER, SUBJECT_NUMBERS
from rating.delta import DurableTable, is_as_written
from rating.disk import Disk

APPLICATION, MERGED = "subjects", "merged"
SMALL_ROWS = 1 << 20
SMALL_FILES_MAX = 32
TRANSLATIONS_MAX = 64

_log = logging.getLogger(__name__)

Numbers: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]
_UNKNOWN = -1
_NO_NUMBERS = pl.Series(SUBJECT_NUMBER, [], pl.Int64)


class Subjects:
    """Made by `open_subjects`. Any thread may look; one at a time makes them durable: the one that flushes."""

    def __init__(self, table: DurableTable, retention_hours: int) -> None:
        self._table, self._retention_hours = table, retention_hours
        self._lock = threading.Lock()
        self._index = _Index()
        self._files = _files(table)
        paths = [table.directory / path for path in self._files["path"]]
        self._index.add(pl.read_parquet(path, hive_partitioning=False).drop_nulls() for path in paths)
        self._given = table.appended(APPLICATION) or 0
        self._writing: pl.DataFrame | None = None  # SUBJECT_NUMBERS on their way to the table, kept for a second try
        self._new: list[pl.DataFrame] = []  # SUBJECT_NUMBERS that are not
        self._behind: dict[int, pl.Series] = {}  # numbers of the frames behind the usage table, by first sequence
        self._translations: dict[str, tuple[int, pl.Series]] = {}  # of other tables, with their version

    def __len__(self) -> int:
        return self._given

    def numbers(self, frames: Sequence[pl.DataFrame]) -> list[pl.Series]:
        """SUBJECT_NUMBER for each of the frames of events behind the usage table, as they were accepted.

        New subjects get a number."""
        with self._lock:
            unknown = [frame for frame in frames if frame.height and _first(frame) not in self._behind]
            if unknown:
                numbers = self._numbers(pl.concat([frame["subject"] for frame in unknown]))
                start = 0
                for frame in unknown:
                    self._behind[_first(frame)] = numbers.slice(start, frame.height)
                    start += frame.height
            return [self._behind[_first(frame)] if frame.height else _NO_NUMBERS for frame in frames]

    def assign(self, subjects: pl.Series) -> pl.Series:
        """SUBJECT_NUMBER of other events' `subjects`. New subjects get a number."""
        with self._lock:
            return self._numbers(subjects)

    def translation(self, name: str, table: TableSnapshot) -> pl.Series:
        """At the place of each number that another usage table gave to a subject, the number here. Read once for a
        version of the table that goes by `name`."""
        with self._lock:
            version, numbers = self._translations.get(name, (-1, _NO_NUMBERS))
        if version < table.version:
            theirs = table.subjects()
            numbers = pl.repeat(None, table.last_subject_number + 1, dtype=pl.Int64, eager=True)
            numbers = numbers.scatter(theirs[SUBJECT_NUMBER], self.assign(theirs["subject"])).alias(SUBJECT_NUMBER)
            with self._lock:
                self._translations[name] = table.version, numbers
                if len(self._translations) > TRANSLATIONS_MAX:
                    del self._translations[next(iter(self._translations))]
        return numbers

    def forget(self, last_sequence: int) -> None:
        """The events up to this one are in the usage table, with their numbers."""
        with self._lock:
            self._behind = {first: numbers for first, numbers in self._behind.items() if first > last_sequence}

    def keep(self) -> None:
        """Make every number durable that was given. Raises as DurableTable.append; after a full disk do it again."""
        while (writing := self._taken()) is not None:
            self._table.append(writing, application=APPLICATION, version=int(writing[SUBJECT_NUMBER][-1]) + 1)
            self._merge_small()
            with self._lock:
                self._files, self._writing = _files(self._table), None

    def kept_files(self) -> list[Path]:
        """See DurableTable.kept_files."""
        return self._table.kept_files()

    def frame(self) -> pl.LazyFrame:
        """SUBJECT_NUMBERS as of now. Collect it within `retention_hours`."""
        with self._lock:
            memory = [*([] if self._writing is None else [self._writing]), *self._new]
            paths = [self._table.directory / path for path in self._files["path"]]
        stored = [pl.scan_parquet(paths, schema=SUBJECT_NUMBERS, hive_partitioning=False, glob=False)] if paths else []
        numbered = pl.concat([*stored, *(part.lazy() for part in memory), SUBJECT_NUMBERS.to_frame(eager=False)])
        return numbered.filter(pl.col("subject").is_not_null())

    def find(self, subjects: Collection[str]) -> list[int]:
        """The numbers of those of `subjects` that have one."""
        return self.named(subjects)[SUBJECT_NUMBER].to_list()

    def named(self, subjects: Collection[str]) -> pl.DataFrame:
        """SUBJECT_NUMBERS of those of `subjects` that have a number."""
        names = pl.Series("subject", list(subjects), pl.String).unique()
        with self._lock:
            numbers = self._index.find(*_hashes(names, self._index.seeds))
        return _table_of(names, numbers).filter(pl.col(SUBJECT_NUMBER) != _UNKNOWN)

    def _taken(self) -> pl.DataFrame | None:
        with self._lock:
            if self._writing is None and self._new:
                self._writing, self._new = pl.concat(self._new), []
            return self._writing

    def _numbers(self, subjects: pl.Series) -> pl.Series:
        """The number of each; the lock is held."""
        names = subjects.unique(maintain_order=True)
        numbers = self._index.find(*_hashes(names, self._index.seeds))
        is_new = numbers == _UNKNOWN
        if is_new.any():
            numbers[is_new] = np.arange(self._given, self._given + is_new.sum())
            new = _table_of(names.filter(pl.Series(is_new)), numbers[is_new])
            self._index.add([new])
            self._new.append(new)
            self._given += new.height
        found = subjects.to_frame().join(_table_of(names, numbers), on="subject", how="left", maintain_order="left")
        return found[SUBJECT_NUMBER]

    def _merge_small(self) -> None:
        """Many small files become one; no subject is merged often."""
        small = _files(self._table).filter(pl.col("num_records") < SMALL_ROWS)
        if small.height <= SMALL_FILES_MAX:
            return
        paths = [self._table.directory / path for path in small["path"]]
        whole = pl.concat([pl.read_parquet(path, hive_partitioning=False) for path in paths]).sort(SUBJECT_NUMBER)
        self._table.replace(small["path"].to_list(), whole, application=MERGED)
        self._table.vacuum(retention_hours=self._retention_hours, files_max=2 * SMALL_FILES_MAX)


def open_subjects(disk: Disk, directory: Path, usage: TableSnapshot, retention_hours: int) -> Subjects:
    """The subjects in `directory` (made when absent) of the events in `usage`; what is missing is read from there."""
    table = _whole_table(disk, directory)
    if table is None:
        _log.warning("%s is damaged: the numbers of the subjects are read from the usage table", directory)
        _remove(disk, directory)
        table = DurableTable(directory, disk=disk)
    given = table.appended(APPLICATION) or 0
    if (last := usage.last_subject_number) >= given:
        missing = _read_again(usage, given, last)
        table.append(missing, application=APPLICATION, version=last + 1)
        _log.warning("numbers of %d subjects from %d on: read from the usage table", missing.height, given)
    return Subjects(table, retention_hours)


def _read_again(usage: TableSnapshot, first: int, last: int) -> pl.DataFrame:
    """SUBJECT_NUMBERS of this range; null at a number that no row has: its subject counts as new."""
    found = usage.subjects(first)
    assert found["subject"].is_unique().all(), "a subject has two numbers in the usage table"
    assert found[SUBJECT_NUMBER].is_unique().all(), "a number is of two subjects in the usage table"
    given = pl.int_range(first, last + 1, dtype=pl.Int64, eager=True).alias(SUBJECT_NUMBER).to_frame()
    return given.join(found, on=SUBJECT_NUMBER, how="left", maintain_order="left").select(SUBJECT_NUMBERS.names())


def _whole_table(disk: Disk, directory: Path) -> DurableTable | None:
    """Null when a file is missing or is not what was written, or when the log does not name all of them."""
    try:
        table = DurableTable(directory, disk=disk)
        files = _files(table)
    except DeltaError:
        return None
    if files["num_records"].sum() != (table.appended(APPLICATION) or 0):
        return None
    paths = [directory / path for path in files["path"]]
    return table if all(path.is_file() and is_as_written(path) for path in paths) else None


def _remove(disk: Disk, directory: Path) -> None:
    """Rows before the log that names them: what a crash leaves of it is seen to be damaged, or empty."""
    for path in sorted(directory.rglob("*"), key=lambda path: (path.suffix != ".parquet", path.name)):
        if path.is_file():
            disk.unlink(path)


def _files(table: DurableTable) -> pl.DataFrame:
    """`path` and `num_records` of each file."""
    files = table.files()
    schema = pl.Schema({"path": pl.String(), "num_records": pl.Int64()})
    return files.select(schema.names()).cast(schema) if files.width else schema.to_frame()


def _first(frame: pl.DataFrame) -> int:
    return int(frame["sequence"][0]) if frame.height else 0


def _table_of(names: pl.Series, numbers: Numbers) -> pl.DataFrame:
    return pl.DataFrame({"subject": names, SUBJECT_NUMBER: numbers}, schema=SUBJECT_NUMBERS)


def _hashes(names: pl.Series, seeds: tuple[int, int]) -> tuple[Words, Words]:
    row = plh.hash_rows("subject")
    hashes = names.to_frame().select(
        high=row.nchash.xxh3_64(seed=seeds[0]),
        low=row.nchash.xxh3_64(seed=seeds[1]),
    )
    return hashes["high"].to_numpy(), hashes["low"].to_numpy()


@dataclass(frozen=True)
class _Level:
    """Sorted by `high`."""

    high: Words
    low: Words
    numbers: Numbers

    def __len__(self) -> int:
        return len(self.high)


class _Index:
    """Which subject has which number: sorted levels, each at least twice as large as the one behind it."""

    def __init__(self) -> None:
        self.seeds = secrets.randbits(64), secrets.randbits(64)  # nobody can choose two subjects with one hash
        self._levels: list[_Level] = []

    def add(self, parts: Iterable[pl.DataFrame]) -> None:
        """Add subjects (SUBJECT_NUMBERS) that are not here and differ from each other."""
        levels = [_Level(*_hashes(part["subject"], self.seeds), part[SUBJECT_NUMBER].to_numpy()) for part in parts]
        if not levels:
            return
        level = _in_order(_joined(levels))
        while self._levels and len(self._levels[-1]) < 2 * len(level):
            level = _in_order(_joined([self._levels.pop(), level]))
        self._levels.append(level)

    def find(self, high: Words, low: Words) -> Numbers:
        """The number of each, or _UNKNOWN."""
        numbers = np.full(len(high), _UNKNOWN, np.int64)
        for level in self._levels:
            rows = np.flatnonzero(numbers == _UNKNOWN)
            places = np.searchsorted(level.high, high[rows])
            while len(rows):
                there = places < len(level)
                rows, places = rows[there], places[there]
                alike = level.high[places] == high[rows]
                rows, places = rows[alike], places[alike]
                same = level.low[places] == low[rows]
                numbers[rows[same]] = level.numbers[places[same]]
                rows, places = rows[~same], places[~same] + 1
        return numbers


def _joined(levels: Sequence[_Level]) -> _Level:
    return _Level(
        np.concatenate([level.high for level in levels]),
        np.concatenate([level.low for level in levels]),
        np.concatenate([level.numbers for level in levels]),
    )


def _in_order(level: _Level) -> _Level:
    order = np.argsort(level.high, kind="stable")  # of two levels one behind the other it only merges
    return _Level(level.high[order], level.low[order], level.numbers[order])
