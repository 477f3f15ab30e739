"""The usage table: a Delta table of accepted events, partitioned by day and subject bucket, which any engine can read.

Beside USAGE_EVENT it holds `subject_number` (ingest/subjects.py), `fingerprint`, `day` and `bucket`, and a column for
each property that was ever declared.
A file whose day has few events of a segment holds subjects of all buckets (its `bucket` is null) until it is merged.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from deltalake import Field

from ingest.lift import lift
from ingest.schema import BUCKET, BUCKET_DTYPE, DAY, FINGERPRINT, IDENTITY_COLUMNS, bucket_of_subject, stored_schema
from rating.core.schema import SUBJECT_NUMBER, SUBJECT_NUMBERS, PropertyType, property_column
from rating.delta import ADDED_IN, WRITTEN_AT, DurableTable
from rating.disk import Disk

APPLICATION = "usage"
MERGED = "merged"
BUCKETS = "tallystick.buckets"
BUCKETS_DEFAULT = 4
STATISTICS = "delta.dataSkippingStatsColumns"
DESCRIBED = ("sequence", SUBJECT_NUMBER, "data", "correction")
"""The columns whose statistics `_table_files` reads; a table that names none keeps those of its first 32 columns."""
ORDER = (SUBJECT_NUMBER, "time", "sequence")
"""Of the events in a file: numbers are sorted in less time than names, and they are what a scan looks for."""
ROWS_PER_BUCKET_MIN = 4_096
"""A day with fewer events of a segment than this for each bucket becomes one file instead of one a bucket."""

TABLE_FILE = pl.Schema(
    {
        "path": pl.String(),
        DAY: pl.Date(),
        BUCKET: BUCKET_DTYPE,  # null: subjects of all buckets
        "rows": pl.Int64(),
        "first_sequence": pl.Int64(),
        "last_sequence": pl.Int64(),
        WRITTEN_AT: pl.Int64(),  # the file has the columns that the table had at this version
        "has_data": pl.Boolean(),  # whether any event has a property that was not declared
        "has_corrections": pl.Boolean(),
        "last_subject_number": pl.Int64(),
    }
)
"""One row is one Parquet file of a table snapshot; `path` is unique, and absolute if the table's directory is."""

_KINDS: dict[str, PropertyType] = {"decimal(38,9)": "number", "string": "string"}


@dataclass(frozen=True)
class TableSnapshot:
    """The table at one version: it stays readable, and the same, while the table grows, until its files are vacuumed.

    `files` is TABLE_FILE. `since` is the table version from which on a property has its column. `buckets` is how many
    there are.
    """

    version: int
    last_sequence: int
    files: pl.DataFrame
    since: Mapping[str, int]
    buckets: int

    def scan(
        self,
        schema: pl.Schema,
        properties: Mapping[str, PropertyType],
        days: tuple[date | None, date | None] = (None, None),
        buckets: Collection[int] | None = None,
        hidden: pl.Series | None = None,
    ) -> list[pl.LazyFrame]:
        """Frames of `schema` that together hold the events of `days` (both included, null is open) and `buckets`,
        without those whose sequences are `hidden` (ascending). Files from before a property was declared get its column
        from `data`."""
        files = self.files
        for bound, keep in zip(days, (pl.col(DAY).__ge__, pl.col(DAY).__le__), strict=True):
            files = files if bound is None else files.filter(keep(bound))
        if buckets is not None:
            files = files.filter(pl.col(BUCKET).is_in(list(buckets)) | pl.col(BUCKET).is_null())
        groups: dict[tuple[bool, tuple[str, ...], bool], list[str]] = {}
        columns = files.select("path", BUCKET, WRITTEN_AT, "has_data").iter_rows()
        for (path, bucket, written_at, has_data), has_hidden in zip(
            columns, have_hidden(hidden, files["first_sequence"], files["last_sequence"]), strict=True
        ):
            late = tuple(name for name in properties if has_data and written_at < self._since(name))
            groups.setdefault((bucket is None, late, has_hidden), []).append(path)
        frames = []
        for (is_mixed, late, has_hidden), paths in groups.items():
            frame = _scan_files(paths, schema, {name: properties[name] for name in late})
            frame = in_buckets(frame, buckets, self.buckets) if is_mixed else frame
            frames.append(without(frame, hidden) if has_hidden and hidden is not None else frame)
        return frames

    def late_files(self, properties: Collection[str]) -> pl.DataFrame:
        """The files from which a scan of `properties` must take values out of `data`: TABLE_FILE."""
        newest = max((self._since(name) for name in properties), default=0)
        return self.files.filter(pl.col("has_data") & (pl.col(WRITTEN_AT) < newest))

    def find(self, wanted: pl.DataFrame, properties: Mapping[str, PropertyType], day: date | None) -> pl.DataFrame:
        """The stored events with the identities of `wanted` (source, id), of one day or of all."""
        schema = stored_schema(properties)
        del schema[DAY]
        frames = self.scan(schema, properties, (day, day))
        found = [frame.join(wanted.lazy(), on=IDENTITY_COLUMNS, how="semi") for frame in frames]
        return pl.concat(found).collect() if found else pl.DataFrame(schema=schema)

    @property
    def last_subject_number(self) -> int:
        """The largest number that a subject has in the table; -1 when it is empty."""
        return int(self.files.select(pl.col("last_subject_number").max().fill_null(-1)).item())

    def subjects(self, first_number: int = 0) -> pl.DataFrame:
        """The subjects of the table from this number on: SUBJECT_NUMBERS, in the order of their numbers."""
        paths = self.files.filter(pl.col("last_subject_number") >= first_number)["path"].to_list()
        if not paths:
            return SUBJECT_NUMBERS.to_frame()
        numbered = _scan_files(paths, SUBJECT_NUMBERS, {}).filter(pl.col(SUBJECT_NUMBER) >= first_number)
        return numbered.unique().sort(SUBJECT_NUMBER).collect(engine="streaming")

    def _since(self, name: str) -> int:
        return self.since.get(name, self.version + 1)


