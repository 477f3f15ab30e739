"""What a catalog charges for a few events of October: the short way of a conformance case to its lines."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from rating.catalog import compile_catalog, load_catalog
from rating.core.credits.bills import Credits
from rating.core.credits.plans import plan_grants
from rating.core.periods import parse_month
from rating.core.rating import rate
from rating.core.subjects import interned
from tests import oracle
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame

Document = dict[str, Any]
Bag = Mapping[str, Any]
FIRST, MONTH = datetime(2026, 10, 1, tzinfo=UTC), parse_month("2026-10")
VALUE: Document = {"event_type": "e", "aggregation": "sum", "property": "value"}


def catalog_of(
    meters: Mapping[str, Document], prices: Mapping[str, Document], currency: str = "EUR", **plan: Any
) -> Document:
    """A catalog with one plan of all prices."""
    return {
        "tallystick": 1,
        "currencies": [currency],
        "meters": dict(meters),
        "prices": {key: {"currency": currency, **price} for key, price in prices.items()},
        "plans": {"plan": {"currency": currency, "prices": sorted(prices), **plan}},
    }


def lines_of(document: Document, usages: Mapping[str, Sequence[Bag]], since: datetime = SINCE) -> pl.DataFrame:
    """CHARGE_LINE of several customers: the properties of the events of each, an hour apart, in their order."""
    catalog = load_catalog(document)
    events = [
        {"type": "e", "subject": customer, "time": FIRST + timedelta(hours=place), "data": data}
        for customer, bags in usages.items()
        for place, data in enumerate(bags)
    ]
    subscriptions = [oracle.Subscription(key, key, (key,), "plan", "UTC", since) for key in usages]
    usage, terms = usage_frame(events, catalog.declared_properties()), subscription_frame(subscriptions)
    book = compile_catalog(catalog)
    granted = Credits(plan_grants(book.credits, terms, MONTH, MONTH))
    return rate(interned(usage), subject_frame(subscriptions), terms, book, MONTH, credits=granted).lines


def total(lines: pl.DataFrame, column: str = "amount") -> Decimal:
    """What lines come to, exactly or as they are shown (`rounded_amount`)."""
    return sum(lines[column], Decimal(0))


def totals(document: Document, usages: Mapping[str, Sequence[Bag]], column: str = "amount") -> dict[str, Decimal]:
    """What each customer is charged."""
    lines = lines_of(document, usages)
    return {customer: total(lines.filter(customer=customer), column) for customer in usages}


def values(*quantities: Any) -> list[Bag]:
    """Events with a `value` each."""
    return [{"value": Decimal(quantity)} for quantity in quantities]
