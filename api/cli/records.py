"""Small tables that people keep in files: customers and subscriptions as CSV, JSON or Parquet."""

import csv
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from api.cli.failing import BAD_DATA, USAGE, Failure


def read_records(path: Path, *, needed: Sequence[str], optional: Sequence[str]) -> list[dict[str, Any]]:
    """One mapping a row, without fields that are empty. Raises Failure for a column that is missing or unknown."""
    try:
        rows = _read(path)
    except (OSError, ValueError) as error:
        raise Failure(f"{path.name} cannot be read: {error}.", BAD_DATA) from error
    if not rows:
        raise Failure(f"{path.name} is empty: it has no row.", BAD_DATA)
    known = (*needed, *optional)
    for number, row in enumerate(rows, start=1):
        _check(f"{path.name}: row {number}", row, needed, known)
    return rows


def instant(value: Any) -> str | None:
    """An instant as the service takes it: a date is its midnight in UTC. Raises Failure for a time without zone."""
    if value in (None, ""):
        return None
    if isinstance(value, str):
        value = _parsed(value)
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value.tzinfo is None:
        raise Failure(
            f"{value.isoformat()} is in no zone. Write it as {value.isoformat()}Z, or with its offset.", BAD_DATA
        )
    return str(value.isoformat())


def _parsed(text: str) -> date | datetime:
    try:
        return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError as error:
        raise Failure(f"{text!r} is no instant. Write 2026-10-01, or 2026-10-01T12:00:00Z.", BAD_DATA) from error


def _read(path: Path) -> list[dict[str, Any]]:
    kind = path.suffix.lower()
    if kind == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file, restkey="more fields than the header"))
    elif kind == ".json":
        rows = _read_json(path)
    elif kind == ".parquet":
        rows = _read_parquet(path)
    else:
        raise Failure(f"{path.name}: its ending is no format. Use .csv, .json or .parquet.", USAGE)
    return [{name: value for name, value in row.items() if value not in (None, "")} for row in rows]


def _read_json(path: Path) -> list[dict[str, Any]]:
    rows = json.loads(path.read_bytes(), parse_float=str)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is not a JSON list of objects")
    return rows


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    import polars as pl

    try:
        return pl.read_parquet(path).to_dicts()
    except pl.exceptions.PolarsError as error:
        raise ValueError(str(error).splitlines()[0]) from error


def _check(where: str, row: dict[str, Any], needed: Sequence[str], known: Sequence[str]) -> None:
    missing = [name for name in needed if name not in row]
    if missing:
        raise Failure(f"{where} has no {', '.join(missing)}. Its columns are {', '.join(row)}.", BAD_DATA)
    unknown = [name for name in row if name not in known]
    if unknown:
        raise Failure(
            f"{where} has {', '.join(map(str, unknown))}, which means nothing here. Use {', '.join(known)}.", BAD_DATA
        )
