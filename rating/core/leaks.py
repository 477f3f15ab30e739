"""Leaks: usage that brings no money, and usage that is not what it was. Looked for before a period is closed.

    unmetered     events of a type that no meter reads
    uncounted     events of a type that meters read, and that none of them counts: no filter lets them through
    unpriced      metered usage that no price of the subscriber's plan covers
    unsubscribed  events that no subscription covers
    idle          subscriptions to a plan with a metered price, of which no event came
    drop, spike   a customer's usage of a meter out of line with its own history (usage_history.py)

A finding says what is at stake where a price is known. Of an unsubscribed customer that is what its only subscription
would have brought, had it been in force all the time; of an idle subscription what its usage brought the month before;
of a drop or a spike the difference at the customer's own average price. It is an estimate, and no charge.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from rating.core.book import Meter, PriceBook
from rating.core.coverage import subscribed_usage
from rating.core.metering import readings
from rating.core.money import ROUNDED, grouped_sum, overflow_checked, product, quotient, round_by_currency
from rating.core.periods import Month
from rating.core.rating import Rated
from rating.core.schema import AMOUNT, INSTANT, PAYER, QUANTITY
from rating.core.service_periods import service_periods, usage_payers
from rating.core.subjects import Usage, with_numbers
from rating.core.subscriptions import plan_of_variant
from rating.core.usage_history import HistoryRule, compared, monthly

KINDS = ("unmetered", "uncounted", "unpriced", "unsubscribed", "idle", "drop", "spike")

FINDING = pl.Schema(
    {
        "kind": pl.String(),  # one of KINDS, or too_little_history, which is no leak
        "customer": pl.String(),
        "subject": pl.String(),
        "subscription": pl.String(),
        "plan": pl.String(),
        "meter": pl.String(),
        "group": pl.String(),  # JSON object of the meter's dimensions
        "type": pl.String(),  # of events
        "quantity": QUANTITY,
        "expected": QUANTITY,  # the median of the months before
        "months": pl.Int32(),  # of history
        "events": pl.Int64(),
        "first": INSTANT,
        "last": INSTANT,
        "currency": pl.String(),
        "amount": ROUNDED,  # at stake; null where no price is known
    }
)
"""One row is one finding; columns that a kind does not have are null."""

_ORDER = ("kind", "customer", "subject", "subscription", "plan", "meter", "group", "type")


@dataclass(frozen=True)
class Known:
    """What a month was rated from, and what came of it: `usage` within the month's bounds, `history` with the events of
    the months before as well; lines (CHARGE_LINE) of the month `before`, and those that the month `would` have had,
    with the subscriptions of `always_subscribed`."""

    usage: Usage
    history: Usage
    subjects: pl.DataFrame
    subscriptions: pl.DataFrame
    book: PriceBook
    month: Month
    rated: Rated
    before: pl.DataFrame
    would: pl.DataFrame


def leaks(known: Known, rule: HistoryRule, until: datetime) -> pl.DataFrame:
    """FINDING, by kind, and of each kind the largest amount first, then the most events.

    Usage is compared with history as far as the month is over at `until`. Raises AmountOverflow.
    """
    with overflow_checked():
        served = service_periods(known.subscriptions, known.month)
        found = [
            *_not_metered(known),
            _shaped(known.rated.unpriced, "unpriced"),
            _unsubscribed(known),
            _idle(known, served, until),
            _out_of_line(known, served, rule, until),
        ]
    order = {"amount": True, "events": True}
    joined = pl.concat([FINDING.to_frame(), *found])
    place = pl.col("kind").replace_strict({kind: i for i, kind in enumerate(KINDS)}, default=len(KINDS))
    names = [place, *order, *_ORDER]
    return joined.sort(names, descending=[False, True, True, *[False] * len(_ORDER)], nulls_last=True)


def always_subscribed(unsubscribed: pl.DataFrame, subscriptions: pl.DataFrame, month: Month) -> pl.DataFrame:
    """SUBSCRIPTION of the customers with `unsubscribed` usage that have just one, in force during all of `month`."""
    customers = unsubscribed["customer"].drop_nulls().unique()
    own = subscriptions.filter(pl.col("customer").is_in(customers.implode()))
    only = own.filter(pl.len().over("customer") == 1)
    start, end = month.before().start(UTC), month.next().next().start(UTC)  # whatever the time zone
    return only.with_columns(
        starts_at=pl.min_horizontal("starts_at", pl.lit(start, dtype=INSTANT)),
        ends_at=pl.max_horizontal("ends_at", pl.lit(end, dtype=INSTANT)),
    )


def _shaped(frame: pl.DataFrame, kind: str | None = None) -> pl.DataFrame:
    """Rows as FINDING; a column that they do not have is null."""
    named = frame if kind is None else frame.with_columns(kind=pl.lit(kind))
    return named.select(
        (pl.col(name) if name in named.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in FINDING.items()
    )


def _not_metered(known: Known) -> list[pl.DataFrame]:
    """Events of the month, in UTC: of types that no meter reads, and those that none counts."""
    events = known.usage.between(*known.month.bounds(UTC)).events
    types = sorted({meter.event_type for meter in known.book.meters})
    is_known = pl.col("type").is_in(types)
    missed = _uncounted(events.filter(is_known), known.book.meters)
    frames = pl.collect_all([_by_type(events.filter(~is_known)), _by_type(missed)])
    return [_shaped(frame, kind) for frame, kind in zip(frames, ("unmetered", "uncounted"), strict=True)]


def _by_type(events: pl.LazyFrame) -> pl.LazyFrame:
    times = {"first": pl.col("time").min(), "last": pl.col("time").max()}
    return events.group_by("type").agg(pl.len().cast(pl.Int64).alias("events"), **times)


def _uncounted(events: pl.LazyFrame, meters: Iterable[Meter]) -> pl.LazyFrame:
    """One meter after another takes out what it counts."""
    for meter in meters:
        events = events.join(readings(events, meter).select("sequence"), on="sequence", how="anti")
    return events


def _unsubscribed(known: Known) -> pl.DataFrame:
    """One row a customer, or a subject that no customer has."""
    found = known.rated.unsubscribed
    is_alone = pl.col("subject").n_unique() == 1
    subject = pl.when(is_alone).then(pl.col("subject").first())
    by_owner = found.group_by("customer", stranger=pl.when(pl.col("customer").is_null()).then("subject")).agg(
        pl.col("events").sum(), pl.col("first").min(), pl.col("last").max(), subject.alias("subject")
    )
    keys = ["customer", "currency"]
    sums = _usage_sums(known.would, keys, "rounded_amount").rename({"rounded_amount": "would"})
    real = _usage_sums(known.rated.lines, keys, "rounded_amount")
    lost = sums.join(real, on=keys, how="left", validate="1:1").with_columns(
        amount=pl.col("would") - pl.col("rounded_amount").fill_null(0)
    )
    priced = by_owner.join(_of_one_currency(lost, ["customer"]), on="customer", how="left", validate="m:1")
    return _shaped(priced, "unsubscribed")


def _idle(known: Known, served: pl.DataFrame, until: datetime) -> pl.DataFrame:
    """Subscriptions in force before `until`, to a plan with a metered price, without an event."""
    plans = pl.concat([pl.Series("plan", [], dtype=pl.String), *(shape.prices["plan"] for shape in known.book.shapes)])
    numbered = with_numbers(known.subjects, known.usage)
    paying = subscribed_usage(known.usage.events, numbered, served).select(PAYER).unique().collect()
    metered = usage_payers(served).filter(pl.col("from") < until, pl.col("plan").is_in(plans.unique().implode()))
    used = metered.join(paying, on=PAYER, how="semi")
    idle = metered.join(used, on="subscription", how="anti").unique("subscription", keep="last", maintain_order=True)
    without = idle.select("subscription", "customer", plan_of_variant())
    sums = _usage_sums(known.before, ["subscription", "currency"], "rounded_amount")
    amounts = _of_one_currency(sums.rename({"rounded_amount": "amount"}), ["subscription"])
    return _shaped(without.join(amounts, on="subscription", how="left", validate="1:1"), "idle")


def _out_of_line(known: Known, served: pl.DataFrame, rule: HistoryRule, until: datetime) -> pl.DataFrame:
    """Of customers that were served all the time so far."""
    is_whole = (pl.col("from") == pl.col("period_start")) & (pl.col("to") >= pl.min_horizontal("period_end", until))
    customers = served.filter(is_whole)["customer"].unique()
    subjects = known.subjects.filter(pl.col("customer").is_in(customers.implode()))
    history = monthly(known.history, subjects, known.book.meters, known.month, until)
    found = compared(history, rule).filter(pl.col("kind").is_not_null())
    return _shaped(_valued(found, known))


def _valued(found: pl.DataFrame, known: Known) -> pl.DataFrame:
    """The `amount` of what is between `quantity` and `expected`, at the average price of the month, else of the one
    before."""
    key = ["customer", "meter"]
    prices = pl.concat([_average(known.rated.lines), _average(known.before)]).unique(
        key, keep="first", maintain_order=True
    )
    digits = known.book.prices.select("currency", "currency_digits").unique()
    priced = found.join(prices, on=key, how="left", validate="1:1").join(digits, on="currency", how="left")
    mode = "half_away_from_zero"
    gap = product((pl.col("quantity") - pl.col("expected")).abs(), pl.col("price"))
    kinds = [(int(places), mode) for places in digits["currency_digits"].unique()]
    valued = priced.with_columns(gap=gap, mode=pl.lit(mode))
    return valued.with_columns(amount=round_by_currency("gap", "currency_digits", "mode", kinds))


def _average(lines: pl.DataFrame) -> pl.DataFrame:
    """`customer`, `meter`, `currency` and the average `price` of a unit, of those that pay in one currency."""
    keys = ["customer", "meter", "currency"]
    used = lines.lazy().filter(pl.col("kind") == "usage").with_columns(pl.col("quantity").cast(AMOUNT))
    sums = grouped_sum(used, keys, ["amount", "quantity"]).filter(pl.col("quantity") > 0, pl.col("amount") != 0)
    priced = sums.with_columns(amount=quotient(pl.col("amount"), pl.col("quantity"))).collect()
    return _of_one_currency(priced, keys[:2]).rename({"amount": "price"})


def _usage_sums(lines: pl.DataFrame, keys: list[str], column: str) -> pl.DataFrame:
    return grouped_sum(lines.lazy().filter(pl.col("kind") == "usage"), keys, [column]).collect()


def _of_one_currency(sums: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The keys with one row: `currency` and `amount`, which is not zero."""
    return sums.filter(pl.len().over(keys) == 1, pl.col("amount") != 0).select(*keys, "currency", "amount")
