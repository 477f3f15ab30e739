"""Credits in money on a bill: they pay charge lines, each payment is a line of its own, and no bill falls below zero.

A line asks for its exact amount, less what discounts and other negative lines take off: those of its price off the
lines of that price, those of the plan off all of the subscription, beginning with the line that is paid last. It asks
at the last instant at which its subscription is served in the period, so that a grant which ends with the period pays
it. Lines of usage are paid before the others, then by price, meter and group.

A credit line is rounded to the difference of the rounded rests, before and after it: with their line all its credits
round to what is left of it, so that ten credits never round a paid line below zero or leave a cent of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from rating.core.book import PriceBook
from rating.core.credits.burning import Burnt, Opening, burn
from rating.core.credits.order import DEFAULT_ORDER, OrderKey
from rating.core.credits.schema import BILL_LEDGER, BILLING_PERIOD, BURN, GRANT, RESET, RETURN, UNITS
from rating.core.lines import CHARGE_LINE, ordered, with_line_ids
from rating.core.money import ROUNDED, ZERO, plain_text, round_by_currency
from rating.core.schema import AMOUNT

_PAYABLE = ["customer", "subscription", "currency"]


@dataclass(frozen=True)
class Credits:
    """The grants of a run: GRANT in force at some instant of the period, and those that `returns` (RETURN) go to.

    `resets` is RESET. `opening` is BALANCE at the start of each customer's period, of all grants that began before it;
    null where no grant did. `periods` is BILLING_PERIOD of customers who may have no subscription in the period.
    """

    grants: pl.DataFrame
    order: Sequence[OrderKey] = DEFAULT_ORDER
    resets: pl.DataFrame | None = None
    returns: pl.DataFrame | None = None
    opening: pl.DataFrame | None = None
    periods: pl.DataFrame | None = None

    @cached_property
    def in_money(self) -> pl.DataFrame:
        """The grants that pay lines."""
        return self.grants.filter(pl.col("unit") != UNITS)

    @cached_property
    def in_units(self) -> pl.DataFrame:
        """The grants that take usage off."""
        return self.grants.filter(pl.col("unit") == UNITS)

    def of(self, customers: pl.Series) -> "Credits":
        """The credits of some customers only."""
        own = pl.col("customer").is_in(customers.unique().implode())
        grants = self.grants.filter(own)
        of_grants = [
            None if one is None else one.join(grants, on="grant", how="semi") for one in (self.returns, self.opening)
        ]
        of_customers = [None if one is None else one.filter(own) for one in (self.resets, self.periods)]
        return Credits(grants, self.order, of_customers[0], of_grants[0], of_grants[1], of_customers[1])


NO_CREDITS = Credits(GRANT.to_frame())


@dataclass(frozen=True)
class Billed:
    """`lines` is CHARGE_LINE with the credit lines, in LINE_ORDER; `burnt` one ledger (BILL_LEDGER) for each end of a
    period and for money and units, where grants of that kind are."""

    lines: pl.DataFrame
    burnt: list[Burnt]


def billed(
    lines: pl.DataFrame, credits: Credits, served: pl.DataFrame, book: PriceBook, before: Sequence[Burnt] = ()
) -> Billed:
    """Pay `lines` (CHARGE_LINE) from grants in money. `served` is SERVICE_PERIOD, `before` what was burnt already."""
    money = credits.in_money
    if money.is_empty():
        return Billed(lines, [*before])
    burns = line_burns(lines, _billing_periods(served, credits))
    burnt = burnt_by_period(burns.with_columns(event=pl.lit(None)), money, credits, served)
    payments = [part.ledger.filter(pl.col("kind") == "burn") for part in burnt]
    paying = pl.concat([_credit_lines(part, lines, book) for part in payments] or [CHARGE_LINE.to_frame()])
    return Billed(ordered(pl.concat([lines, paying])), [*before, *burnt])


def burnt_by_period(burns: pl.DataFrame, grants: pl.DataFrame, credits: Credits, served: pl.DataFrame) -> list[Burnt]:
    """Burn the grants of all customers whose billing period is the same together: time zones tell periods apart.

    `burns` is BURN with the `line` and the `event` that each row is of, which the ledgers then name (BILL_LEDGER).
    """
    named = burns.select("burn", "line", "event")
    return [_named(_burnt(part, grants, burns, credits), named) for part in _periods(served, credits)]


def _named(burnt: Burnt, named: pl.DataFrame) -> Burnt:
    ledger = burnt.ledger.join(named, on="burn", how="left", validate="m:1", maintain_order="left")
    return replace(burnt, ledger=ledger.select(BILL_LEDGER.names()).cast(BILL_LEDGER))


def _periods(served: pl.DataFrame, credits: Credits) -> list[pl.DataFrame]:
    """The customers by their billing period, which time zones tell apart."""
    periods = _billing_periods(served, credits).sort("customer")
    return periods.partition_by("period_start", "period_end", maintain_order=True)


def _billing_periods(served: pl.DataFrame, credits: Credits) -> pl.DataFrame:
    """BILLING_PERIOD of the customers: those of their grants where these are known, else those that are served."""
    if credits.periods is not None:
        return credits.periods
    return served.filter(pl.col("bills") == "all").select(BILLING_PERIOD.names()).unique()


def _burnt(customers: pl.DataFrame, grants: pl.DataFrame, burns: pl.DataFrame, credits: Credits) -> Burnt:
    """A period's ledger has the beginnings and burns of [start, end), and the other changes of (start, end]."""
    start, end = customers.select("period_start", "period_end").row(0)
    own = grants.join(customers, on="customer", how="semi").filter(pl.col("effective_at") < end)
    resets = RESET.to_frame() if credits.resets is None else credits.resets
    returns = RETURN.to_frame() if credits.returns is None else credits.returns
    opening = None
    if credits.opening is not None:
        opening = Opening(start, credits.opening.join(own, on="grant", how="semi"), begun_at=False)
        resets = resets.filter(pl.col("at") > start)
        returns = returns.filter(pl.col("at") > start)
    return burn(
        own.select(GRANT.names()),
        burns.select(BURN.names()).join(customers, on="customer", how="semi"),
        end,
        order=credits.order,
        resets=resets.join(customers, on="customer", how="semi"),
        returns=returns.filter(pl.col("at") <= end).join(own, on="grant", how="semi"),
        opening=opening,
    )


