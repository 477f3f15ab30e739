"""Live quota counters: moved with every group of accepted events before they are acknowledged, asked at any time.

The problem: a gateway that asks right after a 200 must see the event. The choice: counters in memory beside the
journal, keyed by (customer, feature, window), fed by the writer thread with the very frame it made durable, and
rebuilt from the usage log whenever customers, subscriptions or the catalog change. They are a cache: nothing is lost
with them. What it gives up: a rebuild reads the usage again, so changing customers one by one under load costs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from threading import RLock
from zoneinfo import ZoneInfo

import polars as pl

from rating.core.book import Meter, PriceBook
from rating.core.periods import month_of
from rating.core.quota import EXACT, Crossing, QuotaAnswer, counted_usage, crossing_event, judge

Window = tuple[str, str, datetime]  # customer, feature, window start


@dataclass(frozen=True)
class Terms:
    """What limits are judged by: who pays for a subject, and what plans entitle to. Replaced whole, never edited."""

    book: PriceBook
    payers: pl.DataFrame  # subject, customer, time_zone
    subscriptions: pl.DataFrame  # SUBSCRIPTION

    customer_of: dict[str, tuple[str, str]] = field(init=False)
    plans_of: dict[str, list[tuple[str, datetime, datetime | None]]] = field(init=False)
    limits: dict[tuple[str, str], Decimal] = field(init=False)
    features: dict[str, Meter] = field(init=False)
    time_zones: list[str] = field(init=False)

    def __post_init__(self) -> None:
        customers = {s: (c, z) for s, c, z in self.payers.select("subject", "customer", "time_zone").iter_rows()}
        plans: dict[str, list[tuple[str, datetime, datetime | None]]] = {}
        for customer, plan, start, end in self.subscriptions.select(
            "customer", "plan", "starts_at", "ends_at"
        ).iter_rows():
            plans.setdefault(customer, []).append((plan, start, end))
        limits = {
            (p, f): limit for p, f, limit in self.book.entitlements.select("plan", "feature", "limit").iter_rows()
        }
        object.__setattr__(self, "customer_of", customers)
        object.__setattr__(self, "plans_of", plans)
        object.__setattr__(self, "limits", limits)
        meters = {meter.key: meter for meter in self.book.meters}
        entitled = self.book.entitlements.select("feature", "meter").unique().sort("feature")
        object.__setattr__(self, "features", {feature: meters[meter] for feature, meter in entitled.iter_rows()})
        object.__setattr__(self, "time_zones", self.payers["time_zone"].unique().sort().to_list())

    def limit(self, customer: str, feature: str, at: datetime) -> Decimal | None:
        """The limits of the subscriptions in force at `at`, added up; None when no plan entitles to the feature."""
        plans = [p for p, start, end in self.plans_of.get(customer, ()) if start <= at and (end is None or at < end)]
        limits = [self.limits[plan, feature] for plan in plans if (plan, feature) in self.limits]
        return sum(limits[1:], start=limits[0]) if limits else None


class LiveQuota:
    """The counters of one data directory. Thread-safe: the writer counts, request threads ask."""

    def __init__(
        self, read_usage: Callable[[], tuple[pl.LazyFrame, int]], on_crossing: Callable[[list[Crossing]], None]
    ) -> None:
        """`read_usage` gives all usage and the sequence of its last event; it must not wait for a thread in `count`."""
        self._read_usage = read_usage
        self._on_crossing = on_crossing
        self._lock = RLock()
        self._terms: Terms | None = None
        self._used: dict[Window, Decimal] = {}
        self._crossed: set[tuple[str, str, datetime, Decimal]] = set()
        self._counted_sequence = 0

    def rebuild(self, terms: Terms) -> None:
        """Take new terms and count the whole usage log again under them."""
        with self._lock:
            self._terms, self._used, self._crossed = terms, {}, set()
            usage, self._counted_sequence = self._read_usage()
            self._count(terms, usage)

    def count(self, events: pl.DataFrame) -> None:
        """Add newly accepted events (USAGE_EVENT with property columns) and report the limits they reached.

        Events that a rebuild has already read, while their writer was on its way here, are not counted again.
        """
        with self._lock:
            if self._terms is not None:
                self._count(self._terms, events.lazy().filter(pl.col("sequence") > self._counted_sequence))

    def check(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer:
        """Whether `subject` may use `amount` more of `feature` at `now`."""
        with self._lock:
            terms = self._terms
            customer, zone = terms.customer_of.get(subject, (None, "UTC")) if terms else (None, "UTC")
            limit = terms.limit(customer, feature, now) if terms and customer else None
            if customer is None or limit is None:
                why = (
                    "no customer has this subject" if customer is None else f"no plan of {customer} includes {feature}"
                )
                return QuotaAnswer(False, "not_entitled", why, subject, customer, feature, amount)
            window = month_of(now, zone).bounds(ZoneInfo(zone))
            used = self._used.get((customer, feature, window[0]), Decimal(0))
        return judge(subject, customer, feature, amount, limit, used, window)

    def counters(self) -> dict[Window, Decimal]:
        """A copy of every counter, for comparison with a metering query."""
        with self._lock:
            return dict(self._used)

    def _count(self, terms: Terms, events: pl.LazyFrame) -> None:
        counted = counted_usage(events, terms.features, terms.payers, terms.time_zones)
        keys = ["customer", "feature", "window_start"]
        sums = counted.group_by(keys).agg(pl.col("quantity").sum(), pl.col("time").max()).sort(keys)
        crossings: list[Crossing] = []
        for customer, feature, window_start, quantity, latest in sums.iter_rows():
            before = self._used.get((customer, feature, window_start), Decimal(0))
            after = self._used[customer, feature, window_start] = EXACT.add(before, quantity)
            limit = terms.limit(customer, feature, latest)
            if limit is not None and after >= limit:
                crossings.extend(self._new_crossing(counted, (customer, feature, window_start), before, limit))
        if crossings:
            self._on_crossing(crossings)

    def _new_crossing(
        self, counted: pl.DataFrame, window: Window, before: Decimal, limit: Decimal
    ) -> Iterable[Crossing]:
        """Nothing when this window has crossed this limit before."""
        if (*window, limit) in self._crossed:
            return
        here = counted.filter(**dict(zip(("customer", "feature", "window_start"), window, strict=True)))
        found = crossing_event(here, before, limit)
        if found is not None:
            self._crossed.add((*window, limit))
            yield Crossing(*window, limit, found["used"], found["source"], found["id"], found["time"])
