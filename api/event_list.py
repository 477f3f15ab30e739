"""Accepted events as they are shown: the newest first, found by what they say, with exact digits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
from msgspec import Raw

from ingest.log import UsageLog
from rating.core.money import plain
from rating.core.schema import property_column

_PREFIX = property_column("")
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class EventFilter:
    """What an event must be; null does not matter. [`start`, `end`) is about `time`; `subjects` is any of these."""

    source: str | None = None
    id: str | None = None
    type: str | None = None
    subject: str | None = None
    subjects: tuple[str, ...] | None = None
    id_contains: str | None = None
    subject_contains: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    received_start: datetime | None = None
    received_end: datetime | None = None

    def matches(self) -> list[pl.Expr]:
        """The conditions besides `start` and `end`."""
        same = {name: getattr(self, name) for name in ("source", "id", "type", "subject")}
        found = [pl.col(name) == value for name, value in same.items() if value is not None]
        if self.subjects is not None:
            found.append(pl.col("subject").is_in(self.subjects))
        if self.id_contains is not None:
            found.append(pl.col("id").str.contains(self.id_contains, literal=True))
        if self.subject_contains is not None:
            found.append(pl.col("subject").str.contains(self.subject_contains, literal=True))
        if self.received_start is not None:
            found.append(pl.col("received_at") >= self.received_start)
        if self.received_end is not None:
            found.append(pl.col("received_at") < self.received_end)
        return found


def newest_events(log: UsageLog, wanted: EventFilter, *, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Up to `limit` events that count now, in the order of acceptance from the newest on; those before sequence
    `before` if that is given. `data` is JSON with the digits of its numbers."""
    usage = log.scan(start=wanted.start, end=wanted.end).frame
    conditions = wanted.matches() + ([] if before is None else [pl.col("sequence") < before])
    found = usage.filter(*conditions) if conditions else usage
    page = found.top_k(limit, by="sequence").sort("sequence", descending=True).collect()
    return [shown_event(row) for row in page.iter_rows(named=True)]


def shown_event(row: Mapping[str, Any]) -> dict[str, Any]:
    """An event as JSON has it."""
    names = ("sequence", "source", "id", "type", "subject", "time", "received_at")
    return {**{name: row[name] for name in names}, "data": _data(row)}


def _data(row: Mapping[str, Any]) -> Raw:
    """The declared properties, and behind them those that are not; what is absent is left out."""
    declared = {name.removeprefix(_PREFIX): value for name, value in row.items() if name.startswith(_PREFIX)}
    members = {name: _raw(value) for name, value in declared.items() if value is not None}
    rest = {} if row["data"] is None else _read_object(row["data"])
    return Raw(_encode(members | rest))


def _raw(value: Decimal | str) -> Raw:
    return Raw(plain(value).encode() if isinstance(value, Decimal) else _encode(value))
