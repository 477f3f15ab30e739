"""What surrounds a rating run: the code that computed it, and the report a person or a scheduler reads."""

import hashlib
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from rating.core.money import plain
from rating.core.rating import Rated

REPORTED_ROWS_MAX = 1_000


@cache
def code_version() -> str:
    """The release and a digest of the rating core's source: equal code versions rate equal inputs to equal bytes."""
    core = Path(__file__).parent / "core"
    hasher = hashlib.sha256()
    for path in sorted(core.rglob("*.py")):
        hasher.update(path.read_bytes())
    return f"{version('tallystick')}+{hasher.hexdigest()[:12]}"


def report(rated: Rated) -> dict[str, Any]:
    """The run in JSON values: see `report_of`."""
    return report_of(rated.lines.height, rated.totals, rated.unpriced, rated.unsubscribed, rated.unmetered)


def report_of(
    lines: int, totals: pl.DataFrame, unpriced: pl.DataFrame, unsubscribed: pl.DataFrame, unmetered: pl.DataFrame
) -> dict[str, Any]:
    """A run in JSON values, amounts as strings: totals, and everything that did not become a line.

    Each list is cut at REPORTED_ROWS_MAX rows, the largest first; its `rows` and `events` count all of them.
    """
    return {
        "lines": lines,
        "totals": json_rows(totals),
        "unpriced": _listed(unpriced),
        "unsubscribed": _listed(unsubscribed),
        "unmetered": _listed(unmetered),
    }


def _listed(frame: pl.DataFrame) -> dict[str, Any]:
    largest = frame.sort("events", descending=True, maintain_order=True).head(REPORTED_ROWS_MAX)
    return {"rows": frame.height, "events": frame["events"].sum(), "largest": json_rows(largest)}


def json_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """One mapping a row, in JSON values."""
    return [{name: json_value(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]


def json_value(value: Any) -> Any:
    """A frame's value as JSON has it: decimals as plain strings, instants as RFC 3339."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    return [json_value(item) for item in value] if isinstance(value, list) else value
