"""A rating run's arithmetic: a pure function from (usage, who pays, price book, month) to charge lines and a report.

One lazy query for all customers and all prices. The loops go over families of meters and over the few shapes
that prices have, and build that query; nothing loops over customers, prices, tiers or events.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from rating.core.adjustments import adjusted
from rating.core.allowances import rolled_over, rolls_over, with_allowed
from rating.core.book import PriceBook
from rating.core.chain import charge
from rating.core.coverage import scan_bounds, service_periods, subscribed_usage, unsubscribed_usage
from rating.core.credits.bills import NO_CREDITS, Billed, Credits, billed
from rating.core.credits.burning import Burnt
from rating.core.credits.units import with_credit_steps, without_credited_units
from rating.core.gathering import Source, match_readings
from rating.core.lines import CHARGE_LINE, charge_lines, digest, tiered_lines, totals
from rating.core.matching import PRICED_USAGE, Matched, match_family
from rating.core.metering import CARRIED, carries, families, unmetered_events
from rating.core.money import AmountOverflow, grouped_sum
from rating.core.periods import Month
from rating.core.rounding import rounded_together
from rating.core.schema import QUANTITY
from rating.core.standing import fee_usage, unused
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
    burnt: list[Burnt] = field(default_factory=list)  # the ledgers of prepaid credits, one for each end of a period


def rate(
    usage: Usage,
    subjects: pl.DataFrame,
    subscriptions: pl.DataFrame,
    book: PriceBook,
    month: Month,
    carried: pl.LazyFrame | None = None,
    credits: Credits | None = None,
) -> Rated:
    """Rate `month`.

    `usage` has the book's properties as columns and holds at least the events within `coverage.scan_bounds`; `subjects`
    is SUBJECT, `subscriptions` SUBSCRIPTION. Where a meter carries usage over (`metering.carries`), the events before
    those bounds count too: they are in `usage`, or `carried` is the `carried_readings` of those that are not. Where
    an allowance of a plan rolls over (`allowances.rolls_over`), the events of the month before are in `usage` too.
    `credits` are the grants that pay for it. Raises AmountOverflow when an amount does not fit.
    """
    credits = credits or NO_CREDITS
    book = with_credit_steps(book, credits)
    served = service_periods(subscriptions, month)
    numbered = with_numbers(subjects, usage.subjects)
    in_scan = _in_scan(usage, served, month)
    matches = _matched(usage, numbered, served, book, month, carried)
    used = _used(matches)
    before = _rolled_over(usage, numbered, subscriptions, book, month.before())
    due = pl.concat([used, unused(used, book, served), fee_usage(book, served)], how="diagonal")
    due = with_allowed(due, served, book, before)
    units = without_credited_units(due, credits, served, book)
    charged = charge(units.usage, book)
    tiers = [tiered_lines(part, book, served, str(month)) for part in charged]
    unpriced = pl.concat([UNPRICED.to_frame(eager=False), *(f for m in matches for f in m.unpriced)])
    return _collect(
        book,
        lambda lines: billed(
            adjusted(rounded_together(lines, book), served, book, str(month)), credits, served, book, units.burnt
        ),
        charge_lines(tiers),
        grouped_sum(unpriced, ["plan", "meter", "group"], ["quantity"], pl.col("events").sum()).sort(
            "plan", "meter", "group"
        ),
        unsubscribed_usage(Usage(in_scan, usage.subjects), numbered, subscriptions, month),
        unmetered_events(_of_month(in_scan, month), book.meters).sort("type"),
    )


def usage_bounds(subscriptions: pl.DataFrame, book: PriceBook, month: Month) -> tuple[datetime | None, datetime]:
    """The instants that hold every event that `rate` needs for `month`: [first, last); null: from the first on."""
    start, end = scan_bounds(service_periods(subscriptions, month), month)
    if carries(book.meters):
        return None, end
    if rolls_over(book):
        start, _ = scan_bounds(service_periods(subscriptions, month.before()), month.before())
    return start, end


def _in_scan(usage: Usage, served: pl.DataFrame, month: Month) -> pl.LazyFrame:
    start, end = scan_bounds(served, month)
    return usage.events.filter(pl.col("time") >= start, pl.col("time") < end)


def _matched(
    usage: Usage,
    subjects: pl.DataFrame,
    served: pl.DataFrame,
    book: PriceBook,
    month: Month,
    carried: pl.LazyFrame | None = None,
) -> list[Matched]:
    """What was used in the periods of `month`, by the prices that it meets. `subjects` have numbers."""
    start, end = scan_bounds(served, month)
    paid = subscribed_usage(_in_scan(usage, served, month), subjects, served)
    known = pl.LazyFrame(schema=CARRIED) if carried is None else carried
    source = Source(paid, usage.events.filter(pl.col("time") < end), known, subjects, served)
    matches = [match_family(paid, family, served, book, (start, end)) for family in families(book.meters)]
    return matches + match_readings(source, book.meters, book, (start, end))


def _used(matches: Iterable[Matched]) -> pl.LazyFrame:
    return pl.concat([PRICED_USAGE.to_frame(eager=False), *(f for m in matches for f in m.priced)], how="diagonal")


def _rolled_over(
    usage: Usage, subjects: pl.DataFrame, subscriptions: pl.DataFrame, book: PriceBook, month: Month
) -> pl.LazyFrame:
    """ROLLED_OVER from `month` into the next one."""
    served = service_periods(subscriptions, month)
    return rolled_over(lambda: _used(_matched(usage, subjects, served, book, month)), served, book)


def _of_month(usage: pl.LazyFrame, month: Month) -> pl.LazyFrame:
    """The events of the month as UTC has it: an event that nobody meters has no customer's zone to go by."""
    start, end = month.bounds(UTC)
    return usage.filter(pl.col("time") >= start, pl.col("time") < end)


def _collect(book: PriceBook, bill: Callable[[pl.DataFrame], Billed], *frames: pl.LazyFrame) -> Rated:
    try:
        charged, unpriced, unsubscribed, unmetered = pl.collect_all(frames)
        made = bill(charged)
    except (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError) as error:
        if "overflow" in str(error) or "conversion from" in str(error):
            raise AmountOverflow(f"an amount or quantity does not fit 17 digits before the point: {error}") from error
        raise
    lines = made.lines
    assert lines.schema == CHARGE_LINE
    assert lines["line"].is_unique().all(), "a charge line's id must be unique"
    return Rated(lines, totals(lines, book), unpriced, unsubscribed, unmetered, digest(lines), made.burnt)
