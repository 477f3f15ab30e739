"""Marginal amounts: what each event adds to its line, for charges that are owed event by event, in advance.

    price(the line with the event) - price(the line without it), the events in the order of time

So a package is paid by the event that starts it and the flat amount of a tier by the one that enters it, and the events
of a line sum to it; rated_events.py shares such amounts among all who use them. With `no_refunds` a quantity that falls
gives nothing back, and what follows pays only above the highest total so far. Worked example: events of 3, 1 and 2 in
packages of 2 at 1.00 with 3 units free cost 0, 1.00 and 1.00.

All running totals of a line are priced at once, each as the line of a payer of its own. That is for chains that act on
lines; a chain that acts on each event says by itself what each event costs.
"""

import polars as pl

from rating.core.book import PriceBook
from rating.core.chain import charge
from rating.core.matching import PRICED_USAGE
from rating.core.money import ZERO
from rating.core.proration import PART
from rating.core.schema import AMOUNT, INSTANT, LINE, PAYER, QUANTITY

_ORDER = ["time", "event"]


def marginal_amounts(usage: pl.DataFrame, book: PriceBook, *, no_refunds: bool = False) -> pl.DataFrame:
    """LINE, `event` and the `amount` that it adds, in the order of lines and events.

    `usage` is PRICED_USAGE with one row an event, of rates whose chains act on lines, each on its own.
    """
    chains = usage.join(book.rates, on="rate")["chain"].unique()
    assert all(book.chains[place].level == "line" for place in chains), "a chain by event prices each event by itself"
    prefixes = usage.sort(*LINE, *_ORDER).with_columns(quantity=_so_far(no_refunds)).with_row_index("prefix")
    nothing = {"event": pl.lit(None, dtype=pl.Int64), "time": pl.lit(None, dtype=INSTANT)}
    alone = prefixes.with_columns(pl.col("prefix").alias(PAYER), **nothing)
    made = pl.concat([one.lines.select(*LINE, "amount") for one in charge(_priced(alone), book, PART.to_frame())])
    amounts = made.rename({PAYER: "prefix"})
    found = prefixes.join(amounts, on=["prefix", *LINE[1:]], nulls_equal=True, validate="1:1", maintain_order="left")
    before = pl.col("amount").shift(1).over(LINE).fill_null(ZERO)
    return found.select(*LINE, "event", amount=(pl.col("amount") - before).cast(AMOUNT))


def _so_far(no_refunds: bool) -> pl.Expr:
    """The quantity of the line with this event and those before it."""
    so_far = pl.col("quantity").cum_sum().over(LINE, order_by=_ORDER)
    highest = pl.max_horizontal(so_far.cum_max().over(LINE, order_by=_ORDER), ZERO)
    return (highest if no_refunds else so_far).cast(QUANTITY)


def _priced(usage: pl.DataFrame) -> pl.LazyFrame:
    return usage.select(PRICED_USAGE.names()).cast(PRICED_USAGE).lazy()
