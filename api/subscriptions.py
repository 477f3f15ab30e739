"""Subscriptions over time: when a change takes effect, what holds when, and the billing periods around an instant."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl

from api.credit_checks import out_of_bounds
from api.frames import rows
from rating.catalog import Catalog
from rating.core.cycles import CYCLE, billing_periods
from rating.core.subscriptions import plan_of_variant
from store import Store
from store.customers import refuse
from store.subscription_changes import AskedChange, SubscriptionChange
from store.subscriptions import prices_of_variant

At = datetime | Literal["now", "period_end"]
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Timeline:
    """`terms` is a row of TERMS; `segments` are rows of SUBSCRIPTION with the `prices` that others stand in for;
    periods are rows of BILLING_PERIOD."""

    terms: dict[str, Any]
    segments: list[dict[str, Any]]
    current: dict[str, Any]
    next: dict[str, Any]


class SubscriptionService:
    """The subscriptions of one engine. Every method may be called from any thread."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now

    def instant(self, key: str, at: At) -> datetime:
        """When a change that is asked for now takes effect. Raises NotFound, and Refused for what nobody means."""
        if isinstance(at, datetime):
            refuse(out_of_bounds("at", at))
            return at
        now = self._now()
        if at == "now":
            return now
        terms, _ = self._store.subscriptions.timeline(key)
        end: datetime = _period_at(terms, now)["period_end"]
        return end

    def add(self, key: str, asked: Sequence[AskedChange], catalog: Catalog) -> list[SubscriptionChange]:
        """Record changes, all or none. Raises NotFound, IdTaken, Refused."""
        refuse(problem for change in asked for problem in _with_prices(change, catalog))
        return self._store.subscription_changes.add(key, asked, plans=catalog.plans.keys())

    def changes(self, key: str, as_of: datetime | None, *, after: int, limit: int) -> list[SubscriptionChange]:
        """The changes behind sequence `after`, in the order of their record. Raises NotFound, NotReproducible."""
        known = self._known(as_of)
        self._store.subscriptions.timeline(key, known)
        return self._store.subscription_changes.page(key, after=after, limit=limit, change=known)

    def timeline(self, key: str, as_of: datetime | None) -> Timeline:
        """What holds when, as of now or as it was known at an instant. Raises NotFound, NotReproducible."""
        terms, found = self._store.subscriptions.timeline(key, self._known(as_of))
        segments = [
            {**segment, "prices": prices_of_variant(variant)}
            for segment, variant in zip(rows(found.with_columns(plan=plan_of_variant())), found["plan"], strict=True)
        ]
        current = _period_at(terms, as_of or self._now())
        return Timeline(terms.row(0, named=True), segments, current, _period_at(terms, current["period_end"]))

    def _known(self, as_of: datetime | None) -> int | None:
        return None if as_of is None else self._store.changes.at(as_of)


def _period_at(terms: pl.DataFrame, instant: datetime) -> dict[str, Any]:
    """BILLING_PERIOD of a subscription that contains `instant`."""
    found = billing_periods(terms.select(CYCLE.names()), instant, instant + _MICROSECOND)
    return found.row(0, named=True)


def _with_prices(change: AskedChange, catalog: Catalog) -> Iterator[str]:
    for price, other in (change.prices or {}).items():
        unknown = [key for key in (price, other) if key not in catalog.prices]
        yield from (f"the catalog has no price {key!r}; apply one that has it first" for key in unknown)
        own, others = (None if unknown else catalog.prices[key].currency for key in (price, other))
        if own != others:
            yield f"price {other!r} is in {others} and cannot stand in for {price!r}, which is in {own}"
