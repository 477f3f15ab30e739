"""What a ledger says of a past instant."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from rating.core.money import ZERO
from rating.core.schema import INSTANT


def balances_at(ledger: pl.DataFrame, instants: Sequence[datetime]) -> pl.DataFrame:
    """One row for each of `instants` (`at`) and `grant`: its `balance` then, behind what changed at the instant and
    before what was burnt at it. A grant without entries up to then has none."""
    burnt = pl.col("kind") == "burn"
    counts_from = pl.when(burnt).then(pl.col("time").dt.offset_by("1us")).otherwise("time")
    entries = ledger.with_columns(at=counts_from).sort("at", "entry").select("grant", "at", balance="balance_after")
    asked = pl.DataFrame({"at": sorted(set(instants))}, schema={"at": INSTANT})
    every = asked.join(ledger.select("grant").unique(), how="cross").sort("at", "grant")
    met = every.join_asof(entries, on="at", by="grant", check_sortedness=False)
    return met.with_columns(pl.col("balance").fill_null(ZERO))
