"""Take a subject out of stored events: its name becomes a pseudonym, what was not declared of its events goes.

What is counted stays as it is: sequence, identity (`source`, `id`), type, time, declared properties, and the number of
the subject. So totals, charge lines and their digests are what they were, and an event that is sent again is known.
"""

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ingest.journal import read_segment, record_head, segment_header, segment_paths
from ingest.schema import DAY, stored_schema
from ingest.usage_table import UsageTable
from rating.core.money import grouped_sum
from rating.core.schema import PropertyType, property_column
from rating.disk import Disk

_EVERY_FILE = 1_000_000


@dataclass(frozen=True)
class ErasedEvents:
    """How many events of the subject there were, and of how many something undeclared was removed."""

    events: int = 0
    with_data: int = 0
    files: int = 0

    def __add__(self, other: "ErasedEvents") -> "ErasedEvents":
        return ErasedEvents(self.events + other.events, self.with_data + other.with_data, self.files + other.files)


def erase_events(
    table: UsageTable, subject: str, pseudonym: str, properties: Mapping[str, PropertyType]
) -> ErasedEvents:
    """Rewrite the files that have events of the subject, and remove the old ones at once: nobody may read them.

    `properties` are all that were ever declared: values that came before their declaration are kept as such.
    """
    done = ErasedEvents()
    for path in table.snapshot().files["path"]:
        found = pl.scan_parquet(path, hive_partitioning=False).filter(pl.col("subject") == subject)
        events, with_data = found.select(pl.len(), pl.col("data").is_not_null().sum()).collect().row(0)
        if events:
            table.rewrite([path], properties, change=_erased(subject, pseudonym))
            done += ErasedEvents(events, with_data, 1)
    table.vacuum(retention_hours=0, files_max=_EVERY_FILE)
    return done


def totals(table: UsageTable, subjects: Collection[str], properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    """What is counted of each type of event: rows, and the sum of each declared number; of these subjects, or of all
    where there are none."""
    schema = stored_schema(properties)
    del schema[DAY]
    frames = table.snapshot().scan(schema, properties)
    events = pl.concat([*frames, schema.to_frame().lazy()])
    chosen = events.filter(pl.col("subject").is_in(list(subjects))) if subjects else events
    numbers = [property_column(name) for name, kind in properties.items() if kind == "number"]
    return grouped_sum(chosen, ["type"], numbers, pl.len().alias("events")).sort("type").collect()


def erase_rejections(disk: Disk, directory: Path, subject: str) -> int:
    """Empty the refused events in `directory` that are of the subject or name it; how many it were."""
    erased = 0
    for path in segment_paths(directory):
        segment = read_segment(path)
        digest, pieces, found = (
            segment.digest_before,
            [segment_header(segment.first_sequence, segment.digest_before)],
            0,
        )
        for record in segment.records:
            frame = record.frame()
            is_named = frame.select(_names(subject)).to_series()
            found += int(is_named.sum())
            body = _stream(frame.with_columns(_emptied(is_named)))
            head, digest = record_head(body, record.first_sequence, record.events, digest)
            pieces += [head, body]
        if found:
            disk.publish(path, pieces)
        erased += found
    return erased


def _erased(subject: str, pseudonym: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    is_named = pl.col("subject") == subject

    def erased(events: pl.DataFrame) -> pl.DataFrame:
        texts = [name for name in ("data", "reason") if name in events.columns]
        kept = [pl.when(~is_named).then(pl.col(name)).alias(name) for name in texts]
        return events.with_columns(
            *kept, pl.when(is_named).then(pl.lit(pseudonym)).otherwise(pl.col("subject")).alias("subject")
        )

    return erased


def _names(subject: str) -> pl.Expr:
    in_body = pl.col("body").bin.contains(subject.encode()).fill_null(False)
    in_text = [pl.col(name).str.contains(subject, literal=True).fill_null(False) for name in ("subject", "message")]
    return pl.any_horizontal(in_body, *in_text)


def _emptied(is_named: pl.Series) -> list[pl.Expr]:
    keep = ~pl.lit(is_named)
    texts = [pl.when(keep).then(pl.col(name)).alias(name) for name in ("source", "id", "subject", "request_id")]
    return [
        *texts,
        pl.when(keep).then(pl.col("body")).otherwise(pl.lit(b"")).alias("body"),
        pl.when(keep).then(pl.col("message")).otherwise(pl.lit("erased")).alias("message"),
        pl.when(keep).then(pl.col("is_truncated")).otherwise(pl.lit(True)).alias("is_truncated"),
    ]


def _stream(frame: pl.DataFrame) -> bytes:
    written = io.BytesIO()
    frame.write_ipc_stream(written)
    return written.getvalue()
