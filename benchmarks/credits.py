"""Credits burnt event by event, beside a bare running sum of the same burns by customer.

10,000 customers have six grants each that begin and end on different days. The payments of a sample of customers are
checked against an event-by-event loop over `decimal.Decimal` (tests/oracle) and all of them against their sum.
"""

import time
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl

from benchmarks.measuring import Figure, figure, progress
from rating.core.credits.burning import Burnt, burn
from rating.core.credits.schema import BURN, GRANT
from rating.core.schema import AMOUNT, INSTANT
from tests.oracle import credits as oracle

START, END = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
CUSTOMERS, GRANTS_EACH, SAMPLE = 10_000, 6, 25
DAY = 86_400


def measure_credits(quick: bool) -> Figure:
    """Burns a second, from burns and grants to the ledger."""
    count = 200_000 if quick else 1_000_000
    grants, burns = _grants(), _burns(count)
    _check(burn(grants, burns, END), grants, burns)
    begun = time.perf_counter()
    burnt = burn(grants, burns, END)
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    ordered = burns.sort("customer", "time", "sequence")
    ordered.select(pl.col("amount").cum_sum().over("customer"))
    bare = time.perf_counter() - begun
    progress(f"{count:,} burns of {CUSTOMERS:,} customers -> {burnt.ledger.height:,} entries in {seconds:.2f} s")
    return figure(count / seconds, "burns/s", count / bare, ">= 0.04 of the bare running sum", bare >= 0.04 * seconds)


def _grants() -> pl.DataFrame:
    number = pl.int_range(CUSTOMERS * GRANTS_EACH, eager=True)
    made = pl.select(
        grant=pl.format("grant-{}", number),
        customer=pl.format("customer-{}", number // GRANTS_EACH),
        kind=pl.lit("grant"),
        unit=pl.lit("USD"),
        amount=_drawn(number, 1, 100_000),
        priority=pl.lit(number % 2),
        created_at=pl.lit(START),
        effective_at=_at(_drawn(number, 2, 15) * DAY),
        expires_at=_at(_drawn(number, 3, 32) * DAY),
    )
    return _as(GRANT, made)


def _burns(count: int) -> pl.DataFrame:
    number = pl.int_range(count, eager=True)
    made = pl.select(
        burn=number,
        customer=pl.format("customer-{}", number.hash(4) % CUSTOMERS),
        subscription=pl.lit("s"),
        unit=pl.lit("USD"),
        time=_at(_drawn(number, 5, 31 * DAY)),
        sequence=number,
        amount=_drawn(number, 6, 10_000),
    )
    return _as(BURN, made.with_columns(amount=pl.col("amount").cast(AMOUNT) / pl.lit(100, dtype=AMOUNT)))


def _drawn(number: pl.Series, seed: int, size: int) -> pl.Expr:
    """From 1 to `size`."""
    return pl.lit((number.hash(seed) % size).cast(pl.Int64) + 1)


def _at(seconds: pl.Expr) -> pl.Expr:
    return pl.lit(START, dtype=INSTANT) + pl.duration(seconds=seconds - 1)


def _as(schema: pl.Schema, made: pl.DataFrame) -> pl.DataFrame:
    absent = made.with_columns(pl.lit(None).alias(name) for name in schema if name not in made.columns)
    return absent.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _check(burnt: Burnt, grants: pl.DataFrame, burns: pl.DataFrame) -> None:
    paid = burnt.paid
    assert (paid["paid"] + paid["unpaid"]).sum() == burns["amount"].sum()
    sample = [f"customer-{number}" for number in range(SAMPLE)]
    own = pl.col("customer").is_in(sample)
    expected = oracle.burn(grants.filter(own).to_dicts(), burns.filter(own).to_dicts(), END)
    assert dict(paid.filter(own).select("burn", "paid").iter_rows()) == expected.paid
    assert sum(expected.paid.values(), Decimal(0)) > 0
