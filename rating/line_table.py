"""The charge lines of every run, in a Delta table partitioned by period: open to any reader of Parquet."""

from pathlib import Path

import polars as pl

from rating.core.lines import CHARGE_LINE
from rating.delta import DurableTable
from rating.disk import Disk

STORED_LINE = pl.Schema({"run": pl.String(), **CHARGE_LINE})
"""One row is one charge line of one run; (`run`, `line`) is unique."""

_PARTITION = "period"


class LineTable:
    """Appends the lines of a run once, however often it is asked to, and finds them again."""

    def __init__(self, directory: Path, *, disk: Disk) -> None:
        self._table = DurableTable(directory, disk=disk, partition_by=[_PARTITION])

    def append(self, run: str, lines: pl.DataFrame) -> None:
        """Store `lines` (CHARGE_LINE) as those of `run`, durably. A second call for the same run changes nothing."""
        stored = lines.with_columns(run=pl.lit(run)).select(STORED_LINE.names())
        self._table.append(stored, application=run, version=1)

    def lines(self, run: str) -> pl.LazyFrame:
        """The lines of `run`, sorted by id: STORED_LINE. No rows for a run without lines."""
        return self._scan(f"/{run}-").filter(pl.col("run") == run).sort("line")

    def find(self, line: str) -> pl.DataFrame:
        """Every run's row of the line with this id: STORED_LINE. Equal content has an equal id in every run."""
        return self._scan("").filter(pl.col("line") == line).collect()

    def _scan(self, part_of_path: str) -> pl.LazyFrame:
        files = self._table.files()
        paths = files["path"].to_list() if files.width else []
        found = [self._table.directory / path for path in sorted(paths) if part_of_path in path]
        if not found:
            return STORED_LINE.to_frame(eager=False)
        types = {name: dtype for name, dtype in STORED_LINE.items() if name != _PARTITION}
        read = pl.scan_parquet(found, schema=types, hive_partitioning=True, hive_schema={_PARTITION: pl.String()})
        return read.select(STORED_LINE.names())
