"""The charge lines of every run, in a Delta table partitioned by month: open to any reader of Parquet."""

from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from rating.core.lines import CHARGE_LINE
from rating.delta import is_as_written
from rating.delta_log import newest_whole_version
from rating.disk import Disk
from rating.run_table import DAMAGED, RUN_OF_FILE, RunTable

STORED_LINE = pl.Schema({"run": pl.String(), **CHARGE_LINE})
"""One row is one charge line of one run; (`run`, `line`) is unique."""


class LineTable(RunTable):
    """The charge lines of runs."""

    def __init__(self, directory: Path, *, disk: Disk) -> None:
        super().__init__(directory, STORED_LINE, sorted_by="line", disk=disk)

    def lines(self, run: str) -> pl.LazyFrame:
        """The lines of `run`, sorted by id: STORED_LINE. No rows for a run without lines. Raises LinesDamaged."""
        return self.rows(run)

    def find(self, line: str, runs: Collection[str]) -> pl.DataFrame:
        """The rows of the line with this id in `runs`: STORED_LINE. Equal content has an equal id in every run.

        Reads the ids of these runs, which are in no order, and the rest of what it finds. Raises LinesDamaged when a
        file that it was found in is not what was written.
        """
        found = self.scan(runs).filter(pl.col("line") == line).collect()
        for run in found["run"]:
            self.lines(run)
        return found


def stored_runs(directory: Path) -> set[str]:
    """The runs that a table of lines has files of. Raises DeltaError and OSError when its log cannot be read."""
    return set(_paths(directory).str.extract(RUN_OF_FILE))


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
            yield f"{file} {DAMAGED}"


def _paths(directory: Path) -> pl.Series:
    version = newest_whole_version(directory)
    if version is None:
        return pl.Series("path", [], pl.String)
    files = pl.DataFrame(DeltaTable(directory, version=version).get_add_actions(flatten=True))
    return files["path"].sort() if files.width else pl.Series("path", [], pl.String)
