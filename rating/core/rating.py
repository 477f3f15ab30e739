"""A rating run's arithmetic: a pure function from (usage, who pays, price book, what is due) to charge lines and a
report.

One lazy query for all customers and all prices. The loops go over families of meters and over the few shapes
that prices have, and build that query; nothing loops over customers, prices, tiers or events.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from rating.core.adjustments import adjusted
from rating.core.aggregation import match_sums
from rating.core.allowances import ROLLED_OVER, rolled_over, rolls_over, with_allowed
from rating.core.book import PriceBook
from rating.core.chain import charge
from rating.core.coverage import coverage, scan_bounds, subscribed_usage, unsubscribed_usage
from rating.core.credits.bills import NO_CREDITS, Credits, billed
from rating.core.credits.burning import Burnt
from rating.core.credits.units import with_credit_steps, without_credited_units
from rating.core.gathering import Source, match_readings
from rating.core.line_digest import digest
from rating.core.lines import CHARGE_LINE, charge_lines, in_order, totals
from rating.core.matching import PRICED_USAGE, Matched, match_events, needs_events
from rating.core.metering import CARRIED, carries, is_sum, unmetered_events
from rating.core.money import grouped_sum, overflow_checked
from rating.core.periods import Month
from rating.core.proration import parts_for
from rating.core.rounding import rounded_together
from rating.core.schema import PAYER, QUANTITY
from rating.core.service_periods import Due, periods_before, reported_bounds, service_periods
from rating.core.standing import fee_usage, unused
from rating.core.subjects import Usage, frame_key, with_numbers
from rating.core.windows import Windows, filling, filling_rates, windows_of

UNPRICED = pl.Schema(
    {"plan": pl.String(), "meter": pl.String(), "group": pl.String(), "quantity": QUANTITY, "events": pl.Int64()}
)
"""One row is metered usage that no price of the plan covers, by meter and group values."""
_UNPRICED_KEY = ["plan", "meter", "group"]


@dataclass(frozen=True)
class Rated:
    """What a run came to: the lines, in LINE_ORDER, and everything that did not become a line."""

    lines: pl.DataFrame  # CHARGE_LINE
    totals: pl.DataFrame  # currency, lines, amount, rounded_amount
    unpriced: pl.DataFrame  # UNPRICED
    unsubscribed: pl.DataFrame  # subject, customer, events, first, last
    unmetered: pl.DataFrame  # type, events
    digest: str
    burnt: list[Burnt] = field(default_factory=list)  # the ledgers of prepaid credits, one for each end of a period


@dataclass(frozen=True)
class RatedPart:
    """What some of the customers came to: the lines, in LINE_ORDER, and their usage that no price covers."""

    lines: pl.DataFrame  # CHARGE_LINE
    unpriced: pl.DataFrame  # UNPRICED
    burnt: list[Burnt]


def rate(
    usage: Usage,
    subjects: pl.DataFrame,
    subscriptions: pl.DataFrame,
    book: PriceBook,
    due: Month | Due,
    carried: pl.LazyFrame | None = None,
    credits: Credits | None = None,
) -> Rated:
    """Rate the billing periods of a month, or what is `due`.

    `usage` has the book's properties as columns and holds at least the events within `coverage.scan_bounds`; `subjects`
    is SUBJECT, `subscriptions` SUBSCRIPTION. Where a meter carries usage over (`metering.carries`), the events before
    those bounds count too: they are in `usage`, or `carried` is the `carried_readings` of those that are not. Where
    an allowance of a plan rolls over (`allowances.rolls_over`), or something is counted over a window (windows.py), the
    events of the periods before are in `usage` too: `usage_bounds` has them all.
    `credits` are the grants that pay for it. Raises AmountOverflow when an amount does not fit.
    """
    made = rate_part(usage, subjects, subscriptions, book, due, carried, credits)
    unsubscribed, unmetered = uncharged(usage, subjects, subscriptions, book, due)
    sums = totals(made.lines, book)
    return Rated(made.lines, sums, made.unpriced, unsubscribed, unmetered, digest(made.lines), made.burnt)


def rate_part(
    usage: Usage,
    subjects: pl.DataFrame,
    subscriptions: pl.DataFrame,
    book: PriceBook,
    due: Month | Due,
    carried: pl.LazyFrame | None = None,
    credits: Credits | None = None,
    served: pl.DataFrame | None = None,
) -> RatedPart:
    """The same without what needs all customers at once: for those of `subjects` and `subscriptions`, who may be some
    of them. What a customer comes to does not depend on the others. `served` are the `service_periods`, where these
    are known. Raises AmountOverflow."""
    with overflow_checked():
        served = service_periods(subscriptions, due) if served is None else served
        return _rated(usage, subjects, subscriptions, served, book, due, carried, credits or NO_CREDITS)


def uncharged(
    usage: Usage, subjects: pl.DataFrame, subscriptions: pl.DataFrame, book: PriceBook, due: Month | Due
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The usage without a subscription, and the events that no meter counts, of all customers: see Rated."""
    reported = usage.between(*reported_bounds(due))
    numbered = with_numbers(subjects, usage)
    unsubscribed, unmetered = reported.once(
        lambda: ("uncharged", book.meters, frame_key(numbered), frame_key(subscriptions.drop("plan"))),
        lambda: pl.collect_all(
            [
                unsubscribed_usage(reported, numbered, subscriptions, due),
                unmetered_events(reported.events, book.meters).sort("type"),
            ]
        ),
    )
    return unsubscribed, unmetered


