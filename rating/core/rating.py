"""A rating run's arithmetic: a pure function from (usage, who pays, price book, month) to charge lines and a report.

One lazy query for all customers and all prices. The loops go over families of meters and over the few shapes
that prices have, and build that query; nothing loops over customers, prices, tiers or events.
"""

from dataclasses import dataclass
from datetime import UTC

import polars as pl

from rating.core.book import PriceBook
from rating.core.coverage import scan_bounds, service_periods, subscribed_usage, unsubscribed_usage
from rating.core.lines import CHARGE_LINE, charge_lines, digest, fee_tiers, totals, usage_tiers
from rating.core.matching import PRICED_USAGE, match_family
from rating.core.metering import families, unmetered_events
from rating.core.money import AmountOverflow, grouped_sum
from rating.core.periods import Month
from rating.core.pricing import tier_amounts
from rating.core.schema import QUANTITY
from rating.core.subjects import Usage, with_numbers

UNPRICED = pl.Schema(
    {"plan": pl.String(), "meter": pl.String(), "group": pl.String(), "quantity": QUANTITY, "events": pl.Int64()}
)
"""One row is metered usage that no price of the plan covers, by meter and group values."""


@dataclass(frozen=True)
class Rated:
    """What a run came to: the lines, sorted by id, and everything that did not become a line."""

    lines: pl.DataFrame  # CHARGE_LINE
    totals: pl.DataFrame  # currency, lines, amount, rounded_amount
    unpriced: pl.DataFrame  # UNPRICED
    unsubscribed: pl.DataFrame  # subject, customer, events, first, last
    unmetered: pl.DataFrame  # type, events
    digest: str


def rate(usage: Usage, subjects: pl.DataFrame, subscriptions: pl.DataFrame, book: PriceBook, month: Month) -> Rated:
    """Rate `month`.

    `usage` has the book's properties as columns and holds at least the events within `coverage.scan_bounds`; `subjects`
    is SUBJECT, `subscriptions` SUBSCRIPTION. Raises AmountOverflow when an amount does not fit.
    """
    served = service_periods(subscriptions, month)
    start, end = scan_bounds(served, month)
    numbered = with_numbers(subjects, usage.subjects)
    in_scan = usage.events.filter(pl.col("time") >= start, pl.col("time") < end)
    paid = subscribed_usage(in_scan, numbered, served)
    matches = [match_family(paid, family, served, book, (start, end)) for family in families(book.meters)]
    priced = pl.concat([PRICED_USAGE.to_frame(eager=False), *(f for m in matches for f in m.priced)])
    amounts = tier_amounts(priced, book.rates, book.tiers, book.prices)
    tiers = [usage_tiers(amounts, book, served, str(month)), fee_tiers(book, served, str(month))]
    unpriced = pl.concat([UNPRICED.to_frame(eager=False), *(f for m in matches for f in m.unpriced)])
    return _collect(
        charge_lines(pl.concat(tiers)),
        grouped_sum(unpriced, ["plan", "meter", "group"], ["quantity"], pl.col("events").sum()).sort(
            "plan", "meter", "group"
        ),
        unsubscribed_usage(Usage(in_scan, usage.subjects), numbered, subscriptions, month),
        unmetered_events(_of_month(in_scan, month), book.meters).sort("type"),
    )


def _of_month(usage: pl.LazyFrame, month: Month) -> pl.LazyFrame:
    """The events of the month as UTC has it: an event that nobody meters has no customer's zone to go by."""
    start, end = month.bounds(UTC)
    return usage.filter(pl.col("time") >= start, pl.col("time") < end)


def _collect(*frames: pl.LazyFrame) -> Rated:
    try:
        lines, unpriced, unsubscribed, unmetered = pl.collect_all(frames)
    except (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError) as error:
        if "overflow" in str(error) or "conversion from" in str(error):
            raise AmountOverflow(f"an amount or quantity does not fit 17 digits before the point: {error}") from error
        raise
    assert lines.schema == CHARGE_LINE
    assert lines["line"].is_unique().all(), "a charge line's id must be unique"
    return Rated(lines, totals(lines), unpriced, unsubscribed, unmetered, digest(lines))
