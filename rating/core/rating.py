"""A rating run's arithmetic: a pure function from (usage, who pays, price book, month) to charge lines and a report.

One lazy query for all customers and all prices. The loops go over families of meters and over the few shapes
that prices have, and build that query; nothing loops over customers, prices, tiers or events.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from rating.core.adjustments import adjusted
from rating.core.aggregation import match_sums
from rating.core.allowances import rolled_over, rolls_over, with_allowed
from rating.core.book import PriceBook
from rating.core.chain import charge
from rating.core.coverage import coverage, scan_bounds, service_periods, subscribed_usage, unsubscribed_usage
from rating.core.credits.bills import NO_CREDITS, Credits, billed
from rating.core.credits.burning import Burnt
from rating.core.credits.units import with_credit_steps, without_credited_units
from rating.core.gathering import Source, match_readings
from rating.core.lines import CHARGE_LINE, charge_lines, digest, tiered_lines, totals
from rating.core.matching import PRICED_USAGE, Matched, match_events, needs_events
from rating.core.metering import CARRIED, carries, is_sum, unmetered_events
from rating.core.money import grouped_sum, overflow_checked
from rating.core.periods import Month
from rating.core.proration import parts_of_periods
from rating.core.rounding import rounded_together
from rating.core.schema import QUANTITY
from rating.core.standing import fee_usage, unused
from rating.core.subjects import Usage, frame_key, with_numbers

UNPRICED = pl.Schema(
    {"plan": pl.String(), "meter": pl.String(), "group": pl.String(), "quantity": QUANTITY, "events": pl.Int64()}
)
"""One row is metered usage that no price of the plan covers, by meter and group values."""
_UNPRICED_KEY = ["plan", "meter", "group"]


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
    with overflow_checked():
        return _rated(usage, subjects, subscriptions, book, month, carried, credits or NO_CREDITS)


def _rated(
    usage: Usage,
    subjects: pl.DataFrame,
    subscriptions: pl.DataFrame,
    book: PriceBook,
    month: Month,
    carried: pl.LazyFrame | None,
    credits: Credits,
) -> Rated:
    """Each stage is collected before the next one is built: a query of a few stages is planned several times as fast
    as one of all of them, and runs as fast."""
    book = with_credit_steps(book, credits)
    served = service_periods(subscriptions, month)
    numbered = with_numbers(subjects, usage.subjects)
    in_scan = usage.between(*scan_bounds(served, month))
    matches = _matched(usage, numbered, served, book, month, carried)
    used = _used(matches).collect().lazy()
    before = _rolled_over(usage, numbered, subscriptions, book, month.before())
    due = pl.concat([used, unused(used, book, served), fee_usage(book, served)], how="diagonal").collect().lazy()
    units = without_credited_units(with_allowed(due, served, book, before), credits, served, book)
    lines = _lines(units.usage, book, served, month)
    made = billed(adjusted(rounded_together(lines, book), served, book, str(month)), credits, served, book, units.burnt)
    unpriced = pl.concat([UNPRICED.to_frame(eager=False), *(f for m in matches for f in m.unpriced)])
    sums = grouped_sum(unpriced, _UNPRICED_KEY, ["quantity"], pl.col("events").sum()).sort(_UNPRICED_KEY)
    unsubscribed, unmetered = in_scan.once(
        lambda: ("uncharged", book.meters, frame_key(numbered), frame_key(subscriptions.drop("plan"))),
        lambda: pl.collect_all(
            [
                unsubscribed_usage(in_scan, numbered, subscriptions, month),
                unmetered_events(in_scan.between(*month.bounds(UTC)).events, book.meters).sort("type"),
            ]
        ),
    )
    assert made.lines.schema == CHARGE_LINE
    assert made.lines["line"].is_unique().all(), "a charge line's id must be unique"
    return Rated(
        made.lines, totals(made.lines, book), sums.collect(), unsubscribed, unmetered, digest(made.lines), made.burnt
    )


def _lines(due: pl.LazyFrame, book: PriceBook, served: pl.DataFrame, month: Month) -> pl.DataFrame:
    """CHARGE_LINE of usage and fees, each rounded by itself."""
    tiered = pl.collect_all(
        [tiered_lines(part, book, served, str(month)) for part in charge(due, book, parts_of_periods(served))]
    )
    return charge_lines([part.lazy() for part in tiered]).collect()


def usage_bounds(subscriptions: pl.DataFrame, book: PriceBook, month: Month) -> tuple[datetime | None, datetime]:
    """The instants that hold every event that `rate` needs for `month`: [first, last); null: from the first on."""
    start, end = scan_bounds(service_periods(subscriptions, month), month)
    if carries(book.meters):
        return None, end
    if rolls_over(book):
        start, _ = scan_bounds(service_periods(subscriptions, month.before()), month.before())
    return start, end


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
    in_scan = usage.between(start, end)
    paid = subscribed_usage(in_scan.events, subjects, served)
    known = pl.LazyFrame(schema=CARRIED) if carried is None else carried
    source = Source(paid, usage.events.filter(pl.col("time") < end), known, subjects, served)
    named = {shape.meter for shape in book.shapes}  # the others measure without charging
    summing = [meter for meter in book.meters if meter.key in named and is_sum(meter)]
    alone = [meter for meter in summing if needs_events(meter, book)]
    together = [meter for meter in summing if meter not in alone]
    return [
        *match_sums(coverage(in_scan, subjects, served), together, book, (start, end)),
        *match_events(paid, alone, served, book, (start, end)),
        *match_readings(source, book.meters, book, (start, end)),
    ]


def _used(matches: Iterable[Matched]) -> pl.LazyFrame:
    return pl.concat([PRICED_USAGE.to_frame(eager=False), *(f for m in matches for f in m.priced)], how="diagonal")


def _rolled_over(
    usage: Usage, subjects: pl.DataFrame, subscriptions: pl.DataFrame, book: PriceBook, month: Month
) -> pl.LazyFrame:
    """ROLLED_OVER from `month` into the next one."""
    served = service_periods(subscriptions, month)
    return rolled_over(lambda: _used(_matched(usage, subjects, served, book, month)), served, book)
