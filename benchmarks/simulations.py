"""A month of many customers on mixed pricing models, rated by two catalogs and compared, beside two separate ratings.

The other catalog has other unit amounts, tiers, allowances, packages and fees, a plan with a minimum and one with a
discount; its meters are the same, so the events are read once. Both sides are checked against the separate ratings,
and what the reasons sum to against their difference.
"""

import tempfile
from copy import deepcopy
from datetime import UTC
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measuring import Figure, figure, progress
from benchmarks.mixed_usage import accounts, catalog, names, write
from benchmarks.rating_usage import OCTOBER, timed
from rating.catalog import compile_catalog, load_catalog
from rating.core.rating import Rated, rate
from rating.core.schema import SUBJECT_NUMBER
from rating.core.simulation import Simulation, compared, simulation
from rating.core.subjects import Usage

SECONDS_MAX = 15  # for 100 million events
_FULL = 100_000_000


def other_catalog() -> dict[str, Any]:
    """The catalog of mixed usage at other prices."""
    other = deepcopy(catalog())
    prices = {key: price["versions"][0] for key, price in other["prices"].items()}
    prices["fee"]["amount"] = "59"
    prices["requests/graduated"]["tiers"][0]["up_to"] = 400
    prices["requests/volume"]["tiers"][1]["unit_amount"] = "0.0035"
    prices["requests/package"]["package_size"] = 50
    prices["bytes/per_unit"]["unit_amount"] = "0.08"
    prices["tokens/allowance"]["included"] = 500_000
    prices["input/per_unit"]["free_units"] = 0
    prices["payments/basis_points"]["basis_points"] = 30
    other["plans"]["package"]["adjust"] = [{"kind": "minimum", "amount": "100"}]
    other["plans"]["hybrid"]["adjust"] = [{"kind": "discount", "percent": "10"}]
    return other


def measure_simulation(quick: bool) -> Figure:
    count, customers = (2_000_000, 2_000) if quick else (_FULL, 100_000)
    with tempfile.TemporaryDirectory() as name:
        progress(f"writing {count:,} events ...")
        write(Path(name), count, customers)
        with get_context("spawn").Pool(1) as one:  # a process of its own, as after a start
            seconds, processor, apart = one.apply(_measured, (Path(name), customers))
    progress(
        f"{count:,} events, {customers:,} customers: simulated in {seconds:.2f} s, {processor:.2f} s of CPU; two "
        f"separate ratings {apart:.2f} s"
    )
    target = f"<= {SECONDS_MAX} s for {_FULL:,}"
    return figure(count / seconds, "events/s", count / apart, target, seconds <= SECONDS_MAX * max(count / _FULL, 0.1))


def _measured(directory: Path, customers: int) -> tuple[float, float, float]:
    """Seconds and seconds of CPU of the simulation, and seconds of two separate ratings."""
    books = [compile_catalog(load_catalog(document)) for document in (catalog(), other_catalog())]
    subjects, terms = accounts(customers)
    numbers = pl.LazyFrame({"subject": names(customers)}).with_row_index(SUBJECT_NUMBER)
    files = pl.scan_parquet(directory / "*.parquet")
    usage = Usage(files, numbers.cast({SUBJECT_NUMBER: pl.Int64}), *OCTOBER.bounds(UTC))

    def simulated() -> Simulation:
        shared = usage.remembering()
        before, after = (rate(shared, subjects, terms, book, OCTOBER) for book in books)
        return simulation([compared(before.lines, after.lines)])

    found, seconds, processor = timed(simulated)
    separate = [timed(lambda book=book: rate(usage, subjects, terms, book, OCTOBER)) for book in books]  # type: ignore[misc]
    _check(found, [rated for rated, _, _ in separate])
    return seconds, processor, sum(taken for _, taken, _ in separate)


def _check(found: Simulation, separate: list[Rated]) -> None:
    """By price, by customer and in total, both sides are what the separate ratings came to."""
    before, after = separate
    for frame, key in ((found.prices, "price"), (found.customers, "customer")):
        for side, rated in (("before", before), ("after", after)):
            assert _sums(frame, key, side) == _sums(rated.lines, key, "rounded_amount"), (key, side)
    changes = dict(found.customers.select("customer", "difference").filter(pl.col("difference") != 0).iter_rows())
    explained = found.reasons.group_by("customer").agg(pl.col("amount").sum()).filter(pl.col("amount") != 0)
    assert dict(explained.iter_rows()) == changes, "the reasons of a customer sum to the difference"
    assert set(found.reasons["reason"]) >= {"rate", "tier", "included", "fee", "minimum", "discount"}


def _sums(frame: pl.DataFrame, key: str, column: str) -> dict[Any, Any]:
    summed = frame.group_by(key).agg(pl.col(column).sum())
    return dict(summed.filter(pl.col(column) != 0).iter_rows())
