"""Usage far above what is usual for a subject: the window that is running beside the windows before it.

Usual is the median of the windows in which the subject used anything, so that neither its quiet nights nor one outlier
say much; a subject with few of them has no history, and nothing is told of it. All is exact: the mean of two windows in
the middle is never divided.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Literal

import polars as pl

from rating.core.quota.answer import EXACT
from rating.core.schema import QUANTITY

WINDOWS_MIN = 5
"""So many windows with usage are a history."""
_LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
_LARGEST = Decimal(10) ** 28
USED = pl.Schema({"subject": pl.String(), "quantity": QUANTITY})
"""One row is what one subject used in a window."""

BOUND = pl.Schema({"subject": pl.String(), "bound": QUANTITY})
"""One row is what one subject uses at most without an anomaly; null: it has no history."""


@dataclass(frozen=True)
class AnomalyRule:
    """More than `times` what is usual by `days` of history, and `at_least` so much, within an hour or a day of UTC."""

    feature: str
    window: Literal["hour", "day"]
    times: Decimal
    days: int
    at_least: Decimal

    def window_at(self, at: datetime) -> tuple[datetime, datetime]:
        """The window that `at` is in."""
        start = at.replace(minute=0, second=0, microsecond=0)
        start = start.replace(hour=0) if self.window == "day" else start
        return start, start + _LENGTHS[self.window]

    def history_of(self, start: datetime) -> datetime:
        """From when on the history counts of the window that begins at `start`."""
        return start - timedelta(days=self.days)


def anomaly_rules(feature_rules: pl.DataFrame) -> list[AnomalyRule]:
    """Those of FEATURE_RULE."""
    rows = feature_rules.filter(pl.col("anomaly_window").is_not_null()).iter_rows()
    return [AnomalyRule(feature, window, times, days, least) for feature, _, window, times, days, least in rows]


def used_of(metered: pl.LazyFrame, start: datetime, end: datetime) -> pl.LazyFrame:
    """USED of metered events (`subject`, `time`, `quantity`) in [`start`, `end`)."""
    inside = metered.filter(pl.col("time") >= start, pl.col("time") < end)
    return inside.group_by("subject").agg(pl.col("quantity").sum()).select(USED.names())


def bounds_of(metered: pl.LazyFrame, rule: AnomalyRule, subjects: pl.Series) -> pl.DataFrame:
    """BOUND of each of `subjects`, by the metered events of their history."""
    window = pl.col("time").dt.truncate("1h" if rule.window == "hour" else "1d").alias("window")
    windows = metered.group_by("subject", window).agg(pl.col("quantity").sum()).filter(pl.col("quantity") > 0)
    ordered, count = pl.col("quantity").sort(), pl.len()
    middle = windows.group_by("subject").agg(
        count.alias("count"),
        ordered.gather((count - 1) // 2).first().alias("lower"),
        ordered.gather(count // 2).first().alias("upper"),
    )
    found = {subject: row for subject, *row in middle.collect().iter_rows()}
    bounds = [_bound(rule, *found[subject]) if subject in found else None for subject in subjects]
    return pl.DataFrame({"subject": subjects, "bound": bounds}, schema=BOUND)


def _bound(rule: AnomalyRule, count: int, lower: Decimal, upper: Decimal) -> Decimal | None:
    """Usage has 9 decimals: it is above a number where it is above that rounded down to as many."""
    if count < WINDOWS_MIN:
        return None
    twice = EXACT.multiply(rule.times, EXACT.add(lower, upper))
    bound = EXACT.divide(twice, Decimal(2)).quantize(Decimal(1).scaleb(-9), ROUND_FLOOR, EXACT)
    return bound if bound < _LARGEST else None


def far_above(used: pl.DataFrame, bounds: pl.DataFrame, rule: AnomalyRule) -> pl.DataFrame:
    """The rows of USED, with their `bound`, that are anomalies."""
    known = used.join(bounds, on="subject", validate="1:1")
    least = pl.lit(rule.at_least, dtype=QUANTITY)
    return known.filter(pl.col("quantity") >= least, pl.col("quantity") > pl.col("bound"))
