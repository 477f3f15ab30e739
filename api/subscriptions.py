"""Subscriptions over time: when a change takes effect, what holds when, and the billing periods around an instant."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl

from api.credit_checks import out_of_bounds
from api.frames import rows
from rating.catalog import Catalog
from rating.core.cycles import billing_periods
from rating.core.subscriptions import plan_of_variant
from store import Store
from store.customers import refuse
from store.subscription_changes import AskedChange, SubscriptionChange
from store.subscriptions import prices_of_variant

At = datetime | Literal["now", "period_end"]
Anchor = datetime | Literal["change", "calendar"]
_MICROSECOND = timedelta(microseconds=1)
_CYCLE = ("interval", "intervals", "anchor")


@dataclass(frozen=True)
class Timeline:
    """`terms` is a row of TERMS with the billing cycle of the `current` period; `segments`
    are rows of SUBSCRIPTION with the `prices` that others stand in for;
    periods are rows of BILLING_PERIOD."""

    terms: dict[str, Any]
    segments: list[dict[str, Any]]
    current: dict[str, Any]
    next: dict[str, Any]


@dataclass(frozen=True)
class AskedCycle:
    """What is to be another one of a billing cycle; what is None stays as it was. `change` is where it takes effect."""

    interval: str | None = None
    intervals: int | None = None
    anchor: Anchor | None = None


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
        *_, cycles = self._store.subscriptions.timeline(key)
        end: datetime = _period_at(cycles, now)["period_end"]
        return end

    def cycle(self, key: str, at: datetime, asked: AskedCycle, with_: Sequence[AskedChange] = ()) -> dict[str, Any]:
        """`interval`, `intervals` and `anchor` from an instant on: what is asked for, else as they are known to be
        then, by the changes `with_` this one as well. Raises NotFound, and Refused for what nobody means."""
        *_, cycles = self._store.subscriptions.timeline(key)
        others = [{**vars(one), "cycle_from": one.effective_at} for one in with_ if one.interval is not None]
        added = pl.DataFrame(others, schema={name: cycles.schema[name] for name in (*_CYCLE, "cycle_from")})
        before = _cycle_at(pl.concat([cycles, added], how="diagonal"), at)
        if isinstance(asked.anchor, datetime):
            refuse(out_of_bounds("anchor", asked.anchor))
        anchors = {None: before["anchor"], "change": at, "calendar": None}
        count = before["intervals"] if asked.interval is None else 1
        is_quarter = asked.interval == "quarter"
        return {
            "interval": "month" if is_quarter else asked.interval or before["interval"],
            "intervals": (asked.intervals or count) * (3 if is_quarter else 1),
            "anchor": asked.anchor if isinstance(asked.anchor, datetime) else anchors[asked.anchor],
        }

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
        terms, found, cycles = self._store.subscriptions.timeline(key, self._known(as_of))
        segments = [
            {**segment, "prices": prices_of_variant(variant)}
            for segment, variant in zip(rows(found.with_columns(plan=plan_of_variant())), found["plan"], strict=True)
        ]
        now = as_of or self._now()
        current = _period_at(cycles, now)
        shown = {**terms.row(0, named=True), **_cycle_at(cycles, now)}
        return Timeline(shown, segments, current, _period_at(cycles, current["period_end"]))

    def _known(self, as_of: datetime | None) -> int | None:
        return None if as_of is None else self._store.changes.at(as_of)


def _period_at(cycles: pl.DataFrame, instant: datetime) -> dict[str, Any]:
    """BILLING_PERIOD of a subscription (its CYCLE_SPAN) that contains `instant`."""
    return billing_periods(cycles, instant, instant + _MICROSECOND).row(0, named=True)


def _cycle_at(cycles: pl.DataFrame, instant: datetime) -> dict[str, Any]:
    """The billing cycle of CYCLE_SPAN that holds at `instant`; of those since one instant the last."""
    begun = (pl.col("cycle_from") <= instant).fill_null(True)
    ordered = cycles.filter(begun).sort("cycle_from", nulls_last=False, maintain_order=True)
    return ordered.select(_CYCLE).row(-1, named=True)


def _with_prices(change: AskedChange, catalog: Catalog) -> Iterator[str]:
    for price, other in (change.prices or {}).items():
        unknown = [key for key in (price, other) if key not in catalog.prices]
        yield from (f"the catalog has no price {key!r}; apply one that has it first" for key in unknown)
        own, others = (None if unknown else catalog.prices[key].currency for key in (price, other))
        if own != others:
            yield f"price {other!r} is in {others} and cannot stand in for {price!r}, which is in {own}"
