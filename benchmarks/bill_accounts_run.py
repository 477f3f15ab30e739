"""A bill run: every account is served, rated, digested and its charge lines written durably, part after part, beside
what rating one part alone takes; checked against what DuckDB makes of the same files."""

import resource
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import polars as pl

from api.making import made_ahead
from api.parts import PART_SUBSCRIPTIONS_MAX, Parts, Span, in_parts, spans
from api.rating_inputs import RatingInputs
from api.skipping import rated_part
from benchmarks.bill_accounts import EVENTS_OF_ONE, accounts, catalog, numbers, write_usage
from benchmarks.measuring import Figure, figure, progress
from benchmarks.rating_usage import OCTOBER, timed
from rating.catalog import compile_catalog
from rating.core.line_digest import LineDigest
from rating.core.lines import sums_of, totals_of_sums
from rating.core.service_periods import Due
from rating.core.subjects import Usage
from rating.disk import Disk
from rating.line_table import LineTable

T = TypeVar("T")
SECONDS_MAX = 120  # for 10 million accounts
MEMORY_MAX = 16  # GiB
_FULL, _QUICK = 10_000_000, 1_000_000
_LINES_OF_ONE = 4
_RUN = "run_bench"
_DUE = Due(datetime(2026, 10, 15, tzinfo=UTC), datetime(2026, 11, 1, 12, tzinfo=UTC))


def measure_accounts(quick: bool) -> Figure:
    count = _QUICK if quick else _FULL
    with tempfile.TemporaryDirectory() as name:
        progress(f"writing the usage of {count:,} accounts ...")
        (Path(name) / "usage").mkdir()
        write_usage(Path(name) / "usage", count)
        with get_context("spawn").Pool(1) as one:  # a process of its own, as after a start
            measured = one.apply(_measured, (Path(name), count))
        _check(Path(name), count, measured["totals"])
    seconds, memory = measured["seconds"], measured["memory"]
    progress(
        f"{count:,} accounts, {count * EVENTS_OF_ONE:,} events, {count * _LINES_OF_ONE:,} lines in {measured['parts']} "
        f"parts: {seconds:.1f} s, {measured['processor']:.1f} s of CPU (beside rating: digested "
        f"{measured['digested']:.1f} s, stored {measured['stored']:.1f} s), {memory:.1f} GiB at most"
    )
    met = seconds <= SECONDS_MAX * count / _FULL and memory < MEMORY_MAX
    target = f">= {_FULL // SECONDS_MAX:,} (<= {SECONDS_MAX} s for {_FULL:,})"
    return figure(count / seconds, "accounts/s", measured["rated"], target, met)


def _measured(directory: Path, count: int) -> dict[str, Any]:
    book = compile_catalog(catalog())
    subjects, subscriptions = accounts(count)
    usage = Usage(pl.scan_parquet(directory / "usage" / "*.parquet"), numbers(count), *OCTOBER.bounds(UTC))
    inputs = RatingInputs(usage, subjects, subscriptions, book, _DUE)
    table = LineTable(directory / "lines", disk=Disk())
    taken = dict.fromkeys(("stored", "digested"), 0.0)

    def clocked(stage: str, work: Callable[[], T]) -> T:
        done, seconds, _ = timed(work)
        taken[stage] += seconds
        return done

    def run() -> tuple[pl.DataFrame, list[Callable[[], pl.DataFrame]]]:
        cut = spans(subscriptions, PART_SUBSCRIPTIONS_MAX)
        parts, digest, sums = in_parts(inputs, cut), LineDigest(), []
        works = [partial(_rated, parts, span) for span in cut]
        for number, lines in enumerate(made_ahead(works), 1):
            clocked("stored", lambda: table.append(_RUN, lines, part=number))  # noqa: B023
            clocked("digested", lambda: digest.add(lines))  # noqa: B023
            sums.append(sums_of(lines))
            progress(f"part {number} of {len(cut)}")
        digest.hexdigest()
        return totals_of_sums(sums, book), works

    (totals, works), seconds, processor = timed(run)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found = totals.row(0, named=True)
    lines, alone, _ = timed(lambda: works[0]().height)
    whole = {"seconds": seconds, "processor": processor, "memory": memory, "totals": found, "parts": len(works)}
    return {**taken, **whole, "rated": lines / _LINES_OF_ONE / alone}


def _rated(parts: Parts, span: Span) -> pl.DataFrame:
    return rated_part(parts.of(span)).lines


def _check(directory: Path, count: int, totals: dict[str, Any]) -> None:
    """What the files of lines hold, and what the files of events come to, both asked of DuckDB."""
    lines, accounts_billed, amount, rounded = duckdb.sql(
        f"SELECT count(*), count(DISTINCT customer), sum(amount), sum(rounded_amount) "
        f"FROM read_parquet('{directory}/lines/**/*.parquet')"
    ).fetchall()[0]
    assert (lines, accounts_billed) == (count * _LINES_OF_ONE, count)
    assert (totals["lines"], totals["amount"], totals["rounded_amount"]) == (lines, amount, rounded)
    exact, shown = duckdb.sql(_EXPECTED.format(files=f"{directory}/usage/*.parquet")).fetchall()[0]
    assert Decimal(exact) / 10_000 + 9 * count == amount
    assert Decimal(shown) / 100 + 9 * count == rounded


_EXPECTED = """
WITH used AS (
    SELECT subject, count(*) FILTER (type = 'request') AS requests,
           coalesce(sum(data_bytes), 0)::BIGINT AS bytes, coalesce(sum(data_tokens), 0)::BIGINT AS tokens
    FROM read_parquet('{files}') GROUP BY subject
), charged AS (  -- in ten-thousandths
    SELECT requests * 100 AS of_requests, (bytes + 999) // 1000 * 1000 AS of_bytes,
           least(tokens, 1000) * 10 + greatest(tokens - 1000, 0) * 5 AS of_tokens
    FROM used
)
SELECT sum(of_requests + of_bytes + of_tokens)::BIGINT,
       sum(of_requests // 100 + of_bytes // 100 + (of_tokens + 50) // 100)::BIGINT
FROM charged
"""
"""In integers: the exact amounts in ten-thousandths, and the rounded ones in cents, without the fees."""
