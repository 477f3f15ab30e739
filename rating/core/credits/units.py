"""Credits in units: they take usage off, event by event, before it is priced.

The prices of the meters that such grants hold get one more step in front of their chain, `credit`, at the level of
events. So their usage comes in event by event; what the ledger says was paid of an event is taken off its quantity, and
the rest runs through the price as if that were all that was used. Only meters that add up can be paid so: a maximum
or a latest value is no sum of events.
"""

from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from rating.core.book import PriceBook, Step
from rating.core.credits.bills import Credits, burnt_by_period
from rating.core.credits.burning import Burnt
from rating.core.credits.schema import BURN, UNITS
from rating.core.lines import CHARGE_LINE, IDENTITY, with_line_ids
from rating.core.metering import adds_up
from rating.core.schema import PAYER
from rating.core.service_periods import with_payers
from rating.core.subscriptions import plan_of_variant

CREDIT = Step("credit", "event")


@dataclass(frozen=True)
class UnitsBurnt:
    """`usage` is PRICED_USAGE with `credited`: what grants have paid of each event; null where none could."""

    usage: pl.LazyFrame
    burnt: list[Burnt]


def with_credit_steps(book: PriceBook, credits: Credits) -> PriceBook:
    """The book, with CREDIT in front of the chains of all prices that grants in units may pay usage of."""
    grants = credits.in_units
    if grants.is_empty():
        return book
    prices = _payable_prices(book, grants)
    paid = pl.col("price").is_in(prices.implode())
    old = book.rates.filter(paid)["chain"].unique().sort()
    moved = {chain: len(book.chains) + place for place, chain in enumerate(old)}
    chains = [replace(book.chains[chain], before=(CREDIT, *book.chains[chain].before)) for chain in old]
    numbers = pl.concat_list(pl.lit(["{}"]), "numbers")
    rates = book.rates.with_columns(
        chain=pl.when(paid)
        .then(pl.col("chain").replace_strict(moved, default=-1, return_dtype=pl.Int32))
        .otherwise("chain"),
        numbers=pl.when(paid).then(numbers).otherwise("numbers"),
    )
    ids = book.rates.filter(paid)["rate"].implode()
    later = pl.col("step") + pl.col("rate").is_in(ids).cast(pl.Int32)
    numbered = {
        name: part for name, part in vars(book).items() if isinstance(part, pl.DataFrame) and "step" in part.columns
    }
    shifted: dict[str, Any] = {name: part.with_columns(step=later) for name, part in numbered.items()}
    return replace(book, chains=(*book.chains, *chains), rates=rates, **shifted)


def _payable_prices(book: PriceBook, grants: pl.DataFrame) -> pl.Series:
    """The prices of meters that add up and that some grant in units holds."""
    unlimited = grants["meters"].null_count() > 0
    held = set(grants["meters"].drop_nulls().list.explode(empty_as_null=False))
    meters = {meter.key for meter in book.meters if adds_up(meter) and (unlimited or meter.key in held)}
    found = [shape.prices["price"] for shape in book.shapes if shape.meter in meters]
    return pl.concat(found).unique() if found else pl.Series("price", [], dtype=pl.String)


def without_credited_units(usage: pl.LazyFrame, credits: Credits, served: pl.DataFrame, book: PriceBook) -> UnitsBurnt:
    """Burn grants in units for `usage` (PRICED_USAGE); `book` is `with_credit_steps`."""
    grants = credits.in_units
    if grants.is_empty():
        return UnitsBurnt(usage, [])
    places = [place for place, chain in enumerate(book.chains) if CREDIT in chain.before]
    payable = book.rates.lazy().filter(pl.col("chain").is_in(places)).select("rate")
    events = usage.filter(pl.col("event").is_not_null()).join(payable, on="rate", how="semi")
    allowed = pl.col("allowed").fill_null(0) if "allowed" in usage.collect_schema() else 0  # is free anyway
    asked = (
        events.with_columns(pl.col("quantity") - allowed)
        .select(*_EVENT_OF_LINE, "price", "time", "quantity")
        .sort("time", *_EVENT_OF_LINE)
        .collect(engine="streaming")
        .with_row_index("burn")
    )
    burns = _burns(asked, served, book)
    burnt = burnt_by_period(burns, grants, credits, served)
    if not places:
        return UnitsBurnt(usage, burnt)
    paid = pl.concat([part.paid.select("burn", credited="paid") for part in burnt])
    credited = asked.select(pl.col("burn").cast(pl.Int64), *_EVENT_OF_LINE).join(paid, on="burn").drop("burn")
    return UnitsBurnt(usage.join(credited.lazy(), on=_EVENT_OF_LINE, how="left", validate="m:1"), burnt)


_EVENT_OF_LINE = ["rate", PAYER, "meter", "group", "event"]


def _burns(asked: pl.DataFrame, served: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """BURN of each event of a line, with the `line` that it will be part of and the `event`."""
    owners = with_payers(served).select(
        PAYER, "subscription", "item", "customer", "period", plan=plan_of_variant(), service_start="from"
    )
    versions = book.rates.select("rate", "window", price_version="version")
    owned = asked.join(owners, on=PAYER, validate="m:1", maintain_order="left").join(
        versions, on="rate", validate="m:1", maintain_order="left"
    )
    burns = owned.with_columns(
        *(pl.lit(None, dtype=CHARGE_LINE[name]).alias(name) for name in ("adjustment", "grant", "pays", "adjusts")),
        kind=pl.lit("usage"), unit=pl.lit(UNITS), sequence="event", amount="quantity",
    )  # fmt: skip
    typed = burns.with_columns(pl.col(name).cast(CHARGE_LINE[name]) for name in IDENTITY)
    named = with_line_ids(typed.lazy()).collect()
    return named.select(*(pl.col(name).cast(dtype) for name, dtype in BURN.items()), "line", "event")
