"""A month of many customers on twelve plans of seventeen pricing models, from raw events to charge lines, beside a bare
Polars sum of the same files by subject and type. The amounts of every price are checked against DuckDB."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages


import resource
import tempfile
from dataclasses import dataclass
from datetime import UTC
from multiprocessing import get_context

import polars as pl

from benchmarks.measuring import Figure, figure, main, progress
from benchmarks.mixed_check import expected
from benchmarks.mixed_usage import accounts, catalog, names, write
from benchmarks.rating_usage import OCTOBER, timed
from rating.catalog import compile_catalog, load_catalog
from rating.core.rating import Rated, rate
from rating.core.schema import SUBJECT_NUMBER
from rating.core.subjects import Usage

_SUMMED = ["data_bytes", "data_input_tokens", "data_output_tokens", "data_value"]


@dataclass(frozen=True)
class _Taken:
    """Seconds and seconds of CPU, the better of two tries each, and the memory that rating needed, in MiB."""

    seconds: float
    processor: float
    bare_seconds: float
    bare_processor: float
    resident: float
    lines: int


def measure(quick: bool) -> dict[str, Figure]:
    count, customers = (5_000_000, 5_000) if quick else (100_000_000, 100_000)
    with tempfile.TemporaryDirectory() as name:
        progress(f"writing {count:,} events ...")
        write(Path(name), count, customers)
        with get_context("spawn").Pool(1) as one:  # a process of its own: its memory is that of rating alone
            taken = one.apply(_rated, (Path(name), customers))
    progress(
        f"{count:,} events, {customers:,} customers -> {taken.lines:,} lines in {taken.seconds:.2f} s, "
        f"{taken.processor:.2f} s of CPU; the bare sum {taken.bare_seconds:.2f} s, {taken.bare_processor:.2f} s of CPU"
    )
    rate, is_met = count / taken.seconds, taken.seconds <= min(2 * taken.bare_seconds, 6)
    target = ">= 16,670,000 and >= 0.5 of the bare sum"
    return {
        "mixed_models": figure(rate, "events/s", count / taken.bare_seconds, target, is_met),
        "mixed_models_resident": figure(taken.resident, "MiB", 4096, "<= 4,096", taken.resident <= 4096),
    }


def _rated(directory: Path, customers: int) -> _Taken:
    book, files = compile_catalog(load_catalog(catalog())), directory / "*.parquet"
    subjects, terms = accounts(customers)
    numbers = pl.LazyFrame({"subject": names(customers)}).with_row_index(SUBJECT_NUMBER)
    usage = Usage(pl.scan_parquet(files), numbers.cast({SUBJECT_NUMBER: pl.Int64}), *OCTOBER.bounds(UTC))
    runs = [timed(lambda: rate(usage, subjects, terms, book, OCTOBER)) for _ in range(2)]
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    bare = pl.scan_parquet(files).group_by(SUBJECT_NUMBER, "type").agg(pl.len(), pl.col(_SUMMED).sum())
    sums = [timed(bare.collect) for _ in range(2)]
    _check(runs[0][0], directory)
    best = [min(taken) for taken in zip(*(run[1:] for run in runs), strict=True)]
    bare_best = [min(taken) for taken in zip(*(one[1:] for one in sums), strict=True)]
    return _Taken(*best, *bare_best, resident, runs[0][0].lines.height)


def _check(rated: Rated, directory: Path) -> None:
    usage = rated.lines.filter(pl.col("kind") == "usage").group_by("price").agg(pl.col("amount").sum())
    amounts = dict(usage.iter_rows())
    assert amounts == expected(directory), (amounts, expected(directory))
    assert rated.unsubscribed.is_empty()


if __name__ == "__main__":
    main("events/s of a month on mixed pricing models, to charge lines", measure)
