"""What the server answers, typed. Quantities and amounts are Decimals, instants aware datetimes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from tallystick.events import Event
from tallystick.exact_json import loads


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that is not counted: `code` is stable, `message` says what is wrong."""

    event: Event
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a batch. `duplicates` were counted before, at an earlier try."""

    accepted: int
    duplicates: int
    refusals: Sequence[Refusal]


@dataclass(frozen=True, slots=True)
class Quota:
    """`content` has all that the server says: windows, grants and the like."""

    allowed: bool
    reason: str
    remaining: Decimal | None
    limit: Decimal | None
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Consumed:
    """Recorded if `allowed`. A duplicate was recorded before and counts nothing now."""

    allowed: bool
    duplicate: bool
    items: Sequence[Quota]


@dataclass(frozen=True, slots=True)
class UsageRow:
    window_start: datetime | None
    group: Mapping[str, str | None]
    quantity: Decimal
    events: int


@dataclass(frozen=True, slots=True)
class Usage:
    meter: str
    rows: Sequence[UsageRow]


@dataclass(frozen=True, slots=True)
class Customer:
    key: str
    name: str
    time_zone: str
    subjects: Sequence[str]
    parent: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Catalog:
    version: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Applied:
    """`changes` are kind, path, before and after each; `applied` is false for a diff."""

    version: str
    previous: str | None
    applied: bool
    changes: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Run:
    id: str
    status: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Charged:
    """A charge line: one rated amount."""

    line: str
    customer: str
    amount: Decimal
    currency: str
    content: Mapping[str, Any]


def kept_of(content: bytes, events: Sequence[Event]) -> Kept | None:
    """None where the answer is not of a batch."""
    try:
        answer = loads(content)
        refusals = tuple(
            Refusal(events[item["index"]], item["code"], item["message"])
            for item in answer["events"]
            if item["verdict"] != "duplicate"
        )
        return Kept(answer["accepted"], answer["duplicates"], refusals)
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def quota_of(item: Mapping[str, Any]) -> Quota:
    return Quota(item["allowed"], item["reason"], _decimal(item.get("remaining")), _decimal(item.get("limit")), item)


def consumed_of(answer: Mapping[str, Any]) -> Consumed:
    return Consumed(answer["allowed"], answer["duplicate"], tuple(map(quota_of, answer["items"])))


def usage_of(answer: Mapping[str, Any]) -> Usage:
    return Usage(answer["meter"], tuple(map(_usage_row, answer["items"])))


def _usage_row(item: Mapping[str, Any]) -> UsageRow:
    start = item.get("window_start")
    at = None if start is None else datetime.fromisoformat(start)
    return UsageRow(at, item["group"], Decimal(item["quantity"]), item["events"])


def customer_of(answer: Mapping[str, Any]) -> Customer:
    return Customer(
        answer["key"],
        answer["name"],
        answer["time_zone"],
        tuple(answer["subjects"]),
        answer["parent"],
        datetime.fromisoformat(answer["created_at"]),
    )


def catalog_of(answer: Mapping[str, Any]) -> Catalog:
    return Catalog(answer["version"], answer["document"])


def applied_of(answer: Mapping[str, Any]) -> Applied:
    return Applied(answer["version"], answer["previous"], answer["applied"], tuple(answer["changes"]))


def run_of(answer: Mapping[str, Any]) -> Run:
    return Run(answer["id"], answer["status"], answer)


def line_of(answer: Mapping[str, Any]) -> Charged:
    return Charged(answer["line"], answer["customer"], Decimal(answer["amount"]), answer["currency"], answer)


def _decimal(value: str | int | None) -> Decimal | None:
    return None if value is None else Decimal(value)
