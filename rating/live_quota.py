"""Live quota counters: moved with every group of accepted events before they are acknowledged, asked at any time.

The problem: a gateway that asks right after a 200 must see the event. The choice: counters in memory beside the
journal, keyed by (customer, feature, window), fed by the writer thread with the very frame it made durable, and
rebuilt from the usage log whenever customers, subscriptions or the catalog change. They are a cache: nothing is lost
with them. What it gives up: a rebuild reads the usage again, so changing customers one by one under load costs.

A group is summed by subject first, and only the sums are looked at one by one. Single events are looked at only where
a sum has reached a limit, to find the one that did.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from threading import RLock
from zoneinfo import ZoneInfo

import polars as pl

from rating.core.book import Meter, PriceBook
from rating.core.periods import month_edges, month_of
from rating.core.quota import EXACT, Crossing, QuotaAnswer, counted_sums, counted_usage, crossing_event, judge

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

    def lowest_limit(self, customer: str, feature: str) -> Decimal | None:
        """No limit of the customer is ever below this; None when no plan of the customer entitles to the feature."""
        plans = {plan for plan, _, _ in self.plans_of.get(customer, ())}
        return min((self.limits[plan, feature] for plan in plans if (plan, feature) in self.limits), default=None)

    def limit(self, customer: str, feature: str, at: datetime) -> Decimal | None:
        """The limits of the subscriptions in force at `at`, added up; None when no plan entitles to the feature."""
        plans = [p for p, start, end in self.plans_of.get(customer, ()) if start <= at and (end is None or at < end)]
        limits = [self.limits[plan, feature] for plan in plans if (plan, feature) in self.limits]
        return sum(limits[1:], start=limits[0]) if limits else None


@dataclass(slots=True)
class _Counter:
    """What was used in one window. `lowest_limit` is Terms.lowest_limit, `before` what was used before this group."""

    window: Window
    lowest_limit: Decimal | None
    used: Decimal = Decimal(0)
    before: Decimal = Decimal(0)
    latest: datetime | None = None  # the newest event of this group


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
        self._counters: dict[Window, _Counter] = {}
        self._counter_of: dict[tuple[str, str, datetime], _Counter] = {}  # subject, feature, month edge
        self._crossed: set[tuple[str, str, datetime, Decimal]] = set()
        self._counted_sequence = 0

    def rebuild(self, terms: Terms) -> None:
        """Take new terms and count the whole usage log again under them."""
        with self._lock:
            self._terms, self._counters, self._counter_of, self._crossed = terms, {}, {}, set()
            usage, self._counted_sequence = self._read_usage()
            first, last = usage.select(pl.col("time").min(), last=pl.col("time").max()).collect().row(0)
            if first is not None:
                self._count(terms, usage, first, last)

    def count(self, events: pl.DataFrame) -> None:
        """Add newly accepted events (USAGE_EVENT with property columns) and report the limits they reached.

        Events that a rebuild has already read, while their writer was on its way here, are not counted again.
        """
        with self._lock:
            if self._terms is None:
                return
            if (events.get_column("sequence") <= self._counted_sequence).any():
                events = events.filter(pl.col("sequence") > self._counted_sequence)
            first, last = events.get_column("time").min(), events.get_column("time").max()
            if first is not None:
                assert isinstance(first, datetime)
                assert isinstance(last, datetime)
                self._count(self._terms, events.lazy(), first, last)

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
            counter = self._counters.get((customer, feature, window[0]))
            used = counter.used if counter else Decimal(0)
        return judge(subject, customer, feature, amount, limit, used, window)

    def counters(self) -> dict[Window, Decimal]:
        """A copy of every counter, for comparison with a metering query."""
        with self._lock:
            return {window: counter.used for window, counter in self._counters.items()}

    def _count(self, terms: Terms, events: pl.LazyFrame, first: datetime, last: datetime) -> None:
        edges = month_edges(terms.time_zones, first, last)
        touched = self._add(terms, counted_sums(events, terms.features, edges), edges.to_list())
        reached = [found for counter in touched if (found := self._limit_reached(terms, counter)) is not None]
        crossings = [*_crossings(terms, events, reached)] if reached else []
        self._crossed.update((c.customer, c.feature, c.window_start, c.limit) for c in crossings)
        if crossings:
            self._on_crossing(crossings)

    def _add(self, terms: Terms, sums: pl.DataFrame, edges: list[datetime]) -> list[_Counter]:
        """Add `sums` (COUNTED_SUM) and return the counters that may have reached a limit with it."""
        touched: dict[Window, _Counter] = {}
        for feature, subject, edge, quantity, latest in sums.iter_rows():
            place = (subject, feature, edges[edge])
            counter = self._counter_of.get(place) or self._found(terms, *place)
            if counter is None:
                continue
            if counter.window not in touched:
                touched[counter.window], counter.before, counter.latest = counter, counter.used, latest
            counter.used = EXACT.add(counter.used, quantity)
            counter.latest = max(counter.latest or latest, latest)
        return [c for c in touched.values() if c.lowest_limit is not None and c.used >= c.lowest_limit]

    def _found(self, terms: Terms, subject: str, feature: str, edge: datetime) -> _Counter | None:
        """The counter that a subject's usage behind a month edge moves; None when no customer has the subject."""
        if subject not in terms.customer_of:
            return None
        customer, zone = terms.customer_of[subject]
        window = (customer, feature, month_of(edge, zone).start(ZoneInfo(zone)))
        counter = self._counters.setdefault(window, _Counter(window, terms.lowest_limit(customer, feature)))
        self._counter_of[subject, feature, edge] = counter
        return counter

    def _limit_reached(self, terms: Terms, counter: _Counter) -> tuple[_Counter, Decimal] | None:
        """The limit that holds at the counter's newest event, when it is reached and was not reported before."""
        customer, feature, _ = counter.window
        assert counter.latest is not None
        limit = terms.limit(customer, feature, counter.latest)
        if limit is None or counter.used < limit or (*counter.window, limit) in self._crossed:
            return None
        return counter, limit


def _crossings(terms: Terms, events: pl.LazyFrame, reached: Sequence[tuple[_Counter, Decimal]]) -> Iterator[Crossing]:
    """The crossing of each counter that has reached its limit with `events`."""
    customers = {counter.window[0] for counter, _ in reached}
    payers = terms.payers.filter(pl.col("customer").is_in(customers))
    counted = counted_usage(events, terms.features, payers, terms.time_zones)
    for counter, limit in sorted(reached, key=lambda each: each[0].window):
        here = counted.filter(**dict(zip(("customer", "feature", "window_start"), counter.window, strict=True)))
        found = crossing_event(here, counter.before, limit)
        if found is not None:
            yield Crossing(*counter.window, limit, found["used"], found["source"], found["id"], found["time"])