def _rated(
    usage: Usage,
    subjects: pl.DataFrame,
    subscriptions: pl.DataFrame,
    served: pl.DataFrame,
    book: PriceBook,
    due: Month | Due,
    carried: pl.LazyFrame | None,
    credits: Credits,
) -> RatedPart:
    """Each stage is collected before the next one is built: a query of a few stages is planned several times as fast
    as one of all of them, and runs as fast."""
    book = with_credit_steps(book, credits)
    numbered = with_numbers(subjects, usage)
    bounds = scan_bounds(served, due)
    matches = _matched(usage, numbered, served, book, bounds, carried)
    priced, unpriced = pl.collect_all([_used(matches), _unpriced(matches)], engine=usage.engine(book.meters))
    used = priced.lazy()
    before = _rolled_over(usage, numbered, subscriptions, book, served)
    owed = pl.concat([used, unused(used, book, served), fee_usage(book, served, subscriptions)], how="diagonal")
    owed = owed.collect(engine=usage.engine()).lazy()
    windows = windows_of(subscriptions, served, book)
    allowed, earlier = _allowed(owed, before, windows, _earlier(usage, numbered, windows, book), book, served)
    units = without_credited_units(allowed, credits, served, book)
    usage_of_lines = pl.concat([units.usage, *earlier], how="diagonal")
    lines = charge_lines(charge(usage_of_lines, book, parts_for(book, served), windows), book, served)
    made = billed(adjusted(rounded_together(lines, book), served, book), credits, served, book, units.burnt)
    assert made.lines.schema == CHARGE_LINE
    assert in_order(made.lines), "a charge line's id must be unique"
    return RatedPart(made.lines, unpriced, made.burnt)


def usage_bounds(
    subscriptions: pl.DataFrame, book: PriceBook, due: Month | Due, served: pl.DataFrame | None = None
) -> tuple[datetime | None, datetime]:
    """The instants that hold every event that `rate` needs: [first, last); null: from the first on. `served` are the
    `service_periods`, where these are known."""
    served = service_periods(subscriptions, due) if served is None else served
    start, end = scan_bounds(served, due)
    if carries(book.meters):
        return None, end
    if rolls_over(book):
        start, _ = scan_bounds(pl.concat([periods_before(subscriptions, served), served]), due)
    windows = windows_of(subscriptions, served, book)
    if windows is not None and windows.earlier.height:
        start = min(start, scan_bounds(windows.earlier, due)[0])
    return start, end


