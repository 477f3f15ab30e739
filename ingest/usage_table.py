"""The usage table: a Delta table of accepted events, partitioned by day, which any engine can read.

Beside USAGE_EVENT it holds `fingerprint` and `day`, and a column for each property that was ever declared. A column
that came later says in its metadata from which sequence on it is filled (`tallystick.since`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
from deltalake import Field

from ingest.lift import lift
from ingest.schema import DAY, FINGERPRINT, IDENTITY_COLUMNS, stored_schema
from rating.core.schema import PropertyType, property_column
from rating.delta import DurableTable
from rating.disk import Disk

APPLICATION = "usage"
SINCE = "tallystick.since"
_FILE = pl.Schema({"path": pl.String(), DAY: pl.Date(), "first_sequence": pl.Int64(), "last_sequence": pl.Int64()})
_KINDS: dict[str, PropertyType] = {"decimal(38,9)": "number", "string": "string"}


@dataclass(frozen=True)
class TableSnapshot:
    """The table at one version: it stays readable, and the same, while the table grows.

    `files` has one row a Parquet file. `since` is the first sequence from which a property has its column.
    """

    version: int
    last_sequence: int
    files: pl.DataFrame
    since: Mapping[str, int]

    def scan(
        self,
        schema: pl.Schema,
        properties: Mapping[str, PropertyType],
        days: tuple[date | None, date | None] = (None, None),
    ) -> list[pl.LazyFrame]:
        """Frames of `schema` that together hold the events of `days` (both included, null is open). Files from before a
        property was declared get its column from `data`."""
        files = self.files
        for bound, keep in zip(days, (pl.col(DAY).__ge__, pl.col(DAY).__le__), strict=True):
            files = files if bound is None else files.filter(keep(bound))
        groups: dict[tuple[str, ...], list[str]] = {}
        for path, first_sequence in files.select("path", "first_sequence").iter_rows():
            late = tuple(name for name in properties if first_sequence < self.since.get(name, self.last_sequence + 1))
            groups.setdefault(late, []).append(path)
        return [_scan_files(paths, schema, {name: properties[name] for name in late}) for late, paths in groups.items()]

    def find(self, wanted: pl.DataFrame, properties: Mapping[str, PropertyType], day: date | None) -> pl.DataFrame:
        """The stored events with the identities of `wanted` (source, id), of one day or of all."""
        schema = stored_schema(properties)
        del schema[DAY]
        frames = self.scan(schema, properties, (day, day))
        found = [frame.join(wanted.lazy(), on=IDENTITY_COLUMNS, how="semi") for frame in frames]
        return pl.concat(found).collect() if found else pl.DataFrame(schema=schema)


class UsageTable:
    """The one place that writes the table."""

    def __init__(self, directory: Path, *, disk: Disk) -> None:
        self._table = DurableTable(directory, disk=disk, partition_by=[DAY])
        self._directory = directory

    @property
    def last_sequence(self) -> int:
        """All events up to this one are in the table; 0 when it is empty."""
        return self._table.appended(APPLICATION) or 0

    def properties(self) -> dict[str, PropertyType]:
        """The properties that have a column."""
        prefix = property_column("")
        return {
            name.removeprefix(prefix): _kind(field)
            for name, field in self._table.fields().items()
            if name.startswith(prefix)
        }

    def write(self, events: pl.DataFrame, first_sequence: int, last_sequence: int) -> None:
        """Add the events of a sealed segment, unless they are there already. Durable on return."""
        notes = {SINCE: str(first_sequence)}
        self._table.append(events, application=APPLICATION, version=last_sequence, new_column_notes=notes)

    def snapshot(self) -> TableSnapshot:
        """The table as it is now."""
        files = self._table.files()
        if files.height:
            path = (pl.lit(f"{self._directory}/") + pl.col("path")).alias("path")
            files = files.select(
                path,
                pl.col(f"partition.{DAY}").alias(DAY),
                pl.col("min.sequence").alias("first_sequence"),
                pl.col("max.sequence").alias("last_sequence"),
            )
        else:
            files = _FILE.to_frame()
        since = {
            name.removeprefix(property_column("")): int(field.metadata.get(SINCE, 0))
            for name, field in self._table.fields().items()
            if name.startswith(property_column(""))
        }
        return TableSnapshot(self._table.version, self.last_sequence, files, since)

    def identities(self) -> Iterator[pl.DataFrame]:
        """Identity and fingerprint of every event, file by file."""
        for path in self.snapshot().files["path"]:
            yield pl.read_parquet(path, columns=[*IDENTITY_COLUMNS, FINGERPRINT], hive_partitioning=False)


def within(frame: pl.LazyFrame, start: datetime | None, end: datetime | None) -> pl.LazyFrame:
    """The events of [start, end)."""
    frame = frame if start is None else frame.filter(pl.col("time") >= start)
    return frame if end is None else frame.filter(pl.col("time") < end)


def days_of(start: datetime | None, end: datetime | None) -> tuple[date | None, date | None]:
    """The first and last UTC day that [start, end) touches."""
    last = None if end is None else _utc_day(end - timedelta(microseconds=1))
    return (None if start is None else _utc_day(start)), last


def _utc_day(instant: datetime) -> date:
    offset = instant.utcoffset()
    assert offset is not None, f"{instant} has no zone"
    return (instant.replace(tzinfo=None) - offset).date()


def _scan_files(paths: list[str], schema: pl.Schema, late: Mapping[str, PropertyType]) -> pl.LazyFrame:
    frame = pl.scan_parquet(
        paths,
        schema=dict(schema),
        missing_columns="insert",
        extra_columns="ignore",
        hive_partitioning=False,
        glob=False,
    )
    if not late:
        return frame
    return frame.map_batches(
        lambda events: lift(events, late),
        schema=schema,
        predicate_pushdown=False,
        projection_pushdown=False,
        slice_pushdown=False,
        streamable=True,
    )


def _kind(field: Field) -> PropertyType:
    return _KINDS[str(field.type).removeprefix('PrimitiveType("').removesuffix('")')]
