"""What is left of every grant while segments are paid one after the other, and the entries that changed it."""

from collections.abc import Collection

import polars as pl

from rating.core.credits.changes import BURNS, CLOSES, CLOSES_AT, OPENS, RECURS, REFUNDS, ROLLS, end_kind
from rating.core.credits.refunding import given_back
from rating.core.money import ZERO
from rating.core.schema import AMOUNT

ENTRY = pl.Schema(
    {
        "segment": pl.Int64(),
        "phase": pl.Int8(),
        "step": pl.Int8(),  # within the phase
        "nth": pl.Int64(),  # within the step: the burn's row, or the refund
        "place": pl.UInt32(),  # of the grant
        "kind": pl.String(),
        "row": pl.UInt32(),  # of the burn
        "refund": pl.String(),  # of RETURN
        "amount": AMOUNT,
        "covered": AMOUNT,
        "balance_before": AMOUNT,
    }
)
"""One row becomes one row of the ledger."""


class Account:
    """The balances of grants, by `place`. `refundable` are the rows of burns that some refund gives back."""

    def __init__(self, placed: pl.DataFrame, refundable: Collection[int]) -> None:
        self._grants = placed
        self._refundable = pl.Series("row", sorted(refundable), dtype=pl.UInt32)
        self._entries: list[pl.DataFrame] = []
        self._payments = ENTRY.to_frame()
        self._credited: list[pl.DataFrame] = []
        self.left = pl.Series("left", placed["amount"] * 0, dtype=AMOUNT)

    def usable(self, asking: pl.DataFrame) -> pl.DataFrame:
        """The grants with something left, of the customers who ask."""
        columns = ["place", "pool", "scope", "is_limited", "increment", "factor"]
        grants = self._grants.select(*columns, only="subscription", left=self.left)
        return grants.filter(pl.col("left") > 0, pl.col("pool").is_in(asking["pool"].unique().implode()))

    def entries(self) -> pl.DataFrame:
        """ENTRY of everything that happened."""
        return pl.concat([ENTRY.to_frame(), *self._entries])

    def credited(self) -> pl.DataFrame:
        """What of each `refund` went back to grants."""
        given = [pl.DataFrame(schema={"refund": pl.Int64, "credited": AMOUNT}), *self._credited]
        return pl.concat(given).group_by("refund").agg(pl.col("credited").sum())

    def take(self, segment: int, pieces: pl.DataFrame, asking: pl.DataFrame) -> None:
        """Burn what `pieces` (PIECE) say."""
        entries = pieces.with_columns(kind=pl.lit("burn"), nth=pl.col("row"), step=0, amount=-pl.col("taken"))
        self._enter(segment, BURNS, entries)
        spent = pieces.group_by("place").agg(pl.col("taken").sum())
        self._set(spent["place"], self.left.gather(spent["place"]) - spent["taken"])
        if len(self._refundable):
            again = self._entries[-1].filter(pl.col("row").is_in(self._refundable.implode()))
            self._payments = pl.concat([self._payments, again])

    def change(
        self,
        segment: int,
        changes: pl.DataFrame | None,
        refunds: pl.DataFrame | None,
        returns: pl.DataFrame | None = None,
    ) -> None:
        """Make the changes of the instant with which a segment begins, phase by phase."""
        if refunds is not None:
            self._refund(segment, refunds)
        if returns is not None:
            self._give(segment, returns.sort("nth"))
        if changes is None:
            return
        for (phase,), due in changes.sort("phase").partition_by("phase", as_dict=True, maintain_order=True).items():
            known = due.join(self._grants.drop("kind", "pool"), on="place", validate="m:1", maintain_order="left")
            self._change(segment, phase, known.with_columns(before=self.left.gather(known["place"])))

    def _change(self, segment: int, phase: int, due: pl.DataFrame) -> None:
        before = pl.col("before")
        if phase == CLOSES:
            self._to(segment, phase, due, 0, pl.col("kind"), ZERO)
        elif phase == ROLLS:
            kept = pl.max_horizontal(before, pl.col("rollover_minimum").fill_null(ZERO))
            self._to(segment, phase, due, 0, pl.lit("rollover"), pl.min_horizontal(kept, "rollover_maximum"))
        elif phase == RECURS:
            self._to(segment, phase, due, 0, pl.lit("expiry"), ZERO)
            self._to(segment, phase, due.with_columns(before=ZERO), 1, pl.col("kind"), pl.col("amount"))
        elif phase == OPENS:
            self._to(segment, phase, due, 0, pl.col("kind"), pl.col("begins_with"))

    def _to(self, segment: int, phase: int, due: pl.DataFrame, step: int, kind: pl.Expr, after: pl.Expr) -> None:
        """Bring each grant's balance to `after`."""
        known = due.with_columns(after=after.cast(AMOUNT), kind=kind)
        rows = known.with_columns(step=step, nth=0, amount=pl.col("after") - pl.col("before"))
        says = (pl.col("amount") != 0) | ((pl.col("kind") == "rollover") & (pl.col("after") != 0))
        self._enter(segment, phase, rows.filter(says).rename({"before": "balance_before"}))
        self._set(known["place"], known["after"])

    def _refund(self, segment: int, refunds: pl.DataFrame) -> None:
        """Give back to the grants that paid a burn, the last one first, no more than they paid."""
        back = self._given_back(refunds)
        if back.is_empty():
            return
        self._payments = pl.concat([self._payments, self._give(segment, back.sort("nth", "place"))])
        self._credited.append(back.group_by(refund="nth").agg(credited=pl.col("covered").neg().sum()))

    def _give(self, segment: int, back: pl.DataFrame) -> pl.DataFrame:
        """Put `amount` into each `place`; what has ended before expires. Gives the ENTRY of what was put in."""
        given = pl.col("amount").cum_sum().over("place") - pl.col("amount")
        rows = back.with_columns(left=self.left.gather(back["place"]))
        rows = rows.with_columns(kind=pl.lit("refund"), step=0, balance_before=pl.col("left") + given)
        entries = self._enter(segment, REFUNDS, rows)
        sums = rows.group_by("place").agg(pl.col("amount").sum(), pl.col("at").first())
        self._set(sums["place"], self.left.gather(sums["place"]) + sums["amount"])
        self._expire_closed(segment, sums)
        return entries

    def _given_back(self, refunds: pl.DataFrame) -> pl.DataFrame:
        """One row a refund and grant: `nth` (the refund), `row`, `place`, `amount`, `covered` (below zero), `at`."""
        grants = self._grants.select("place", "increment", "factor")
        payments = self._payments.join(grants, on="place", validate="m:1").with_columns(paid="segment")
        back = given_back(payments, refunds)
        return back.select("row", "place", "amount", "covered", "at", nth="refund")

    def _expire_closed(self, segment: int, sums: pl.DataFrame) -> None:
        """What goes back to a grant that has ended before expires, or is void, at once."""
        ended = sums.drop("amount").join(self._grants, on="place").filter(pl.col("at") > CLOSES_AT)
        due = ended.with_columns(before=self.left.gather(ended["place"]))
        self._to(segment, REFUNDS, due, 1, end_kind(), ZERO)

    def _enter(self, segment: int, phase: int, rows: pl.DataFrame) -> pl.DataFrame:
        missing = {name: pl.lit(None) for name in ("row", "covered", "refund") if name not in rows.columns}
        complete = rows.with_columns(segment=segment, phase=phase, **missing).sort("step", "nth", "place")
        self._entries.append(complete.select(ENTRY.names()).cast(ENTRY))
        return self._entries[-1]

    def _set(self, places: pl.Series, balances: pl.Series) -> None:
        self.left = self.left.scatter(places, balances)