def _matched(
    usage: Usage,
    subjects: pl.DataFrame,
    served: pl.DataFrame,
    book: PriceBook,
    bounds: tuple[datetime, datetime],
    carried: pl.LazyFrame | None = None,
) -> list[Matched]:
    """What was used in the periods of `served`, by the prices that it meets. `subjects` have numbers."""
    start, end = bounds
    in_scan = usage.between(start, end)
    named = {shape.meter for shape in book.shapes}  # the others measure without charging
    charging = [meter for meter in book.meters if meter.key in named]
    together = [meter for meter in charging if is_sum(meter) and not needs_events(meter, book)]
    sums = match_sums(coverage(in_scan, subjects, served), together, book, (start, end))
    others = [meter for meter in charging if meter not in together]
    if not others:
        return sums
    paid = subscribed_usage(in_scan.events, subjects, served)
    known = pl.LazyFrame(schema=CARRIED) if carried is None else carried
    source = Source(paid, usage.events.filter(pl.col("time") < end), known, subjects, served)
    alone = [meter for meter in others if is_sum(meter)]
    return [
        *sums,
        *match_events(paid, alone, served, book, (start, end)),
        *match_readings(source, others, book, (start, end)),
    ]


def _used(matches: Iterable[Matched]) -> pl.LazyFrame:
    return pl.concat([PRICED_USAGE.to_frame(eager=False), *(f for m in matches for f in m.priced)], how="diagonal")


def unpriced_of_parts(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """UNPRICED of customers of whom each of `parts` (UNPRICED) has some."""
    return _unpriced_sums([part.lazy() for part in parts]).collect()


def _unpriced(matches: Iterable[Matched]) -> pl.LazyFrame:
    """UNPRICED, sorted."""
    return _unpriced_sums(frame for match in matches for frame in match.unpriced)


def _unpriced_sums(parts: Iterable[pl.LazyFrame]) -> pl.LazyFrame:
    rows = pl.concat([UNPRICED.to_frame(eager=False), *parts])
    return grouped_sum(rows, _UNPRICED_KEY, ["quantity"], pl.col("events").sum()).sort(_UNPRICED_KEY)


def _rolled_over(
    usage: Usage, subjects: pl.DataFrame, subscriptions: pl.DataFrame, book: PriceBook, served: pl.DataFrame
) -> pl.LazyFrame:
    """ROLLED_OVER into the periods of `served` (SERVICE_PERIOD)."""
    if not rolls_over(book):
        return pl.LazyFrame(schema=ROLLED_OVER)
    before = periods_before(subscriptions, served)
    if before.is_empty():
        return pl.LazyFrame(schema=ROLLED_OVER)
    bounds = before.select(pl.col("period_start").min(), pl.col("period_end").max()).row(0)
    return rolled_over(_used(_matched(usage, subjects, before, book, bounds)), before, book)


def _earlier(usage: Usage, subjects: pl.DataFrame, windows: Windows | None, book: PriceBook) -> list[pl.LazyFrame]:
    """PRICED_USAGE of the windows before the periods that are rated, of what fills something there; or nothing."""
    if windows is None or windows.earlier.is_empty():
        return []
    bounds = windows.earlier.select(pl.col("period_start").min(), pl.col("period_end").max()).row(0)
    used = _used(_matched(usage, subjects, windows.earlier, filling(book), bounds))
    behind = pl.col(PAYER) + pl.lit(windows.own, dtype=pl.UInt32)  # as in `windows.served`
    return [used.join(filling_rates(book), on="rate", how="semi").with_columns(behind).collect().lazy()]


def _allowed(
    owed: pl.LazyFrame,
    before: pl.LazyFrame,
    windows: Windows | None,
    earlier: list[pl.LazyFrame],
    book: PriceBook,
    served: pl.DataFrame,
) -> tuple[pl.LazyFrame, list[pl.LazyFrame]]:
    """`owed` and `earlier` (PRICED_USAGE) with what allowances of plans cover of them."""
    if windows is None:
        return with_allowed(owed, served, book, before), earlier
    every = with_allowed(pl.concat([owed, *earlier], how="diagonal"), windows.served, book, before, windows)
    if not earlier:
        return every, []
    is_own = pl.col(PAYER) < windows.own
    return every.filter(is_own), [every.filter(~is_own)]