class UsageTable:
    """The one place that writes the table."""

    def __init__(self, directory: Path, *, disk: Disk, buckets: int = BUCKETS_DEFAULT) -> None:
        """`buckets` is for a table that is not there yet; one that is keeps the number it was made with."""
        self._directory = directory
        self._table = DurableTable(
            directory,
            disk=disk,
            partition_by=[DAY, BUCKET],
            sort_by=ORDER,
            configuration={BUCKETS: str(buckets), STATISTICS: ",".join(DESCRIBED)},
        )
        if BUCKETS not in self._table.configuration:
            raise ValueError(
                f"{directory} was written before usage was stored by subject bucket; ingest its events again into an "
                "empty data directory"
            )
        if self._table.fields() and SUBJECT_NUMBER not in self._table.fields():
            raise ValueError(
                f"{directory} was written before the subjects of usage had numbers; ingest its events again into an "
                "empty data directory"
            )
        self._buckets = int(self._table.configuration[BUCKETS])

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

    def write(self, events: pl.DataFrame, last_sequence: int) -> None:
        """Add the events of a sealed segment, all columns filled, unless they are there. Durable on return.

        The numbers of their subjects must be durable by then: Subjects.keep."""
        assert SUBJECT_NUMBER in events.columns, "number the subjects first"
        in_days = events.with_columns(bucket_of_subject(self._buckets), pl.len().over(DAY).alias("rows"))
        is_large = pl.col("rows") >= ROWS_PER_BUCKET_MIN * self._buckets
        placed = in_days.with_columns(pl.when(is_large).then(BUCKET).alias(BUCKET)).drop("rows")
        self._table.append(placed, application=APPLICATION, version=last_sequence)

    def rewrite(
        self,
        paths: Sequence[str],
        properties: Mapping[str, PropertyType],
        change: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
    ) -> int:
        """Put merged files, one a day and bucket, with a column for each of `properties`, in the place of these
        (as in `snapshot`), and say how many events they hold. No event changes but by `change`, which keeps their
        sequences. Durable on return."""
        snapshot = self.snapshot()
        files = snapshot.files.filter(pl.col("path").is_in(list(paths)))
        columns = self.properties() | dict(properties)
        schema = pl.Schema({**stored_schema(columns), SUBJECT_NUMBER: SUBJECT_NUMBERS[SUBJECT_NUMBER]})
        del schema[DAY]
        frames = TableSnapshot(snapshot.version, 0, files, snapshot.since, snapshot.buckets).scan(schema, columns)
        events = pl.concat(frames).collect().with_columns(pl.col("time").dt.date().alias(DAY))
        events = events if change is None else change(events)
        _assert_same(events, files)
        placed = events.with_columns(bucket_of_subject(self._buckets))
        relative = [str(Path(path).relative_to(self._directory)) for path in files["path"]]
        self._table.replace(relative, placed.select(*schema.names(), DAY, BUCKET), application=MERGED)
        return events.height

    def vacuum(self, *, retention_hours: int, files_max: int) -> int:
        """Remove files that have been merged into others, see DurableTable.vacuum; how many it were."""
        return self._table.vacuum(retention_hours=retention_hours, files_max=files_max)

    def kept_files(self) -> list[Path]:
        """See DurableTable.kept_files."""
        return self._table.kept_files()

    def snapshot(self) -> TableSnapshot:
        """The table as it is now."""
        stored = self._table.files()
        files = _table_files(stored, self._directory) if stored.height else TABLE_FILE.to_frame()
        since = {
            name.removeprefix(property_column("")): int(field.metadata.get(ADDED_IN, 0))
            for name, field in self._table.fields().items()
            if name.startswith(property_column(""))
        }
        return TableSnapshot(self._table.version, self.last_sequence, files, since, self._buckets)

    def identities(self, first_sequence: int = 1, last_sequence: int | None = None) -> Iterator[pl.DataFrame]:
        """Identity, fingerprint and sequence of the events of a range (both included, null is open), file by file."""
        wanted = pl.col("sequence").is_between(first_sequence, last_sequence or self.last_sequence)
        files = self.snapshot().files.filter(
            pl.col("last_sequence") >= first_sequence,
            pl.col("first_sequence") <= (last_sequence or self.last_sequence),
        )
        for path in files.sort("first_sequence")["path"]:
            columns = [*IDENTITY_COLUMNS, FINGERPRINT, "sequence"]
            yield pl.read_parquet(path, columns=columns, hive_partitioning=False).filter(wanted)


