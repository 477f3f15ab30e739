"""The ledger of a run: what became of every grant in the month, as one frame that is stored."""

from collections.abc import Sequence

import polars as pl

from rating.core.credits.burning import Burnt
from rating.core.credits.changes import CLOSES_AT
from rating.core.credits.schema import BALANCE, BILL_LEDGER, CREDIT_ENTRY
from rating.core.money import ZERO, grouped_sum
from rating.core.schema import AMOUNT

LEDGER_TOTAL = pl.Schema(
    {
        "unit": pl.String(),
        "opening": AMOUNT,
        "granted": AMOUNT,
        "refunded": AMOUNT,
        "rollover": AMOUNT,  # what resets took away, below zero, or raised
        "burnt": AMOUNT,
        "expired": AMOUNT,
        "voided": AMOUNT,
        "closing": AMOUNT,
    }
)
"""One row is one unit of a ledger: opening + granted + refunded + rollover - burnt - expired - voided = closing."""

_KINDS = {
    "opening": (1, "opening"),
    "grant": (1, "granted"),
    "top_up": (1, "granted"),
    "refund": (1, "refunded"),
    "rollover": (1, "rollover"),
    "burn": (-1, "burnt"),
    "expiry": (-1, "expired"),
    "void": (-1, "voided"),
}


def run_ledger(burnt: Sequence[Burnt], grants: pl.DataFrame, period: str) -> pl.DataFrame:
    """CREDIT_ENTRY of the ledgers of a run of `period`; `grants` is GRANT."""
    parts = [pl.concat([part.ledger, _closing(part, grants)]) for part in burnt]
    every = pl.concat([BILL_LEDGER.to_frame(), *parts])
    ordered = every.sort("customer", "unit", "entry", "grant", nulls_last=True).drop("entry", "burn")
    numbered = ordered.with_row_index("entry").with_columns(period=pl.lit(period))
    return numbered.select(CREDIT_ENTRY.names()).cast(CREDIT_ENTRY)


def _closing(burnt: Burnt, grants: pl.DataFrame) -> pl.DataFrame:
    going_on = grants.filter(CLOSES_AT.is_null() | (burnt.until < CLOSES_AT))
    left = burnt.balances.join(going_on, on="grant", validate="1:1").with_columns(
        kind=pl.lit("closing"),
        time=burnt.until,
        amount=ZERO,
        balance_before="balance",
        balance_after="balance",
    )
    absent = [pl.lit(None).alias(name) for name in BILL_LEDGER if name not in left.columns]
    return left.with_columns(absent).select(BILL_LEDGER.names()).cast(BILL_LEDGER)


def closing_balances(ledger: pl.DataFrame) -> pl.DataFrame:
    """BALANCE with which the ledger (CREDIT_ENTRY) ends."""
    return ledger.filter(pl.col("kind") == "closing").select("grant", balance="balance_after").cast(BALANCE)


def ledger_totals(ledger: pl.DataFrame) -> pl.DataFrame:
    """LEDGER_TOTAL of CREDIT_ENTRY, by unit. Asserts that it adds up."""
    signs = {kind: sign for kind, (sign, _) in _KINDS.items()}
    columns = {kind: column for kind, (_, column) in _KINDS.items()}
    entries = ledger.filter(pl.col("kind") != "closing").with_columns(
        pl.col("amount") * pl.col("kind").replace_strict(signs, return_dtype=pl.Int8),
        column=pl.col("kind").replace_strict(columns, return_dtype=pl.String),
    )
    closing = ledger.filter(pl.col("kind") == "closing").with_columns(amount="balance_after", column=pl.lit("closing"))
    both = pl.concat([entries, closing], how="diagonal_relaxed").with_columns(pl.col("amount").cast(AMOUNT))
    sums = grouped_sum(both.lazy(), ["unit", "column"], ["amount"]).collect()
    names = [name for name in LEDGER_TOTAL if name != "unit"]
    wide = sums.pivot("column", on_columns=names, index="unit", values="amount").fill_null(0)
    totals = wide.select(LEDGER_TOTAL.names()).cast(LEDGER_TOTAL).sort("unit")
    gained = pl.sum_horizontal("opening", "granted", "refunded", "rollover")
    lost = pl.sum_horizontal("burnt", "expired", "voided", "closing")
    assert totals.filter(gained != lost).is_empty(), f"the credits of a run do not add up: {totals}"
    return totals
