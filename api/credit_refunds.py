"""What a refund of a charge line gives back to which grant, by the ledger that says who paid it."""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from rating.core.credits.refunding import given_back
from rating.core.money import ZERO, plain
from rating.core.schema import AMOUNT
from store.credits import RefundPart
from store.customers import refuse


def refund_parts(
    entries: pl.DataFrame, past: Sequence[RefundPart], grants: pl.DataFrame, amount: Decimal | None
) -> list[RefundPart]:
    """The parts of a refund of `amount` of what `entries` (the burns of one line, CREDIT_ENTRY) paid: all that is left
    unless given, of the last burn first. `past` went back before; `grants` is GRANT. Raises Refused."""
    payments = _payments(entries, past, grants)
    burns = payments.group_by("row").agg(pl.col("covered").sum(), pl.col("paid").max()).sort("paid", descending=True)
    left = sum(burns["covered"], Decimal(0))
    wanted = left if amount is None else amount
    unit = entries["unit"][0]
    more = f"{plain(left)} {unit} of what credits paid of this line can be refunded, and {plain(wanted)} are asked for"
    refuse([more] if wanted > left or wanted <= 0 else [])
    behind = pl.col("covered").cum_sum() - pl.col("covered")
    rest = pl.max_horizontal(pl.lit(wanted, dtype=AMOUNT) - behind, ZERO)
    asked = burns.with_columns(amount=pl.min_horizontal("covered", rest).cast(AMOUNT), refund=0)
    back = given_back(payments, asked.filter(pl.col("amount") > 0).select("refund", "row", "amount"))
    names = payments.select("row", "place", "grant", "event").unique()
    named = back.join(names, on=["row", "place"], validate="1:1").sort("row", "place")
    return [RefundPart(r["grant"], r["event"], r["amount"], -r["covered"]) for r in named.iter_rows(named=True)]


def _payments(entries: pl.DataFrame, past: Sequence[RefundPart], grants: pl.DataFrame) -> pl.DataFrame:
    """What was paid, in the order of `paid`, and what went back of it, by `row` (event) and `place` (grant)."""
    paid = entries.select("grant", "event", "covered", paid="entry")
    returned = {
        "grant": [part.grant for part in past],
        "event": [part.event for part in past],
        "covered": [-part.covered for part in past],
        "paid": [-1] * len(past),
    }
    both = pl.concat(
        [
            paid,
            pl.DataFrame(returned, schema=paid.schema).join(paid, on=["grant", "event"], how="semi", nulls_equal=True),
        ]
    )
    steps = grants.select("grant", "increment", "factor")
    known = both.join(steps, on="grant", how="left", validate="m:1")
    return known.with_columns(row=pl.struct("event").rank("dense"), place=pl.col("grant").rank("dense"))
