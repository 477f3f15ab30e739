"""Usage of many customers on many pricing models, in Parquet files as the usage table has them once it has merged them:
one day and subject bucket each, in the order of subjects; and the catalog whose twelve plans price it by seventeen
models.

Customers are spread over the plans evenly. Six plans sell a gateway (requests, bytes), five a language model (tokens of
four models), one takes a share of payments. Everything is seeded.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ingest.schema import BUCKET, bucket_of_subject
from rating.core.schema import (
    PROPERTY_DTYPE,
    SUBJECT,
    SUBJECT_NUMBER,
    numbered_usage_schema,
    property_column,
)
from rating.core.subscriptions import plain_subscriptions

DAYS = 31
MODELS = ["small", "medium", "large", "reasoning"]
OPERATIONS = ["read", "write", "list", "delete", "copy"]
PLANS = {  # what one sells, and its prices
    "graduated": ("request", ["requests/graduated"]),
    "volume": ("request", ["requests/volume", "bytes/per_unit"]),
    "stairstep": ("request", ["requests/stairstep", "bytes/package"]),
    "package": ("request", ["requests/package"]),
    "matrix": ("request", ["operations/matrix"]),
    "tiered_package": ("request", ["bytes/tiered_package", "fee"]),
    "per_unit": ("llm", ["input/per_unit", "output/per_unit"]),
    "allowance": ("llm", ["tokens/allowance"]),
    "weighted": ("llm", ["tokens/weighted_matrix"]),
    "blocks": ("llm", ["tokens/blocks", "fee"]),
    "hybrid": ("llm", ["fee", "input/graduated", "output/volume"]),
    "payments": ("payment", ["payments/basis_points", "payments/graduated_percentage"]),
}
_TYPES = list(dict.fromkeys(kind for kind, _ in PLANS.values()))
_PROPERTIES = ("bytes", "operation", "input_tokens", "output_tokens", "model", "value")
_BUCKETS, _ROWS_OF_A_FILE = 4, 500_000
_SINCE = datetime(2020, 1, 1, tzinfo=UTC)


def catalog() -> dict[str, Any]:
    """The catalog document."""
    tiers = [{"up_to": 500, "unit_amount": "0.004"}, {"up_to": 900, "unit_amount": "0.003"}, {"unit_amount": "0.002"}]
    token_tiers = [{"up_to": 2_000_000, "unit_amount": "3"}, {"unit_amount": "2.4", "flat_amount": "1"}]
    steps = [{"up_to": 500, "amount": "1"}, {"up_to": 1_000, "amount": "8"}, {"amount": "20"}]
    packages = [{"up_to": 10, "unit_amount": "0.5"}, {"unit_amount": "0.4"}]
    shares = [{"up_to": 20_000, "percent": "1.5"}, {"percent": "1.2", "flat_amount": "3"}]
    prices = {
        "fee": (None, "flat", {"amount": "49"}),
        "requests/graduated": ("requests", "graduated", {"tiers": tiers}),
        "requests/volume": ("requests", "volume", {"tiers": tiers}),
        "requests/stairstep": ("requests", "stairstep", {"tiers": steps}),
        "requests/package": ("requests", "package", {"package_size": 100, "amount": "0.3", "free_units": 50}),
        "operations/matrix": ("operations", "matrix", _cells("operation", OPERATIONS, "unit_amount")),
        "bytes/per_unit": ("bytes", "per_unit", {"unit_amount": "0.09", "per": 1_000_000}),
        "bytes/package": ("bytes", "package", {"package_size": 1_000_000, "amount": "0.1"}),
        "bytes/tiered_package": ("bytes", "tiered_package", {"package_size": 1_000_000, "tiers": packages}),
        "input/per_unit": ("input", "per_unit", {"unit_amount": "3", "per": 1_000_000, "free_units": 1_000}),
        "output/per_unit": ("output", "per_unit", {"unit_amount": "15", "per": 1_000_000}),
        "input/graduated": ("input", "graduated", {"per": 1_000_000, "tiers": token_tiers}),
        "output/volume": ("output", "volume", {"per": 1_000_000, "tiers": token_tiers}),
        "tokens/allowance": ("tokens", "allowance", {"included": 1_000_000, "unit_amount": "5", "per": 1_000_000}),
        "tokens/weighted_matrix": (
            "by_model",
            "weighted_matrix",
            {**_cells("model", MODELS, "factor"), "tiers": tiers},
        ),
        "tokens/blocks": ("tokens", "blocks", {"block_tiers": [{"block_size": 1_000_000, "amount": "4"}]}),
        "payments/basis_points": ("payments", "basis_points", {"basis_points": 25}),
        "payments/graduated_percentage": ("sales", "graduated_percentage", {"tiers": shares}),
    }
    return {
        "tallystick": 1,
        "currencies": ["USD"],
        "meters": {
            "requests": {"event_type": "request", "aggregation": "count"},
            "operations": {"event_type": "request", "aggregation": "count", "group_by": ["operation"]},
            "bytes": {"event_type": "request", "aggregation": "sum", "property": "bytes"},
            "input": {"event_type": "llm", "aggregation": "sum", "property": "input_tokens"},
            "output": {"event_type": "llm", "aggregation": "sum", "property": "output_tokens"},
            "tokens": {"event_type": "llm", "aggregation": "sum", "property": "input_tokens", "add": ["output_tokens"]},
            "by_model": {"event_type": "llm", "aggregation": "sum", "property": "input_tokens", "group_by": ["model"]},
            "payments": {"event_type": "payment", "aggregation": "sum", "property": "value"},
            "sales": {"event_type": "payment", "aggregation": "sum", "property": "value"},
        },
        "prices": {
            key: {"currency": "USD", "model": model, "versions": [version], **({"meter": meter} if meter else {})}
            for key, (meter, model, version) in prices.items()
        },
        "plans": {plan: {"currency": "USD", "prices": keys} for plan, (_, keys) in PLANS.items()},
    }


def _cells(dimension: str, values: list[str], number: str) -> dict[str, Any]:
    """One cell a value but the last, which the default prices."""
    cells = [{"match": {dimension: value}, number: str(place + 1)} for place, value in enumerate(values[:-1])]
    return {"cells": cells, number: "9"}


def names(customers: int) -> list[str]:
    return [f"cust-{n}" for n in range(customers)]


def accounts(customers: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """SUBJECT, one a customer, and SUBSCRIPTION: customer n is on plan n modulo their number."""
    plans = list(PLANS)
    rows = [(name, name, plans[n % len(plans)], "UTC", _SINCE, None) for n, name in enumerate(names(customers))]
    subjects = pl.DataFrame([(name, name) for name in names(customers)], schema=SUBJECT, orient="row")
    return subjects, plain_subscriptions(rows)


def write(directory: Path, count: int, customers: int) -> None:
    """About `count` events of October 2026 in `directory`."""
    for day in range(DAYS):
        placed = _day(day, count // DAYS, customers).with_columns(bucket_of_subject(_BUCKETS))
        for bucket, events in enumerate(placed.sort("subject", "time").partition_by(BUCKET, include_key=False)):
            for place, part in enumerate(events.iter_slices(_ROWS_OF_A_FILE)):
                file = directory / f"{day:02}-{bucket}-{place}.parquet"
                part.write_parquet(file, compression="zstd", compression_level=1)


def _day(day: int, count: int, customers: int) -> pl.DataFrame:
    rng = np.random.default_rng([7, day])
    number = rng.integers(0, customers, count)
    kinds = np.array([_TYPES.index(kind) for kind, _ in PLANS.values()])[number % len(PLANS)]
    start = np.datetime64("2026-10-01", "us") + np.timedelta64(day, "D")
    times = start + np.sort(rng.integers(0, 86_400 * 10**6, count)).astype("timedelta64[us]")
    made = pl.DataFrame(
        {
            SUBJECT_NUMBER: number,
            "kind": kinds,
            "time": times,
            "bytes": rng.integers(100, 50_000, count),
            "operation": rng.integers(0, len(OPERATIONS), count),
            "input_tokens": rng.integers(1, 8_000, count),
            "output_tokens": rng.integers(1, 800, count),
            "model": rng.integers(0, len(MODELS), count),
            "value": rng.integers(100, 20_000, count),
        }
    )
    kind, zoned = pl.col("kind"), pl.col("time").dt.replace_time_zone("UTC")
    types = {0: ("bytes", "operation"), 1: ("input_tokens", "output_tokens", "model"), 2: ("value",)}
    texts = {"operation": OPERATIONS, "model": MODELS}
    values = {name: _text(name, texts[name]) if name in texts else _number(name) for name in _PROPERTIES}
    columns = [
        pl.when(kind == place).then(values[name]).alias(property_column(name))
        for place, properties in types.items()
        for name in properties
    ]
    sequence = pl.int_range(pl.len(), dtype=pl.Int64) + day * count
    attributes = {
        "id": sequence.cast(pl.String),
        "source": pl.lit("bench"),
        "subject": pl.format("cust-{}", SUBJECT_NUMBER),
        "type": _text("kind", _TYPES),
        "time": zoned,
        "received_at": zoned,
        "data": pl.lit(None, dtype=pl.String),
        "sequence": sequence,
    }
    schema = numbered_usage_schema({name: "string" if name in texts else "number" for name in _PROPERTIES})
    return made.with_columns(*columns, **attributes).select(schema.names())


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(PROPERTY_DTYPE["number"])


def _text(column: str, values: list[str]) -> pl.Expr:
    return pl.col(column).replace_strict(range(len(values)), values, return_dtype=pl.String)