def in_buckets(events: pl.LazyFrame, wanted: Collection[int] | None, buckets: int) -> pl.LazyFrame:
    """The events whose subjects are in the `wanted` of `buckets` buckets; all of them when it is null."""
    return events if wanted is None else events.filter(bucket_of_subject(buckets).is_in(list(wanted)))


def buckets_of(subjects: Collection[str], buckets: int) -> list[int]:
    """The buckets that hold the events of `subjects`."""
    names = pl.DataFrame({"subject": list(subjects)}, schema={"subject": pl.String()})
    return names.select(bucket_of_subject(buckets)).to_series().unique().sort().to_list()


def have_hidden(
    hidden: pl.Series | None, first: Sequence[int] | pl.Series, last: Sequence[int] | pl.Series
) -> list[bool]:
    """Whether each range of sequences, from `first` to `last`, has one that is `hidden` (ascending)."""
    if hidden is None or hidden.is_empty():
        return [False] * len(first)
    sequences = hidden.to_numpy()
    before = np.searchsorted(sequences, np.asarray(first, np.int64), side="left")
    return list(np.searchsorted(sequences, np.asarray(last, np.int64), side="right") > before)


def without(events: pl.LazyFrame, hidden: pl.Series) -> pl.LazyFrame:
    """The events whose sequences are not `hidden`."""
    return events.filter(~pl.col("sequence").is_in(hidden.implode()))


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


def _any_in(stored: pl.DataFrame, column: str) -> pl.Expr:
    """Whether a file has any value in a column; only where all are null the log says so."""
    empty = pl.col(f"null_count.{column}") if f"null_count.{column}" in stored.columns else pl.lit(None)
    return empty.fill_null(0) < pl.col("num_records")


def _table_files(stored: pl.DataFrame, directory: Path) -> pl.DataFrame:
    return stored.select(
        (pl.lit(f"{directory}/") + pl.col("path")).alias("path"),
        pl.col(f"partition.{DAY}").alias(DAY),
        pl.col(f"partition.{BUCKET}").alias(BUCKET),
        pl.col("num_records").alias("rows"),
        pl.col("min.sequence").alias("first_sequence"),
        pl.col("max.sequence").alias("last_sequence"),
        pl.col(WRITTEN_AT),
        _any_in(stored, "data").alias("has_data"),
        _any_in(stored, "correction").alias("has_corrections"),
        pl.col(f"max.{SUBJECT_NUMBER}").alias("last_subject_number"),
    ).cast(TABLE_FILE)


def _assert_same(events: pl.DataFrame, files: pl.DataFrame) -> None:
    """What was read is what the log says of the files: nothing is lost or doubled on its way into another."""
    found = (events.height, events["sequence"].n_unique(), events["sequence"].min(), events["sequence"].max())
    rows = files["rows"].sum()
    expected = (rows, rows, files["first_sequence"].min(), files["last_sequence"].max())
    assert found == expected, f"events, sequences, first and last: read {found}, the log of the table says {expected}"


def _kind(field: Field) -> PropertyType:
    return _KINDS[str(field.type).removeprefix('PrimitiveType("').removesuffix('")')]
