"""Accounts for the bill run: so many customers with a subscription each, and a month of usage of theirs in Parquet
files as the usage table has them once it has merged them: one bucket of subjects each, in the order of subjects.

Every account owes a fee and three metered prices. Account n has `EVENTS_OF_ONE` events, whose quantities follow from
their sequence: so what all bills come to is known from integers alone.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from ingest.schema import BUCKET, bucket_of_subject
from rating.catalog import Catalog, load_catalog
from rating.core.schema import INSTANT, PROPERTY_DTYPE, SUBJECT, SUBJECT_NUMBER, numbered_usage_schema, property_column
from rating.core.subscriptions import plain

EVENTS_OF_ONE = 3  # two requests and a call of a model
BYTES_MAX, TOKENS_MAX = 5_000, 2_500
_BUCKETS, _ROWS_AT_ONCE, _ROWS_OF_A_GROUP = 4, 1_500_000, 65_536
_OF_MONTH = 31 * 86_400 * 1_000_000
_ARREARS = {"due": "in_arrears"}
_SINCE = datetime(2020, 1, 1, tzinfo=UTC)


def catalog() -> Catalog:
    tiers = [{"up_to": 1000, "unit_amount": "0.001"}, {"unit_amount": "0.0005"}]
    prices = {
        "fee": (None, "flat", {"amount": "9"}),
        "requests": ("requests", "per_unit", {"unit_amount": "0.01"}),
        "bytes": ("bytes", "package", {"package_size": 1000, "amount": "0.1"}),
        "tokens": ("tokens", "graduated", {"tiers": tiers}),
    }
    document: dict[str, Any] = {
        "tallystick": 1,
        "currencies": ["USD"],
        "meters": {
            "requests": {"event_type": "request", "aggregation": "count"},
            "bytes": {"event_type": "request", "aggregation": "sum", "property": "bytes"},
            "tokens": {"event_type": "llm", "aggregation": "sum", "property": "tokens"},
        },
        "prices": {
            key: {"currency": "USD", "model": model, "versions": [version], **({"meter": meter} if meter else _ARREARS)}
            for key, (meter, model, version) in prices.items()
        },
        "plans": {"plan": {"currency": "USD", "prices": list(prices)}},
    }
    return load_catalog(document)


def accounts(count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """SUBJECT and SUBSCRIPTION, one a customer, in the order of keys."""
    named = pl.select(pl.int_range(count)).select(key=_name(pl.col("literal")))
    subscriptions = plain(
        named.select(
            subscription="key",
            customer="key",
            plan=pl.lit("plan"),
            time_zone=pl.lit("UTC"),
            starts_at=pl.lit(_SINCE, dtype=INSTANT),
            ends_at=pl.lit(None, dtype=INSTANT),
        )
    )
    return named.select(subject="key", customer="key").match_to_schema(SUBJECT), subscriptions


def numbers(count: int) -> pl.LazyFrame:
    """SUBJECT_NUMBERS."""
    return accounts(count)[0].lazy().select("subject").with_row_index(SUBJECT_NUMBER).cast({SUBJECT_NUMBER: pl.Int64})


def _name(number: pl.Expr) -> pl.Expr:
    return pl.format("cust-{}", number.cast(pl.String).str.zfill(8))


def write_usage(directory: Path, count: int) -> None:
    """The events of October 2026."""
    for start in range(0, count * EVENTS_OF_ONE, _ROWS_AT_ONCE):
        events = _events(start, min(start + _ROWS_AT_ONCE, count * EVENTS_OF_ONE))
        for bucket, part in enumerate(events.partition_by(BUCKET, include_key=False)):
            path = directory / f"{start:010}-{bucket}.parquet"
            part.write_parquet(path, compression="zstd", compression_level=1, row_group_size=_ROWS_OF_A_GROUP)


def _events(first: int, behind: int) -> pl.DataFrame:
    schema = numbered_usage_schema(catalog().declared_properties())
    sequence = pl.col("sequence")
    is_request = sequence % EVENTS_OF_ONE < EVENTS_OF_ONE - 1
    time = (datetime(2026, 10, 1, tzinfo=UTC) + pl.duration(microseconds=sequence * 7_919 % _OF_MONTH)).cast(INSTANT)
    number = sequence // EVENTS_OF_ONE
    columns = {
        "source": pl.lit("bench"),
        "id": sequence.cast(pl.String),
        "type": pl.when(is_request).then(pl.lit("request")).otherwise(pl.lit("llm")),
        "subject": _name(number),
        SUBJECT_NUMBER: number,
        "time": time,
        "received_at": time,
        "data": pl.lit(None, dtype=pl.String),
        "sequence": sequence,
        property_column("bytes"): pl.when(is_request).then(sequence % BYTES_MAX + 1).cast(PROPERTY_DTYPE["number"]),
        property_column("tokens"): pl.when(~is_request).then(sequence % TOKENS_MAX + 1).cast(PROPERTY_DTYPE["number"]),
    }
    made = pl.select(sequence=pl.int_range(first, behind, dtype=pl.Int64)).with_columns(**columns)
    return made.with_columns(bucket_of_subject(_BUCKETS)).select(*schema.names(), BUCKET).sort("subject", "sequence")
