"""Rating from raw events to charge lines, beside a bare group-by sum of the same table.

`presets` rates per-unit, graduated, volume and flat prices over three meters; `price_book` rates the whole imported
book of published model prices (37 meters, thousands of prices, versions, windows and request sizes). The totals are
checked against sums that DuckDB takes of the same file. Subjects have numbers, as in the usage table. Progress tells
the CPU time of the process beside the wall time, and the same for the bare sum.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages


import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

import duckdb
import polars as pl

from benchmarks.measuring import Figure, figure, main, progress
from benchmarks.usage import CATALOG, events
from rating.catalog import Catalog, compile_catalog, load_catalog
from rating.catalog.genai_prices import import_genai_prices
from rating.core.periods import Month
from rating.core.rating import Rated, rate
from rating.core.schema import (
    PROPERTY_DTYPE,
    SUBJECT,
    SUBJECT_NUMBER,
    SUBSCRIPTION,
    numbered_usage_schema,
    property_column,
)
from rating.core.subjects import Usage

T = TypeVar("T")
OCTOBER = Month(2026, 10)
SINCE = datetime(2020, 1, 1, tzinfo=UTC)
PROVIDERS = {"gpt-4o": "openai", "o3": "openai", "claude-opus-4-6": "anthropic", "gpt-5-nano": "openai"}


def measure(quick: bool) -> dict[str, Figure]:
    presets, (book, _) = load_catalog(CATALOG), import_genai_prices()
    size = 3_000_000 if quick else 20_000_000
    return {
        "presets": _measure(presets, "llm", "plan", size, 20_000),
        "price_book": _measure(load_catalog(book), "llm.request", "llm", size // 10, 500),
    }


def _measure(catalog: Catalog, event_type: str, plan: str, count: int, customers: int) -> Figure:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "usage.parquet"
        _write(path, catalog, event_type, count, customers)
        subjects = pl.DataFrame([(name, name) for name in _subjects(customers)], schema=SUBJECT, orient="row")
        rows = [(name, name, plan, "UTC", SINCE, None) for name in _subjects(customers)]
        terms, book = pl.DataFrame(rows, schema=SUBSCRIPTION, orient="row"), compile_catalog(catalog)
        numbers = pl.LazyFrame({"subject": _subjects(customers)}).with_row_index(SUBJECT_NUMBER)
        usage = Usage(pl.scan_parquet(path), numbers.cast({SUBJECT_NUMBER: pl.Int64}))
        rated, seconds, processor = _timed(lambda: rate(usage, subjects, terms, book, OCTOBER))
        _check(rated, path)
        sums = pl.scan_parquet(path).group_by(SUBJECT_NUMBER).agg(pl.col("data_input_tokens").sum())
        _, bare_seconds, bare_processor = _timed(lambda: sums.collect())
    progress(
        f"{count:,} events, {customers:,} customers -> {rated.lines.height:,} lines in {seconds:.2f} s, "
        f"{processor:.2f} s of CPU; the bare sum {bare_seconds:.2f} s, {bare_processor:.2f} s of CPU"
    )
    return figure(
        count / seconds, "events/s", count / bare_seconds, ">= 0.5 of the bare sum", seconds <= 2 * bare_seconds
    )


def _timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What it gives, the seconds that passed, and the seconds of CPU of this process."""
    begun, used = time.perf_counter(), time.process_time()
    done = work()
    return done, time.perf_counter() - begun, time.process_time() - used


def _subjects(customers: int) -> list[str]:
    return [f"cust-{n}" for n in range(customers)]


def _write(path: Path, catalog: Catalog, event_type: str, count: int, customers: int) -> None:
    made = events(count, subjects=customers, seed=11)
    given = {"input_tokens": "input_tokens", "output_tokens": "output_tokens", "model": "model"}
    provider = pl.col("model").replace_strict(PROVIDERS)
    columns = [
        (pl.col(given[name]) if name in given else provider if name == "provider" else pl.lit(None))
        .cast(PROPERTY_DTYPE[kind])
        .alias(property_column(name))
        for name, kind in catalog.declared_properties().items()
    ]
    attributes = {
        "type": pl.lit(event_type),
        SUBJECT_NUMBER: pl.col("subject").str.strip_prefix("cust-").cast(pl.Int64),
        "data": pl.lit(None, dtype=pl.String),
        "received_at": pl.col("time"),
        "sequence": pl.int_range(pl.len(), dtype=pl.Int64),
    }
    schema = numbered_usage_schema(catalog.declared_properties())
    made.with_columns(*columns, **attributes).select(schema.names()).write_parquet(path)


def _check(rated: Rated, path: Path) -> None:
    """Every token is on a line, and every line's tiers sum to it."""
    for column, meters in (
        ("data_input_tokens", ("input", "input_tokens")),
        ("data_output_tokens", ("output", "output_tokens")),
    ):
        (tokens,) = duckdb.execute(f"SELECT sum({column}) FROM read_parquet(?)", [str(path)]).fetchone() or (None,)
        assert rated.lines.filter(pl.col("meter").is_in(meters))["quantity"].sum() == Decimal(str(tokens)), column
    tiers = rated.lines.select(
        "amount", pl.col("tiers").list.eval(pl.element().struct.field("amount")).list.sum().alias("tiers")
    )
    assert tiers.filter(pl.col("amount") != pl.col("tiers")).is_empty()
    assert rated.unpriced.is_empty()
    assert rated.unsubscribed.is_empty()


if __name__ == "__main__":
    main("events/s from raw usage to charge lines", measure)
