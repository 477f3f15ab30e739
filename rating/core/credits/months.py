"""The credits of one month after the other: which grants it has, and with what they open.

A month opens with what the ledger of the month before closed with. A grant that this ledger does not know, because it
was recorded later, opens with its whole amount; one that has ended opens with nothing.
"""

from dataclasses import dataclass, replace

import polars as pl

from rating.core.credits.bills import Credits
from rating.core.credits.changes import CLOSES_AT
from rating.core.credits.plans import plan_grants, plan_resets
from rating.core.credits.schema import BALANCE, BILLING_PERIOD, GRANT, RETURN
from rating.core.money import ZERO
from rating.core.periods import Month, month_in_zones, month_of, parse_month


@dataclass(frozen=True)
class Granted:
    """All that is granted, of all months. `stored` is GRANT of customers, `owners` the `time_zone` of each of these
    `customer`s, `plans` is PLAN_CREDIT, and `returns` RETURN."""

    stored: pl.DataFrame
    owners: pl.DataFrame
    plans: pl.DataFrame
    returns: pl.DataFrame


def credits_of(granted: Granted, subscriptions: pl.DataFrame, month: Month) -> Credits:
    """The credits of `month`, still without their opening."""
    zones = pl.concat([granted.owners, subscriptions.select("customer", "time_zone")]).unique()
    periods = zones.join(month_in_zones(month, zones["time_zone"]), on="time_zone", validate="m:1")
    periods = periods.select(BILLING_PERIOD.names()).sort("customer")
    returns = _of_month(granted.returns, periods)
    first = _first_month(granted, subscriptions, month, returns)
    given = plan_grants(granted.plans, subscriptions, first, month)
    every = pl.concat([granted.stored, given]).join(periods, on="customer", validate="m:1")
    is_open = CLOSES_AT.is_null() | (pl.col("period_start") < CLOSES_AT)
    begins = pl.col("effective_at") < pl.col("period_end")
    grants = every.filter(begins, is_open | pl.col("grant").is_in(returns["grant"].implode())).select(GRANT.names())
    return Credits(
        grants.sort("grant"),
        resets=plan_resets(subscriptions, month, month.next()),
        returns=returns.join(grants, on="grant", how="semi").sort("refund", "grant"),
        periods=periods.join(grants, on="customer", how="semi"),
    )


def credits_of_plans(plans: pl.DataFrame, subscriptions: pl.DataFrame, month: Month) -> Credits:
    """The credits of a month about which nothing is known but `plans` (PLAN_CREDIT): nothing was burnt before."""
    owners = pl.DataFrame(schema={"customer": pl.String, "time_zone": pl.String})
    granted = Granted(GRANT.to_frame(), owners, plans, RETURN.to_frame())
    return opened(credits_of(granted, subscriptions, month), BALANCE.to_frame())


def _of_month(returns: pl.DataFrame, periods: pl.DataFrame) -> pl.DataFrame:
    """What is returned in the period of its customer: in (start, end], as ledgers have it (bills.py)."""
    met = returns.join(periods, on="customer", validate="m:1")
    return met.filter(pl.col("at") > pl.col("period_start"), pl.col("at") <= pl.col("period_end")).select(
        RETURN.names()
    )


def _first_month(granted: Granted, subscriptions: pl.DataFrame, month: Month, returns: pl.DataFrame) -> Month:
    """The month of the first grant of a plan that may still be in force, or that something is returned to."""
    if subscriptions.is_empty() or granted.plans.is_empty():
        return month
    others = returns.join(granted.stored, on="grant", how="anti")["grant"]
    months = [parse_month(grant[-len("2026-10") :]) for grant in others.unique()]
    if granted.plans["lasts_periods"].null_count():
        earliest = subscriptions["starts_at"].min()
        months.append(month_of(earliest, "UTC").before())  # type: ignore[arg-type]
    first, longest = month, granted.plans["lasts_periods"].max() or 1
    for _ in range(1, int(longest)):  # type: ignore[arg-type]
        first = first.before()
    return min([first, *months])


def begun_before(credits: Credits) -> pl.DataFrame:
    """The grants that began before their customer's period, with `is_over`: whether they ended before it."""
    assert credits.periods is not None
    dated = credits.grants.join(credits.periods, on="customer", validate="m:1")
    begun = dated.filter(pl.col("effective_at") < pl.col("period_start"))
    return begun.with_columns(is_over=(pl.col("period_start") >= CLOSES_AT).fill_null(False))


def burnt_before(credits: Credits, subscriptions: pl.DataFrame) -> pl.DataFrame:
    """The grants that something may have burnt before the period: only the ledger of the month before can say what.
    They are those in force of customers who had a subscription before."""
    firsts = subscriptions.group_by("customer").agg(pl.col("starts_at").min())
    met = begun_before(credits).join(firsts, on="customer", validate="m:1")
    return met.filter(~pl.col("is_over"), pl.col("starts_at") < pl.col("period_start"))


def opened(credits: Credits, closing: pl.DataFrame) -> Credits:
    """With the opening; `closing` is BALANCE at the end of the month before."""
    met = begun_before(credits).join(closing, on="grant", how="left", validate="1:1")
    balance = pl.when("is_over").then(ZERO).otherwise(pl.coalesce("balance", "amount"))
    return replace(credits, opening=met.select("grant", balance=balance).sort("grant").cast(BALANCE))
