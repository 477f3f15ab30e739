"""What groups of events add to the counters of months, and the limits that they reach."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.core.quota.answer import EXACT
from rating.core.quota.counting import Crossing, counted_usage, crossing_event
from rating.core.quota.seam import LevelChange
from rating.core.quota.windows import MONTH, window_at
from rating.counters import Rows, Units, quantity
from rating.month_terms import Terms

Window = tuple[str, str, datetime]  # customer, feature, window start
Usage = pl.DataFrame | pl.LazyFrame
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Added:
    """What was added to the counters of one feature at once; an item is a row, its units, a time in microseconds."""

    feature: str
    rows: Rows
    units: Units
    times: npt.NDArray[np.int64]

    def before(self, row: int, used: Decimal) -> Decimal:
        """What was used of `row` before, when it is `used` now."""
        return EXACT.subtract(used, quantity(sum(map(int, self.units[self.rows == row]))))

    def latest(self, row: int) -> datetime:
        """The newest time of `row`."""
        return _EPOCH + timedelta(microseconds=int(self.times[self.rows == row].max()))


@dataclass(frozen=True)
class Reached:
    """A counter that has reached its limit; `before` is what was used before the events at hand."""

    window: Window
    before: Decimal
    limit: Decimal


def crossings(terms: Terms, events: Usage, reached: Sequence[Reached]) -> Iterator[Crossing]:
    """The crossing of each counter that has reached its limit with `events`."""
    customers = {each.window[0] for each in reached}
    payers = terms.payers.filter(pl.col("customer").is_in(customers))
    features = {feature: terms.features[feature] for feature in {each.window[1] for each in reached}}
    usage = counted_usage(events.lazy(), features, payers, terms.time_zones)
    for each in sorted(reached, key=lambda each: each.window):
        here = usage.filter(**dict(zip(("customer", "feature", "window_start"), each.window, strict=True)))
        found = crossing_event(here, each.before, each.limit)
        if found is not None:
            yield Crossing(*each.window, each.limit, found["used"], found["source"], found["id"], found["time"])


def level_change(crossing: Crossing, zone: str) -> LevelChange:
    """The same as signals know it; `zone` is the customer's."""
    return LevelChange(
        kind="exhausted",
        scope="customer",
        owner=crossing.customer,
        customer=crossing.customer,
        feature=crossing.feature,
        window_start=crossing.window_start,
        window_end=window_at(MONTH, crossing.window_start, zone)[1],
        level="100%",
        limit=crossing.limit,
        used=crossing.used,
        arm=0,
        at=crossing.time,
        source=crossing.source,
        id=crossing.id,
    )
