"""Rating from raw events to charge lines, beside a bare group-by sum of the same table.

`presets` rates per-unit, graduated, volume and flat prices over three meters; `price_book` rates the whole imported
book of published model prices (37 meters, thousands of prices, versions, windows and request sizes). The totals are
checked against sums that DuckDB takes of the same file. Subjects have numbers, as in the usage table. Progress tells
the CPU time of the process beside the wall time, and the same for the bare sum. `mixed_models`, `credit_burn`,
`prefix_match` and `rated_events` are in the scripts of these names.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages


import tempfile
from decimal import Decimal

import duckdb
import polars as pl

from benchmarks.credits import measure_credits
from benchmarks.measuring import Figure, figure, main, progress
from benchmarks.mixed_models import measure as measure_mixed_models
from benchmarks.prefixes import measure_prefixes
from benchmarks.rated_events import measure as measure_rated_events
from benchmarks.rating_usage import OCTOBER, SINCE, subject_names, timed, write_usage
from benchmarks.usage import CATALOG
from rating.catalog import Catalog, compile_catalog, load_catalog
from rating.catalog.genai_prices import import_genai_prices
from rating.core.rating import Rated, rate
from rating.core.schema import SUBJECT, SUBJECT_NUMBER
from rating.core.subjects import Usage
from rating.core.subscriptions import plain_subscriptions


def measure(quick: bool) -> dict[str, Figure]:
    presets, (book, _) = load_catalog(CATALOG), import_genai_prices()
    size = 3_000_000 if quick else 20_000_000
    return {
        "presets": _measure(presets, "llm", "plan", size, 20_000),
        "price_book": _measure(load_catalog(book), "llm.request", "llm", size // 10, 500),
        **measure_mixed_models(quick),
        "credit_burn": measure_credits(quick),
        "prefix_match": measure_prefixes(quick),
        **measure_rated_events(quick),
    }


def _measure(catalog: Catalog, event_type: str, plan: str, count: int, customers: int) -> Figure:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "usage.parquet"
        write_usage(path, catalog, event_type, count, customers)
        subjects = pl.DataFrame([(name, name) for name in subject_names(customers)], schema=SUBJECT, orient="row")
        rows = [(name, name, plan, "UTC", SINCE, None) for name in subject_names(customers)]
        terms, book = plain_subscriptions(rows), compile_catalog(catalog)
        numbers = pl.LazyFrame({"subject": subject_names(customers)}).with_row_index(SUBJECT_NUMBER)
        usage = Usage(pl.scan_parquet(path), numbers.cast({SUBJECT_NUMBER: pl.Int64}))
        rated, seconds, processor = timed(lambda: rate(usage, subjects, terms, book, OCTOBER))
        _check(rated, path)
        sums = pl.scan_parquet(path).group_by(SUBJECT_NUMBER).agg(pl.col("data_input_tokens").sum())
        _, bare_seconds, bare_processor = timed(lambda: sums.collect())
    progress(
        f"{count:,} events, {customers:,} customers -> {rated.lines.height:,} lines in {seconds:.2f} s, "
        f"{processor:.2f} s of CPU; the bare sum {bare_seconds:.2f} s, {bare_processor:.2f} s of CPU"
    )
    return figure(
        count / seconds, "events/s", count / bare_seconds, ">= 0.5 of the bare sum", seconds <= 2 * bare_seconds
    )


def _check(rated: Rated, path: Path) -> None:
    """Every token is on a line, and every line's tiers sum to it."""
    for column, meters in (
        ("data_input_tokens", ("input", "input_tokens")),
        ("data_output_tokens", ("output", "output_tokens")),
    ):
        (tokens,) = duckdb.connect().execute(f"SELECT sum({column}) FROM read_parquet(?)", [str(path)]).fetchone() or (
            None,
        )
        assert rated.lines.filter(pl.col("meter").is_in(meters))["quantity"].sum() == Decimal(str(tokens)), column
    tiers = rated.lines.select(
        "amount", pl.col("tiers").list.eval(pl.element().struct.field("amount")).list.sum().alias("tiers")
    )
    assert tiers.filter(pl.col("amount") != pl.col("tiers")).is_empty()
    assert rated.unpriced.is_empty()
    assert rated.unsubscribed.is_empty()


if __name__ == "__main__":
    main("events/s from raw usage to charge lines", measure)
