"""Each event with its share of its charge line: events/s from raw usage and the lines of a run to rated events.

Per-unit, graduated, volume and flat prices over three meters, as in benchmarks/rating.py; the lines are made before the
clock starts. Every line is checked to be the sum of its events. The baseline is the run that makes the lines.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages

import tempfile

import polars as pl

from benchmarks.measuring import Figure, figure, main, progress
from benchmarks.rating_usage import OCTOBER, SINCE, subject_names, timed, write_usage
from benchmarks.usage import CATALOG
from rating.catalog import compile_catalog, load_catalog
from rating.core.rated_events import rated_events
from rating.core.rating import rate
from rating.core.schema import SUBJECT, SUBJECT_NUMBER
from rating.core.subjects import Usage
from rating.core.subscriptions import plain_subscriptions

TARGET = 5_000_000


def measure(quick: bool) -> dict[str, Figure]:
    count, customers = (2_000_000, 20_000) if quick else (10_000_000, 100_000)
    catalog, names = load_catalog(CATALOG), subject_names(customers)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "usage.parquet"
        write_usage(path, catalog, "llm", count, customers)
        numbers = pl.LazyFrame({"subject": names}).with_row_index(SUBJECT_NUMBER).cast({SUBJECT_NUMBER: pl.Int64})
        usage = Usage(pl.scan_parquet(path), numbers)
        subjects = pl.DataFrame([(name, name) for name in names], schema=SUBJECT, orient="row")
        rows = [(name, name, "plan", "UTC", SINCE, None) for name in names]
        terms = plain_subscriptions(rows), compile_catalog(catalog), OCTOBER
        rated, run_seconds, _ = timed(lambda: rate(usage, subjects, *terms))
        parts, seconds, processor = timed(lambda: list(rated_events(usage, subjects, *terms, rated.lines)))
    shares = sum(part.height for part in parts)
    _check(rated.lines, parts)
    progress(
        f"{count:,} events, {rated.lines.height:,} lines, {shares:,} shares: {seconds:.2f} s, {processor:.2f} s of CPU"
    )
    speed = shares / seconds
    return {"rated_events": figure(speed, "shares/s", count / run_seconds, f">= {TARGET:,}", speed >= TARGET)}


def _check(lines: pl.DataFrame, parts: list[pl.DataFrame]) -> None:
    """Every line is the sum of its events, and every event of a line is there."""
    sums = pl.concat(parts).group_by("line").agg(pl.col("quantity", "amount").sum(), pl.col("event").n_unique())
    assert sums.height == lines.height
    both = lines.join(sums, on="line", suffix="_shared", validate="1:1")
    assert both.height == lines.height
    for name in ("quantity", "amount"):
        assert both.filter(pl.col(name) != pl.col(f"{name}_shared")).is_empty(), name
    usage = both.filter(pl.col("kind") == "usage")
    assert usage.filter(pl.col("events") != pl.col("event").cast(pl.Int64)).is_empty()


if __name__ == "__main__":
    main("rated events/s from usage and charge lines", measure)
