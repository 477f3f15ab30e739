"""The columns of an event between decoding and the usage table, beside those of rating/core/schema.py."""

from collections.abc import Iterable, Mapping

import polars as pl
import polars_hash as plh

from rating.core.schema import USAGE_EVENT, PropertyType, property_column, usage_event_schema

IDENTITY_COLUMNS = ("source", "id")

FINGERPRINT = "fingerprint"
"""64-bit hash of an event's type, subject, time as sent, data and declared properties; equal means equal body."""

DAY = "day"
"""UTC day of `time`; the usage table is partitioned by it, and by BUCKET."""

BUCKET = "bucket"
"""XXH3-64 of the subject in UTF-8, modulo the number of buckets; null in a file that holds subjects of all buckets."""

BUCKET_DTYPE = pl.Int32()
STORED_EXTRA = {FINGERPRINT: pl.Int64(), DAY: pl.Date()}

CORRECTION = pl.Schema(
    {
        "corrects": pl.Int64(),  # the sequence of the event that it puts out of force
        "correction": pl.String(),  # void | replace
        "reason": pl.String(),
    }
)
"""What an event that corrects another has besides; null in all others. Journal records without corrections lack it."""


def bucket_of_subject(buckets: int) -> pl.Expr:
    """The bucket of each event, from 0."""
    return (plh.col("subject").nchash.xxh3_64() % buckets).cast(BUCKET_DTYPE).alias(BUCKET)


def stored_schema(properties: Mapping[str, PropertyType]) -> pl.Schema:
    """One row is one accepted event as the usage table holds it."""
    return pl.Schema({**usage_event_schema(properties), **STORED_EXTRA, **CORRECTION})


def stored_names(properties: Iterable[str]) -> list[str]:
    """The columns of an event in a journal record that has no corrections, in their order."""
    return [*USAGE_EVENT.names(), *map(property_column, properties), *STORED_EXTRA]


def arranged(events: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """`events` with these columns, in this order. Without the query engine: on a small frame that costs more than all
    the rest."""
    return pl.DataFrame([events.get_column(name) for name in names])
