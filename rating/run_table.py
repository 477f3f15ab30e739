"""Rows that rating runs make, in a Delta table partitioned by month: open to any reader of Parquet."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import polars as pl

from rating.delta import DurableTable, is_as_written
from rating.disk import Disk

PARTITION = "month"
"""In which the billing period of a row begins, on the calendar of its customer."""

DAMAGED = "is not as it was written; restore it from a backup, or rate its period again"
RUN_OF_FILE = r"([^/]+)-\d{20}-\d{8,}-\d{4}-[0-9a-f]{16}\.parquet$"  # rating/delta.py says how files are named
PART_OF_FILE = r"-(\d{20})-\d{8,}-\d{4}-[0-9a-f]{16}\.parquet$"


class LinesDamaged(Exception):
    """A file of what a run made is not what was written, or is gone: its rows are not shown."""


class RunTable:
    """Appends the rows of a run once, however often it is asked to, and finds them again."""

    def __init__(self, directory: Path, schema: pl.Schema, *, sorted_by: str, disk: Disk) -> None:
        """`schema` has the columns `run` and `period`; the rows of a run are sorted by `sorted_by`."""
        self._table = DurableTable(directory, disk=disk, partition_by=[PARTITION])
        self._schema = schema
        self._sorted_by = sorted_by
        self._checked: set[Path] = set()
        self._appending = Lock()

    def append(self, run: str, rows: pl.DataFrame, *, part: int = 1) -> None:
        """Store `rows`, which have all columns but `run`, as those of `run`, durably: of its part `part`. Parts are
        stored in their order, from 1 on; a second call for the same part changes nothing."""
        month = pl.col("period").str.slice(0, len("2026-10")).alias(PARTITION)
        stored = rows.with_columns(run=pl.lit(run)).select(*self._schema, month)
        with self._appending:
            self._table.append(stored, application=run, version=part)

    @contextmanager
    def still(self) -> Iterator[list[Path]]:
        """The files that the table consists of; nothing is appended while the block runs."""
        with self._appending:
            yield self._table.kept_files()

    def rows(self, run: str) -> pl.LazyFrame:
        """The rows of `run`, sorted. No rows for a run without any.

        Raises LinesDamaged when a file of the run is not what was written.
        """
        self._check([self._table.directory / path for path in self._files([run])["path"]])
        return self.scan([run]).sort(self._sorted_by)

    def rows_of_part(self, run: str, part: int) -> pl.DataFrame:
        """The rows of one part of `run`. Raises LinesDamaged."""
        named = pl.col("path").str.extract(PART_OF_FILE).cast(pl.Int64) == part
        found = [self._table.directory / path for path in self._files([run]).filter(named)["path"]]
        self._check(found)
        return self._read(found).collect()

    def count(self, run: str) -> int:
        """How many rows of `run` were stored."""
        return int(self._files([run])["num_records"].sum())

    def scan(self, runs: Collection[str]) -> pl.LazyFrame:
        """The rows of `runs` as they are there, not checked."""
        return self._read([self._table.directory / path for path in self._files(runs)["path"]])

    def _read(self, found: list[Path]) -> pl.LazyFrame:
        if not found:
            return self._schema.to_frame(eager=False)
        read = pl.scan_parquet(found, schema=self._schema, hive_partitioning=True, hive_schema={PARTITION: pl.String()})
        return read.select(self._schema.names())

    def _check(self, paths: Iterable[Path]) -> None:
        """Compare each file with its checksum when it is read for the first time."""
        for path in paths:
            if path not in self._checked:
                if not path.is_file() or not is_as_written(path):
                    raise LinesDamaged(f"{path} {DAMAGED}")
                self._checked.add(path)

    def _files(self, runs: Collection[str]) -> pl.DataFrame:
        """`path` and `num_records` of the files of `runs`."""
        files = self._table.files()
        if not files.width:
            return pl.DataFrame(schema={"path": pl.String, "num_records": pl.Int64})
        of_runs = pl.col("path").str.extract(RUN_OF_FILE).is_in(list(runs))
        return files.filter(of_runs).select("path", "num_records").sort("path")
