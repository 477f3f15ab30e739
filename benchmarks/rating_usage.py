"""Usage for the benchmarks of rating: a Parquet file of events as the usage table has them, and a clock."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import polars as pl

from benchmarks.usage import events
from rating.catalog import Catalog
from rating.core.periods import Month
from rating.core.schema import PROPERTY_DTYPE, SUBJECT_NUMBER, numbered_usage_schema, property_column

T = TypeVar("T")
OCTOBER = Month(2026, 10)
SINCE = datetime(2020, 1, 1, tzinfo=UTC)
PROVIDERS = {"gpt-4o": "openai", "o3": "openai", "claude-opus-4-6": "anthropic", "gpt-5-nano": "openai"}


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What it gives, the seconds that passed, and the seconds of CPU of this process."""
    begun, used = time.perf_counter(), time.process_time()
    done = work()
    return done, time.perf_counter() - begun, time.process_time() - used


def subject_names(customers: int) -> list[str]:
    return [f"cust-{n}" for n in range(customers)]


def write_usage(path: Path, catalog: Catalog, event_type: str, count: int, customers: int) -> None:
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
