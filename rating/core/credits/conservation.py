"""Credits neither appear nor vanish: what must hold for every ledger, asserted for each."""

import polars as pl


def assert_conserved(ledger: pl.DataFrame, paid: pl.DataFrame, balances: pl.DataFrame) -> None:
    """Entries add up to each grant's balance, follow on each other, and stay above zero; burns are paid once."""
    assert (ledger["balance_after"] >= 0).all(), "a grant was overdrawn"
    last = pl.col("balance_after").shift().over("grant").fill_null(0)
    assert (ledger.select(gap=pl.col("balance_before") - last)["gap"] == 0).all(), "entries of a grant do not follow"
    sums = ledger.group_by("grant").agg(pl.col("amount").sum())
    gaps = balances.join(sums, on="grant", how="left").select(pl.col("balance") - pl.col("amount").fill_null(0))
    assert (gaps["balance"] == 0).all(), "the entries of a grant do not add up to its balance"
    over = paid.filter(pl.col("paid") > pl.max_horizontal("amount", pl.lit(0)))
    assert over.is_empty(), "more was paid than asked for"
