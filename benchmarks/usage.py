"""Synthetic usage for benchmarks: seeded, of known sum, as CloudEvents JSON or Arrow, and the catalog that rates it."""

from io import BytesIO

import numpy as np
import polars as pl

JSON_BATCH = "application/cloudevents-batch+json"
ARROW = "application/vnd.apache.arrow.stream"
MODELS = ["gpt-4o", "o3", "claude-opus-4-6", "gpt-5-nano"]
CATALOG = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": {
        "input": {"event_type": "llm", "aggregation": "sum", "property": "input_tokens", "group_by": ["model"]},
        "output": {"event_type": "llm", "aggregation": "sum", "property": "output_tokens", "group_by": ["model"]},
        "requests": {"event_type": "llm", "aggregation": "count", "group_by": ["model"]},
    },
    "features": {"tokens": {"meter": "input"}},
    "prices": {
        **{
            f"input/{model}": {
                "meter": "input",
                "currency": "USD",
                "model": "per_unit",
                "match": {"model": model},
                "versions": [{"unit_amount": "2.50", "per": 1_000_000}],
            }
            for model in MODELS
        },
        "output": {
            "meter": "output",
            "currency": "USD",
            "model": "graduated",
            "versions": [
                {
                    "per": 1_000_000,
                    "tiers": [{"up_to": 10_000, "unit_amount": "10"}, {"up_to": None, "unit_amount": "8"}],
                }
            ],
        },
        "requests": {
            "meter": "requests",
            "currency": "USD",
            "model": "volume",
            "versions": [
                {"tiers": [{"up_to": 1000, "unit_amount": "0.001"}, {"up_to": None, "unit_amount": "0.0008"}]}
            ],
        },
        "fee": {"currency": "USD", "model": "flat", "versions": [{"amount": "20"}]},
    },
    "plans": {
        "plan": {
            "currency": "USD",
            "prices": ["*"],
            "entitlements": {"tokens": {"limit": "1000000000000", "window": "month"}},
        }
    },
}


def events(count: int, *, subjects: int, seed: int, first: int = 0) -> pl.DataFrame:
    """One row is one event of October 2026: the CloudEvents attributes and four properties."""
    rng = np.random.default_rng(seed)
    micros = rng.integers(0, 31 * 86_400 * 10**6, count)
    return pl.DataFrame(
        {
            "id": pl.Series(np.arange(first, first + count)).cast(pl.String),
            "subject": pl.format("cust-{}", pl.Series(rng.integers(0, subjects, count))).pipe(pl.select).to_series(),
            "time": np.datetime64("2026-10-01", "us") + micros.astype("timedelta64[us]"),
            "model": pl.Series(MODELS).gather(pl.Series(rng.integers(0, len(MODELS), count))),
            "region": pl.Series(["eu", "us"]).gather(pl.Series(rng.integers(0, 2, count))),
            "input_tokens": rng.integers(1, 8000, count),
            "output_tokens": rng.integers(1, 800, count),
        }
    ).with_columns(pl.col("time").dt.replace_time_zone("UTC"), source=pl.lit("bench"), type=pl.lit("llm"))


def json_bodies(frame: pl.DataFrame, size: int) -> list[bytes]:
    """CloudEvents batches of `size` events."""
    stamp = pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    pieces = [
        '{"specversion":"1.0","id":"', pl.col("id"), '","source":"bench","type":"llm","subject":"', pl.col("subject"),
        '","time":"', stamp, '","data":{"model":"', pl.col("model"), '","region":"', pl.col("region"),
        '","input_tokens":', pl.col("input_tokens"), ',"output_tokens":', pl.col("output_tokens"), "}}",
    ]  # fmt: skip
    text = pl.concat_str(pl.lit(piece) if isinstance(piece, str) else piece for piece in pieces)
    texts = frame.select(text.alias("text"))["text"]
    return [b"[" + ",".join(texts[at : at + size]).encode() + b"]" for at in range(0, frame.height, size)]


def arrow_bodies(frame: pl.DataFrame, size: int) -> list[bytes]:
    """Arrow IPC streams of `size` events."""
    bodies = []
    for part in frame.iter_slices(size):
        body = BytesIO()
        part.write_ipc_stream(body, compat_level=pl.CompatLevel.oldest())
        bodies.append(body.getvalue())
    return bodies


def parties(count: int) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Customers, each its own subject, and their subscriptions, as the API takes them."""
    customers: list[dict[str, object]] = [{"key": f"cust-{n}", "subjects": [f"cust-{n}"]} for n in range(count)]
    terms: list[dict[str, object]] = [
        {"key": f"cust-{n}", "customer": f"cust-{n}", "plan": "plan", "starts_at": "2020-01-01T00:00:00Z"}
        for n in range(count)
    ]
    return customers, terms
