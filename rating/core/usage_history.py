"""A customer's usage beside its own history: what drops or jumps beyond anything that the last months have seen.

The rule is one that can be done again by hand. The median is the middle one of the history's months in their order,
the lower of the two middle ones where their number is even, and so is the median of the distances to it: both are
quantities that occur, so nothing is rounded. What this gives up: it knows no season and no day of the week, and a
month is that of UTC.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl

from rating.core.book import Meter
from rating.core.metering import converted, families, is_change, is_sum, measured, metered_usage, readings, summed_usage
from rating.core.periods import Month
from rating.core.schema import QUANTITY, SUBJECT_NUMBER
from rating.core.subjects import Usage, with_numbers

MONTHLY = pl.Schema(
    {
        "customer": pl.String(),
        "meter": pl.String(),
        "months_ago": pl.Int32(),
        "quantity": QUANTITY,
        "events": pl.Int64(),
    }
)
"""One row is what a meter makes of a customer's usage in one month: 0 is the month that is looked at."""

COMPARED = pl.Schema(
    {
        "customer": pl.String(),
        "meter": pl.String(),
        "kind": pl.String(),  # drop | spike | too_little_history | null: as ever
        "quantity": QUANTITY,  # of the month that is looked at
        "expected": QUANTITY,  # the median of the months before; null where there are too few
        "events": pl.Int64(),
        "months": pl.Int32(),  # before, from the first one with usage on
    }
)
"""One row is one customer and meter with usage in the month or in those before it."""


@dataclass(frozen=True)
class HistoryRule:
    """When usage q is out of line with the months before it, whose median is m and whose median distance to m is d.

    A drop is less than every one of them, less than m x `drop`, and farther than d x `deviations` from m. A spike is
    more than every one of them, more than m x `spike`, and as far. Fewer than `months_min` months are no history.
    """

    months: int = 6  # looked at, before the period
    months_min: int = 3
    drop: Decimal = Decimal("0.5")
    spike: Decimal = Decimal(2)
    deviations: Decimal = Decimal(3)


def first_month(month: Month, months: int) -> Month:
    """`months` months before `month`."""
    for _ in range(months):
        month = month.before()
    return month


def not_compared(meters: Iterable[Meter]) -> list[str]:
    """The meters whose quantity depends on what lies between events: a part of their events says nothing."""
    return sorted(meter.key for meter in meters if is_change(meter))


def monthly(
    usage: Usage, subjects: pl.DataFrame, meters: Iterable[Meter], month: Month, until: datetime
) -> pl.DataFrame:
    """MONTHLY of `month` and of those before it that `usage` has, by UTC. `subjects` is SUBJECT.

    Each month is counted as far as `month` is over at `until`: half a month is compared with halves of months.
    """
    start = month.start(UTC)
    window = pl.col("time").dt.truncate("1mo")
    ago = (start.year * 12 + start.month) - (window.dt.year().cast(pl.Int32) * 12 + window.dt.month().cast(pl.Int32))
    events = usage.events.filter(pl.col("time") - window < pl.lit(until - start)).with_columns(months_ago=ago)
    numbered = with_numbers(subjects, usage).select(SUBJECT_NUMBER, "customer").lazy()
    owned = events.join(numbered, on=SUBJECT_NUMBER, validate="m:1")
    by, meters = ["customer", "months_ago"], list(meters)
    sums = [
        metered_usage(summed_usage(owned, family, by), meter, by).with_columns(meter=pl.lit(meter.key))
        for family in families(meters)
        for meter in family
    ]
    others = [
        converted(measured(readings(owned, meter, by), meter, by), meter).with_columns(meter=pl.lit(meter.key))
        for meter in meters
        if not is_sum(meter) and not is_change(meter)
    ]
    columns = [pl.col(name).cast(dtype) for name, dtype in MONTHLY.items()]
    return pl.concat([MONTHLY.to_frame(), *pl.collect_all([frame.select(columns) for frame in (*sums, *others)])])


def compared(usage: pl.DataFrame, rule: HistoryRule) -> pl.DataFrame:
    """COMPARED of MONTHLY, sorted by customer and meter. Months without usage count as zero, but for those before the
    first with usage."""
    key = ["customer", "meter"]
    known = usage.filter(pl.col("months_ago") > 0).group_by(key).agg(months=pl.col("months_ago").max())
    now = usage.filter(pl.col("months_ago") == 0).select(*key, "quantity", "events")
    history = _medians(_filled(usage, known, key), key)
    rows = known.join(now, on=key, how="full", coalesce=True).join(history, on=key, how="left", validate="1:1")
    filled = rows.with_columns(
        pl.col("quantity").fill_null(0).cast(QUANTITY),
        pl.col("events").fill_null(0),
        pl.col("months").fill_null(0),
    )
    is_known = pl.col("months") >= rule.months_min
    expected = pl.when(is_known).then("expected")
    return filled.with_columns(kind=_kind(rule, is_known), expected=expected).select(COMPARED.names()).sort(key)


def _kind(rule: HistoryRule, is_known: pl.Expr) -> pl.Expr:
    quantity, expected = pl.col("quantity"), pl.col("expected")
    drop, spike, deviations = (pl.lit(it, dtype=QUANTITY) for it in (rule.drop, rule.spike, rule.deviations))
    is_far = (quantity - expected).abs() > pl.col("distance") * deviations
    is_drop = (quantity < pl.col("least")) & (quantity < expected * drop) & is_far
    is_spike = (quantity > pl.col("most")) & (quantity > expected * spike) & is_far
    named = pl.when(is_drop).then(pl.lit("drop")).when(is_spike).then(pl.lit("spike"))
    return pl.when(is_known).then(named).otherwise(pl.lit("too_little_history"))


def _filled(usage: pl.DataFrame, known: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """One row for each month of each history, also for those without usage."""
    months = known.select(*key, months_ago=pl.int_ranges(1, pl.col("months") + 1, dtype=pl.Int32))
    every = months.explode("months_ago", empty_as_null=False)
    history = every.join(usage, on=[*key, "months_ago"], how="left", validate="1:1")
    return history.with_columns(pl.col("quantity").fill_null(0).cast(QUANTITY))


def _medians(history: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    middle = pl.col("quantity").sort().get((pl.len() - 1) // 2)
    medians = history.group_by(key).agg(expected=middle, least=pl.col("quantity").min(), most=pl.col("quantity").max())
    away = history.join(medians, on=key, validate="m:1").with_columns(
        quantity=(pl.col("quantity") - pl.col("expected")).abs()
    )
    return medians.join(away.group_by(key).agg(distance=middle), on=key, validate="1:1")
