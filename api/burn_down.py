"""How a customer came to where it is in the window of a limit: what was left of it, step by step."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

from api.engine import Engine
from api.usage import UsageQuery
from api.windows import Window
from rating.core.metering import is_sum
from rating.core.quota.answer import QuotaAnswer

_HOURLY = timedelta(days=3)
_STEPS: dict[Window, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
_LONGEST = timedelta(days=400)
POINTS_MAX = 420


@dataclass(frozen=True)
class BurnDown:
    """At each instant of `x` what was left, null for what is to come. `limit` is that of now."""

    x: list[datetime]
    left: list[Decimal | None]
    limit: Decimal
    window: Window


def burn_down(engine: Engine, customer: str, answer: QuotaAnswer) -> BurnDown | None:
    """Null where it cannot be said: of what is no sum of events, of windows without a beginning, and of what others use
    besides. `answer` is what `customer` is entitled to."""
    feature = engine.in_force.catalog.features.get(answer.feature)
    start, end = answer.window_start, answer.resets_at
    if feature is None or feature.meter is None or answer.limit is None or start is None or end is None:
        return None
    if answer.owner != customer or answer.scope != "customer" or end - start > _LONGEST:
        return None
    if not is_sum(engine.in_force.meter(feature.meter)):
        return None
    zone = engine.store.customers.get(customer).time_zone
    window: Window = "hour" if end - start <= _HOURLY else "day"
    query = UsageQuery(feature.meter, start, min(end, engine.now()), None, customer, (), window, zone)
    used = {row["window_start"]: row["quantity"] for row in engine.usage(query).iter_rows(named=True)}
    return _walked(used, start, end, engine.now(), answer.limit, window)


def _walked(
    used: dict[Any, Decimal], start: datetime, end: datetime, now: datetime, limit: Decimal, window: Window
) -> BurnDown:
    """One point where the window begins, and one at the end of each step."""
    edges = [start + place * _STEPS[window] for place in range(1, POINTS_MAX) if start + place * _STEPS[window] < end]
    sums = list(accumulate(used[at] for at in sorted(used)))
    begun = sorted(used)
    left: list[Decimal | None] = [limit]
    for edge in [*edges, end]:
        if edge - _STEPS[window] >= now:
            left.append(None)
            continue
        before = sum(at < edge for at in begun)
        left.append(limit - (sums[before - 1] if before else Decimal(0)))
    return BurnDown([start, *edges, end], left, limit, window)
