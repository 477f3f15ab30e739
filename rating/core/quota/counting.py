"""What usage counts against a limit, and the event at which it is reached.

Usage is counted by the metering module, the one that the bill is made with. A window is a calendar month in the
customer's time zone. Raising no signal twice is a matter of the signal's id, which names the crossing.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from rating.core.book import Meter
from rating.core.metering import metered_events
from rating.core.money import plain
from rating.core.periods import with_window_start
from rating.core.quota.answer import EXACT
from rating.core.quota.levels import EXHAUSTED
from rating.core.schema import INSTANT, QUANTITY

COUNTED_USAGE = pl.Schema(
    {
        "customer": pl.String(),
        "feature": pl.String(),
        "window_start": INSTANT,
        "time": INSTANT,
        "sequence": pl.Int64(),
        "source": pl.String(),
        "id": pl.String(),
        "quantity": QUANTITY,
    }
)
"""One row is one event that counts against one feature of one customer."""

COUNTED_SUM = pl.Schema(
    {
        "feature": pl.String(),
        "subject": pl.String(),
        "edge": pl.UInt32(),
        "quantity": QUANTITY,
        "latest": INSTANT,
    }
)
"""One row is what one subject used of one feature between two month edges (the one numbered `edge` and the next);
`latest` is the time of its newest event."""


@dataclass(frozen=True)
class Crossing:
    """The event at which a customer's usage in a window reached a level: the limit, or more than that."""

    customer: str
    feature: str
    window_start: datetime
    limit: Decimal
    used: Decimal  # with this event
    source: str
    id: str
    time: datetime
    level: str = EXHAUSTED

    @property
    def key(self) -> str:
        """The same crossing has the same key, however often it is found; another limit is another crossing."""
        content = [self.customer, self.feature, self.window_start.isoformat(), plain(self.limit)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def counted_sums(events: pl.LazyFrame, features: Mapping[str, Meter], edges: pl.Series) -> pl.DataFrame:
    """COUNTED_SUM of `events` (USAGE_EVENT with the meters' properties); `edges` are the month edges around them.

    Admission bounds a property by 10^15, so a sum cannot leave Decimal(38, 9) below 10^14 events.
    """
    edge = (pl.lit(edges).search_sorted(pl.col("time"), side="right") - 1).alias("edge")
    sums = [
        metered_events(events, meter)
        .group_by("subject", edge)
        .agg(pl.col("quantity").sum(), pl.col("time").max().alias("latest"))
        .select(pl.lit(feature).alias("feature"), "subject", "edge", "quantity", "latest")
        for feature, meter in features.items()
    ]
    return pl.concat(sums).collect() if sums else COUNTED_SUM.to_frame()


def counted_usage(
    events: pl.LazyFrame, features: Mapping[str, Meter], payers: pl.DataFrame, time_zones: Sequence[str]
) -> pl.DataFrame:
    """COUNTED_USAGE of `events` (USAGE_EVENT with the meters' properties), in the order of acceptance.

    `payers` has one row a `subject`: its `customer` and `time_zone`, one of `time_zones`. Subjects without a customer
    have no quota.
    """
    kept = ["subject", "time", "sequence", "source", "id", "quantity"]
    counted = [
        metered_events(events, meter).select(*kept, pl.lit(feature).alias("feature"))
        for feature, meter in features.items()
    ]
    if not counted:
        return COUNTED_USAGE.to_frame()
    owned = pl.concat(counted).join(payers.lazy(), on="subject", validate="m:1").collect()
    by_zone = [with_window_start(owned.filter(pl.col("time_zone") == zone), zone) for zone in time_zones]
    windowed = pl.concat(by_zone) if by_zone else owned.with_columns(window_start=pl.lit(None, dtype=INSTANT))
    return windowed.select(COUNTED_USAGE.names()).sort("sequence", "feature")


def crossing_event(counted: pl.DataFrame, before: Decimal, at: Decimal) -> dict[str, Any] | None:
    """The first row of `counted` (one customer, feature and window) that brings usage to `at`, and `used` then."""
    rest = EXACT.subtract(at, before)
    running = counted.with_columns(running=pl.col("quantity").cum_sum())
    reached = running.filter(pl.col("running") >= pl.lit(rest, dtype=QUANTITY)).head(1)
    if reached.is_empty():
        return None
    row = reached.row(0, named=True)
    return {**row, "used": EXACT.add(before, row["running"])}
