"""Rated events and the events behind a line as files: from a data directory and from usage files alone."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.cli.conftest import Run

SMALL = [("1", "1"), ("2", "1.75000125")]
"""400,000 and 700,000.5 small tokens at 2.50 a million."""


def read(path: Path) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    if path.suffix == ".arrow":
        return pl.read_ipc_stream(path)
    return pl.read_csv(path, infer_schema=False) if path.suffix == ".csv" else pl.read_ndjson(path)


def amounts(path: Path) -> list[tuple[Any, Decimal]]:
    found = read(path).filter(pl.col("id").is_not_null()).sort("id")
    return [(key, Decimal(amount)) for key, amount in found.select("id", "amount").iter_rows()]


@pytest.mark.parametrize("ending", ["parquet", "csv", "ndjson", "arrow"])
def test_a_rated_month_has_its_events_in_a_file(run: Run, data: Path, usage: Path, tmp_path: Path, ending: str) -> None:
    run("ingest", usage, "--data", data)
    path = tmp_path / f"events.{ending}"
    rated = run("rate", "--period", "2026-10", "--rated-events", path, "--data", data, "--json")
    assert rated.code == 0
    assert amounts(path) == [(key, Decimal(amount)) for key, amount in SMALL]
    assert sum(map(Decimal, read(path)["amount"])) == Decimal(rated.json["report"]["totals"][0]["amount"])
    again = tmp_path / f"again.{ending}"
    assert run("lines", rated.json["id"], "--rated-events", again, "--data", data).code == 0
    assert again.read_bytes() == path.read_bytes() or ending == "parquet"
    assert read(again).equals(read(path))


def test_files_alone_have_rated_events_too(run: Run, book: Path, usage: Path, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    ran = run("rate", usage, "--catalog", book, "--plan", "pro", "--period", "2026-10", "--rated-events", path)
    assert ran.code == 0
    assert amounts(path) == [*((key, Decimal(amount)) for key, amount in SMALL), ("4", Decimal("0.0000175"))]


def test_a_line_has_the_events_behind_it(run: Run, data: Path, usage: Path, tmp_path: Path) -> None:
    run("ingest", usage, "--data", data)
    run("rate", "--period", "2026-10", "--data", data)
    [line] = [it for it in run("lines", "--data", data, "--json").json["items"] if it["kind"] == "usage"]
    path = tmp_path / "behind.csv"
    explained = run("explain", line["line"], "--events", path, "--data", data)
    assert explained.code == 0
    assert "2 events are behind it, from 2026-10-01T10:00:00Z to 2026-10-02T10:00:00Z" in explained.out
    assert amounts(path) == [(key, Decimal(amount)) for key, amount in SMALL]
    piped = run("explain", line["line"], "--events", "-", "--data", data)
    assert [json.loads(row)["id"] for row in piped.out.splitlines()] == ["1", "2"]


def test_another_ending_is_refused_before_anything_is_rated(run: Run, data: Path, tmp_path: Path) -> None:
    ran = run("rate", "--period", "2026-10", "--rated-events", tmp_path / "events.xlsx", "--data", data)
    assert ran.code == 2
    assert ".parquet" in ran.err
    assert run("runs", "--data", data, "--json").json == {"items": []}


def test_a_part_of_a_run_is_not_written(run: Run, data: Path, tmp_path: Path) -> None:
    ran = run("lines", "--rated-events", tmp_path / "e.csv", "--customer", "acme", "--data", data)
    assert (ran.code, "leave out --customer" in ran.err) == (2, True)
