"""What a grant holds now, and what of it is spoken for."""

from datetime import datetime

import polars as pl

from rating.core.money import ZERO
from rating.core.schema import AMOUNT

STANDING = pl.Schema({"grant": pl.String(), "balance": AMOUNT, "pending": AMOUNT})
"""One row is one grant: what is left of it, and what the usage of its open period so far will take at the period's end.
`pending` may be above `balance` where the grant is renewed before that."""


def standing(ledger: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """STANDING of the grants in the ledger (CREDIT_ENTRY) of the period that `now` is in, by id."""
    entries = ledger.filter(pl.col("kind") != "closing").sort("entry")
    has_happened = pl.col("time") <= now
    balance = pl.col("balance_after").filter(has_happened).last().fill_null(ZERO)
    taken = pl.col("amount").filter(~has_happened & (pl.col("kind") == "burn")).sum().neg()
    found = entries.group_by("grant").agg(balance=balance, pending=taken)
    known = ledger.select("grant").unique().join(found, on="grant", how="left")
    return known.with_columns(pl.col("balance", "pending").fill_null(ZERO)).cast(STANDING).sort("grant")
