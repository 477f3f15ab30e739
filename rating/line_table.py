"""The charge lines of every run, in a Delta table partitioned by period: open to any reader of Parquet."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from rating.core.lines import CHARGE_LINE
from rating.delta import DurableTable, is_as_written
from rating.delta_log import newest_whole_version
from rating.disk import Disk

STORED_LINE = pl.Schema({"run": pl.String(), **CHARGE_LINE})
"""One row is one charge line of one run; (`run`, `line`) is unique."""

_PARTITION = "period"
_DAMAGED = "is not as it was written; restore it from a backup, or rate its period again"
_RUN_OF_FILE = r"([^/]+)-\d{20}-\d{8,}-\d{4}-[0-9a-f]{16}\.parquet$"  # rating/delta.py says how files are named


class LinesDamaged(Exception):
    """A file of the charge lines is not what was written, or is gone: its lines are not shown."""


class LineTable:
    """Appends the lines of a run once, however often it is asked to, and finds them again."""

    def __init__(self, directory: Path, *, disk: Disk) -> None:
        self._table = DurableTable(directory, disk=disk, partition_by=[_PARTITION])
        self._checked: set[Path] = set()

    def append(self, run: str, lines: pl.DataFrame) -> None:
        """Store `lines` (CHARGE_LINE, sorted by id) as those of `run`, durably. A second call for the same run changes
        nothing."""
        stored = lines.with_columns(run=pl.lit(run)).select(STORED_LINE.names())
        self._table.append(stored, application=run, version=1)

    def lines(self, run: str) -> pl.LazyFrame:
        """The lines of `run`, sorted by id: STORED_LINE. No rows for a run without lines.

        Raises LinesDamaged when a file of the run is not what was written.
        """
        self._check([self._table.directory / path for path in self._files([run])["path"]])
        return self._scan([run]).sort("line")

    def count(self, run: str) -> int:
        """How many lines of `run` were stored."""
        return int(self._files([run])["num_records"].sum())

    def find(self, line: str, runs: Collection[str]) -> pl.DataFrame:
        """The rows of the line with this id in `runs`: STORED_LINE. Equal content has an equal id in every run.

        Reads the files of these runs only, and of them what may hold the id: a run's lines are sorted by it. Raises
        LinesDamaged when a file that it was found in is not what was written.
        """
        found = self._scan(runs).filter(pl.col("line") == line).collect()
        for run in found["run"]:
            self.lines(run)
        return found

    def _check(self, paths: Iterable[Path]) -> None:
        """Compare each file with its checksum when it is read for the first time."""
        for path in paths:
            if path not in self._checked:
                if not path.is_file() or not is_as_written(path):
                    raise LinesDamaged(f"{path} {_DAMAGED}")
                self._checked.add(path)

    def _files(self, runs: Collection[str]) -> pl.DataFrame:
        """`path` and `num_records` of the files of `runs`."""
        files = self._table.files()
        if not files.width:
            return pl.DataFrame(schema={"path": pl.String, "num_records": pl.Int64})
        of_runs = pl.col("path").str.extract(_RUN_OF_FILE).is_in(list(runs))
        return files.filter(of_runs).select("path", "num_records").sort("path")

    def _scan(self, runs: Collection[str]) -> pl.LazyFrame:
        found = [self._table.directory / path for path in self._files(runs)["path"]]
        if not found:
            return STORED_LINE.to_frame(eager=False)
        types = {name: dtype for name, dtype in STORED_LINE.items() if name != _PARTITION}
        read = pl.scan_parquet(found, schema=types, hive_partitioning=True, hive_schema={_PARTITION: pl.String()})
        return read.select(STORED_LINE.names())


def stored_runs(directory: Path) -> set[str]:
    """The runs that a table of lines has files of. Raises DeltaError and OSError when its log cannot be read."""
    return set(_paths(directory).str.extract(_RUN_OF_FILE))


def damaged_lines(directory: Path) -> Iterator[str]:
    """What is wrong with the files of a table of lines, a sentence each. Changes nothing, and needs no owner."""
    try:
        paths = _paths(directory)
    except (DeltaError, OSError) as error:
        yield f"the log of {directory} cannot be read: {error}"
        return
    for path in paths:
        file = directory / path
        if not file.is_file() or not is_as_written(file):
            yield f"{file} {_DAMAGED}"


def _paths(directory: Path) -> pl.Series:
    version = newest_whole_version(directory)
    if version is None:
        return pl.Series("path", [], pl.String)
    files = pl.DataFrame(DeltaTable(directory, version=version).get_add_actions(flatten=True))
    return files["path"].sort() if files.width else pl.Series("path", [], pl.String)
