"""One bill of one customer for a month, in plain values: what the adapters of other engines' cases ask for."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rating.catalog import compile_catalog, load_catalog
from rating.core.periods import parse_month
from rating.core.rating import Rated, rate
from rating.core.subjects import interned
from tests import oracle
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
Event = Mapping[str, Any]


def sum_meter(**more: Any) -> dict[str, Any]:
    """A meter that sums the property `n` of the events."""
    return {"event_type": "e", "aggregation": "sum", "property": "n", **more}


def event(n: Any, at: datetime = OCTOBER, **dimensions: str) -> dict[str, Any]:
    """An event of `n`."""
    return {"type": "e", "subject": "acme", "time": at, "data": {"n": Decimal(n), **dimensions}}


def billed(
    prices: Mapping[str, Any],
    events: Iterable[Event],
    currency: str = "USD",
    *,
    meters: Any = None,
    plan: Any = None,
    zone: str = "UTC",
    month: str = "2026-10",
) -> Rated:
    """The bill of a plan with all of `prices`, in `currency`; their meter is `m` unless they say another."""
    usual = {"meter": "m"}
    made = {
        key: {"currency": currency, **(usual if _is_metered(price) else {}), **price} for key, price in prices.items()
    }
    document = {
        "tallystick": 1,
        "currencies": [currency],
        "meters": {"m": sum_meter()} if meters is None else meters,
        "prices": made,
        "plans": {"plan": {"currency": currency, "prices": sorted(made), **(plan or {})}},
    }
    catalog = load_catalog(document)
    subscriptions = [oracle.Subscription("s", "acme", ("acme",), "plan", zone, SINCE)]
    usage = interned(usage_frame(events, catalog.declared_properties()))
    frames = subject_frame(subscriptions), subscription_frame(subscriptions)
    return rate(usage, *frames, compile_catalog(catalog), parse_month(month))


def _is_metered(price: Mapping[str, Any]) -> bool:
    return price["model"] != "flat" and "meters" not in price


def exact(rated: Rated) -> Decimal:
    """The exact sum of all lines."""
    return sum(rated.lines["amount"], Decimal(0))


def rounded(rated: Rated) -> Decimal:
    """The sum of all rounded lines."""
    return sum(rated.lines["rounded_amount"], Decimal(0))