def line_burns(lines: pl.DataFrame, periods: pl.DataFrame) -> pl.DataFrame:
    """BURN of every line of `periods` (BILLING_PERIOD) that has something to pay, with its `line`; `burn` counts them
    in the order of payment."""
    own = lines.join(periods, on=["customer", "period_start"], how="semi", maintain_order="left")
    ordered = own.with_columns(is_other=pl.col("kind") != "usage").sort(
        *_PAYABLE, "is_other", "price", "meter", "group", "line"
    )
    owed = ordered.with_columns(owed=pl.max_horizontal("amount", ZERO), less=-pl.min_horizontal("amount", ZERO))
    owed = owed.with_columns(owed=_net([*_PAYABLE, "price"], pl.col("price").is_not_null()))
    owed = owed.with_columns(owed=_net(_PAYABLE, pl.col("price").is_null()))
    numbered = (
        owed.filter(pl.col("owed") > 0)
        .with_row_index("burn")
        .with_columns(
            unit="currency", time=pl.col("service_end").dt.offset_by("-1us"), sequence=pl.lit(0), amount="owed"
        )
    )
    return numbered.select(*(pl.col(name).cast(dtype) for name, dtype in BURN.items()), "line")


def _net(by: Sequence[str], takes: pl.Expr) -> pl.Expr:
    """What is owed for each line when the negative lines that fit `takes` are off the sum: the first are owed whole."""
    less = pl.when(takes).then("less").otherwise(ZERO).sum().over(by)
    before = pl.col("owed").cum_sum().over(by) - pl.col("owed")
    left = pl.col("owed").sum().over(by) - less
    return pl.min_horizontal(pl.max_horizontal(left - before, ZERO), "owed").cast(AMOUNT)


def _credit_lines(payments: pl.DataFrame, lines: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """CHARGE_LINE of payments (BILL_LEDGER)."""
    digits = book.prices.select("currency", "currency_digits").unique()
    own = payments.select("entry", "grant", "covered", "balance_before", "balance_after", pays="line")
    paid = own.join(lines, left_on="pays", right_on="line", suffix="_of_line").sort("entry")
    rest = pl.col("amount") - pl.col("covered").cum_sum().over("pays")
    known = paid.join(digits, on="currency", how="left", validate="m:1").with_columns(
        after=rest, before=rest + pl.col("covered")
    )
    kinds = list(known.select("currency_digits", "rounding").unique().iter_rows())
    rounded = {name: round_by_currency(name, "currency_digits", "rounding", kinds) for name in ("after", "before")}
    operation = pl.struct(
        operator=pl.lit("credit"),
        level=pl.lit("line"),
        on=pl.lit("amount"),
        before="before",
        after="after",
        numbers=pl.struct(
            balance_before=plain_text(pl.col("balance_before")), balance_after=plain_text(pl.col("balance_after"))
        ).struct.json_encode(),
    )
    described = known.with_columns(
        kind=pl.lit("credit"),
        grant="grant",
        adjustment=pl.lit(None),
        quantity=pl.lit(0),
        events=pl.lit(0),
        amount=-pl.col("covered"),
        rounded_amount=(rounded["after"] - rounded["before"]).cast(ROUNDED),
        tiers=pl.lit([], dtype=CHARGE_LINE["tiers"]),
        operations=pl.concat_list(operation),
    )
    columns = [pl.col(name).cast(dtype) for name, dtype in CHARGE_LINE.items() if name != "line"]
    return with_line_ids(described.lazy().select(columns)).select(CHARGE_LINE.names()).collect()
