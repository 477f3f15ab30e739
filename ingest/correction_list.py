"""The corrections of a log, for audit: what corrected what, when and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
from msgspec import Raw

from ingest.contents import View
from ingest.correction_lookup import find_sequences
from ingest.correction_state import VOID
from rating.core.money import plain
from rating.core.schema import PropertyType, property_column

READ_AT_ONCE = 1000
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class StoredCorrection:
    """An accepted correction. `target_source` and `target_id` are null when the corrected event was lost (see
    ingest/losses.py); `data` is a JSON object, null for a void."""

    sequence: int
    source: str
    id: str
    correction: str
    target_source: str | None
    target_id: str | None
    type: str
    subject: str
    time: datetime
    data: bytes | None
    reason: str | None
    received_at: datetime


def corrections_of(
    view: View, chosen: pl.DataFrame, properties: Mapping[str, PropertyType]
) -> Iterator[StoredCorrection]:
    """The corrections `chosen` among `view.corrected.rows`, in order; they are read a part at a time."""
    for part in chosen.iter_slices(READ_AT_ONCE):
        targets = find_sequences(view, part["corrects"], {}).select(
            pl.col("sequence").alias("corrects"),
            pl.col("source").alias("target_source"),
            pl.col("id").alias("target_id"),
        )
        events = find_sequences(view, part["sequence"], properties)
        joined = events.join(targets, on="corrects", how="left", validate="m:1").sort("sequence")
        for row in joined.iter_rows(named=True):
            yield _stored(row, properties)


def _stored(row: Mapping[str, Any], properties: Mapping[str, PropertyType]) -> StoredCorrection:
    names = ("sequence", "source", "id", "correction", "target_source", "target_id", "type", "subject", "time")
    data = None if row["correction"] == VOID else _data(row, properties)
    return StoredCorrection(
        **{name: row[name] for name in names}, data=data, reason=row["reason"], received_at=row["received_at"]
    )


def _data(row: Mapping[str, Any], properties: Mapping[str, PropertyType]) -> bytes:
    """All properties of an event as JSON; numbers keep their digits."""
    members: dict[str, object] = {**(_read_object(row["data"]) if row["data"] else {})}
    for name, kind in properties.items():
        value = row[property_column(name)]
        if value is not None:
            members[name] = Raw(plain(value).encode()) if kind == "number" else value
    return _encode(members)
