"""The corrections of a log, for audit: what corrected what, when and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
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
    ingest/losses.py), or is of a backfill that was reverted; `data` is a JSON object, null for a void.

    `backfill` is the number of the backfill that the corrected event is of, 0 for an event of the log. A correction
    that `has_ended` has no effect any more, because its backfill was reverted.
    """

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
    backfill: int
    has_ended: bool


def corrections_of(
    view: View, chosen: pl.DataFrame, properties: Mapping[str, PropertyType]
) -> Iterator[StoredCorrection]:
    """The corrections `chosen` among `view.corrected.rows`, in order; they are read a part at a time."""
    numbers = view.corrected.of_backfills
    ended = view.corrected.ended(view.backfills).implode()
    for part in chosen.iter_slices(READ_AT_ONCE):
        targets = find_sequences(view, part["corrects"], {}).select(
            pl.col("sequence").alias("corrects"),
            pl.col("source").alias("target_source"),
            pl.col("id").alias("target_id"),
        )
        events = find_sequences(view, part["sequence"], properties)
        joined = (
            events.join(targets, on="corrects", how="left", validate="m:1")
            .join(numbers.rename({"number": "backfill"}), on="sequence", how="left", validate="1:1")
            .with_columns(pl.col("backfill").fill_null(0), has_ended=pl.col("sequence").is_in(ended))
            .sort("sequence")
        )
        for row in joined.iter_rows(named=True):
            yield _stored(row, properties)


def _stored(row: Mapping[str, Any], properties: Mapping[str, PropertyType]) -> StoredCorrection:
    names = [each.name for each in fields(StoredCorrection) if each.name != "data"]
    data = None if row["correction"] == VOID else _data(row, properties)
    return StoredCorrection(**{name: row[name] for name in names}, data=data)


def _data(row: Mapping[str, Any], properties: Mapping[str, PropertyType]) -> bytes:
    """All properties of an event as JSON; numbers keep their digits."""
    members: dict[str, object] = {**(_read_object(row["data"]) if row["data"] else {})}
    for name, kind in properties.items():
        value = row[property_column(name)]
        if value is not None:
            members[name] = Raw(plain(value).encode()) if kind == "number" else value
    return _encode(members)
