"""Live quota counters: moved with every group of accepted events before they are acknowledged, asked at any time.

The problem: a gateway that asks right after a 200 must see the event. The choice: counters in memory beside the
journal, keyed by (customer, feature, window), fed by the writer thread with the very frame it made durable. They are a
cache of the usage log: nothing is lost with them. Of customers who changed, `renew` counts the usage again.

A group is added as arrays (rating/counters.py): all that is done event by event is to look up whose counter its
subject moves. Single events are looked at only where a counter has reached a limit, to find the one that did.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import repeat
from threading import RLock
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.batch_checks import answered
from rating.core.periods import month_edges, month_of
from rating.core.quota.answer import QuotaAnswer
from rating.core.quota.comparing import COMPARED, COUNTER, compared
from rating.core.quota.counting import COUNTED_SUM, Crossing, counted_sums
from rating.core.quota.seam import RESERVED, CustomerState, Hold
from rating.core.quota.stated import by_customer
from rating.counters import Counters, Rows, Units, counted, quantity, units_of
from rating.holds import Holds, slice_of
from rating.month_crossings import Added, Reached, Usage, Window, crossings, levels_reached
from rating.month_terms import Terms, earliest_start, month_start
from rating.payers import NOBODY
from rating.standings import MonthStanding, Standings, units_of_amount
from rating.uncounted import ANYTHING, Uncounted, refused_where_it_fails
from rating.words import words_of

ReadUsage = Callable[[datetime | None, Collection[str] | None], tuple[pl.LazyFrame, int]]
"""The usage from an instant on, null: all, of these subjects, null: of all, and the sequence of the last event there
is."""
_NOTHING = Decimal(0)
LOOKED_BACK = timedelta(days=2)


class LiveQuota:
    """The counters of one data directory. Thread-safe: the writer counts, request threads ask."""

    def __init__(
        self,
        read_usage: ReadUsage,
        on_crossing: Callable[[list[Crossing]], None],
        standings: Standings | None = None,
    ) -> None:
        """`read_usage` must not wait for a thread in `count`; `standings` are shared with accounts, where there are."""
        self._standings = standings or Standings()
        self._read_usage = read_usage
        self._on_crossing = on_crossing
        self._lock = RLock()
        self._terms: Terms | None = None
        self._forget()
        self._crossed: dict[Window, set[tuple[Decimal, str]]] = {}  # limits and levels
        self._counted_sequence = 0  # by the rebuild
        self._last_sequence = 0  # as of now
        self.since: datetime | None = None  # from when on usage was counted; null: since ever
        self.has_fallen = False  # whether any counter has, since that was set to false
        self._holds: Holds[Window] = Holds()
        self._states: dict[str, list[CustomerState]] = {}

    def _forget(self) -> None:
        self._counters: dict[str, Counters] = {}  # of each feature; all have the same rows
        self._windows: list[tuple[str, datetime]] = []  # the customer and window start of each row
        self._row_of: dict[tuple[str, datetime], int] = {}
        self._uncounted = Uncounted()
        self._rows_of_subjects: dict[datetime, dict[str, int]] = {}  # by month edge: the row that a subject moves
        self._standings.forget()

    def rebuild(self, terms: Terms, now: datetime | None = None) -> None:
        """Take new terms and count the usage log again under them, null: the whole; else from the earliest window on
        that is open at `now` or was LOOKED_BACK before, so that what was reached just before a stop is found."""
        with self._lock:
            self._forget()
            self._terms, self._crossed = terms, {}
            self._counters = {feature: Counters() for feature in terms.features}
            self.since = None if now is None else earliest_start(terms, now - LOOKED_BACK)
            usage, self._counted_sequence = self._read_usage(self.since, None)
            self._last_sequence = self._counted_sequence
            self._count_log(terms, usage)

    def is_counted_from(self, terms: Terms, now: datetime) -> bool:
        """Whether what was counted so far is enough for other terms."""
        return self.since is None or self.since <= earliest_start(terms, now - LOOKED_BACK)

    def renew(self, terms: Terms, changed: Collection[str], subjects: Collection[str], usage: pl.LazyFrame) -> None:
        """Take new terms, which concern the customers `changed` alone, and count `usage` of the `subjects` that they
        have, or had, again."""
        with self._lock:
            self._standings.forget()
            self._terms = terms
            for row in [row for row, (customer, _) in enumerate(self._windows) if customer in changed]:
                lowest = terms.lowest_limits(self._windows[row][0])
                for feature, counters in self._counters.items():
                    counters.put(row, 0)
                    counters.expect(row, units_of_amount(lowest[feature]) if feature in lowest else None)
            for known in self._rows_of_subjects.values():
                for subject in subjects:
                    known.pop(subject, None)
            self._crossed = {window: known for window, known in self._crossed.items() if window[0] not in changed}
            self._count_log(terms, usage if self.since is None else usage.filter(pl.col("time") >= self.since))

    def _count_log(self, terms: Terms, usage: pl.LazyFrame) -> None:
        first, last = usage.select(pl.col("time").min(), last=pl.col("time").max()).collect().row(0)
        if first is not None:
            edges = month_edges(terms.time_zones, first, last)
            sums = self._sums(terms, usage, edges)
            self._add(terms, usage, self._summed(terms, sums, edges.to_list()))

    @property
    def uncounted(self) -> dict[str, str]:
        """See Uncounted.shown."""
        return self._uncounted.shown

    def _sums(self, terms: Terms, usage: pl.LazyFrame, edges: pl.Series) -> pl.DataFrame:
        """COUNTED_SUM of all features together or, where that fails, of those that can be counted one by one."""
        try:
            return counted_sums(usage, terms.features, edges)
        except ANYTHING:
            sums = [COUNTED_SUM.to_frame()]
            for feature, meter in terms.features.items():
                count = partial(counted_sums, features={feature: meter}, edges=edges)
                found = self._uncounted.of_log(feature, meter, usage, count)
                sums += [] if found is None else [found]
        return pl.concat(sums)

    def count(self, events: pl.DataFrame) -> None:
        """Add newly accepted events (USAGE_EVENT with property columns) and report the limits they reached.

        Events that a rebuild has already counted, while their writer was on its way here, are not counted again.
        """
        with self._lock:
            if self._terms is None or not self._terms.features:
                return
            sequence = events.get_column("sequence")
            if len(sequence) and sequence[0] <= self._counted_sequence:  # they ascend
                was_left_out = pl.lit(False) if self.since is None else pl.col("time") < self.since
                events = events.filter((pl.col("sequence") > self._counted_sequence) | was_left_out)
            if events.height:
                self._last_sequence = int(sequence[-1])
                self._add(self._terms, events, self._counted(self._terms, events))

    def correct(self, out: pl.DataFrame, events: pl.DataFrame, last_sequence: int) -> None:
        """Take off events that the corrections up to `last_sequence` put out of force, and add those that replace them
        (both as in `count`). A limit that was reached before stays reported."""
        with self._lock:
            if self._terms is None or last_sequence <= self._counted_sequence:
                return
            self._standings.forget()  # a check that does not wait would see what is taken off, and not what replaces it
            for taken in self._counted(self._terms, out) if out.height else ():
                self._counters[taken.feature].add(taken.rows, -taken.units)
            self.count(events)
            self._last_sequence = last_sequence

    def check(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer:
        """Whether `subject` may use `amount` more of `feature` at `now`. Raises FeatureNotCounted."""
        answer = self._standings.answer(subject, feature, amount, now)
        if answer is None:
            with self._lock:
                answer = self._check(subject, feature, amount, now)
        return answer

    def check_at_once(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer | None:
        """The same, or None when it would have to wait for a thread that counts."""
        answer = self._standings.answer(subject, feature, amount, now)
        if answer is None and self._lock.acquire(blocking=False):
            try:
                return self._check(subject, feature, amount, now)
            finally:
                self._lock.release()
        return answer

    def check_many(self, asked: pl.DataFrame, now: datetime) -> pl.DataFrame:
        """See Quota.check_many."""
        return answered(asked, lambda subject, feature, amount: self.check(subject, feature, amount, now))

    def _check(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer:
        terms = self._terms
        customer, zone = (terms and terms.subjects.find(subject)) or (None, "UTC")
        asked = (subject, customer, feature, amount)
        if customer is not None and (state := self._suspended(customer, feature, now)) is not None:
            return QuotaAnswer(False, "suspended", state.reason, *asked, state=state.state)
        limit = terms.limit(customer, feature, now) if terms and customer else None
        if terms is None or customer is None or limit is None:
            why = "no customer has this subject" if customer is None else f"no plan of {customer} includes {feature}"
            return QuotaAnswer(False, "not_entitled", why, *asked)
        self._uncounted.refuse(feature, lambda aside: (terms.subjects.find(aside) or (None,))[0] == customer)
        standing = self._standing(terms, (subject, customer, feature), limit, now, zone)
        return standing.answer(amount, standing.counters.units(standing.row))

    def _standing(
        self, terms: Terms, who: tuple[str, str, str], limit: Decimal, now: datetime, zone: str
    ) -> MonthStanding:
        """Worked out, and known to the next check, unless a state may end meanwhile."""
        _, customer, feature = who
        window, (since, until) = month_of(now, zone).bounds(ZoneInfo(zone)), terms.steady(customer, now)
        row = self._row(terms, customer, window[0])
        steady = (max(since, window[0]), min(until, window[1]))
        standing = MonthStanding(who, limit, window, steady, (self._counters[feature], row), self._holds)
        self._standings.keep(standing)
        return standing

    def hold(
        self, id: str, subject: str, feature: str, amount: Decimal, minimum: Decimal, now: datetime
    ) -> Hold | QuotaAnswer:
        """See Quota.hold."""
        with self._lock:
            answer = self.check(subject, feature, minimum, now)
            if not answer.allowed or answer.customer is None or answer.remaining is None:
                return answer
            assert answer.window_start is not None
            granted = slice_of(answer.remaining, amount, minimum, is_shared=bool(answer.reserved))
            self._holds.put(id, (answer.customer, feature, answer.window_start), granted)
        return Hold(id, subject, feature, granted, answer.resets_at)

    def restore_hold(self, hold: Hold, now: datetime) -> None:
        """See Quota.restore_hold; `now` is in the window that it is of."""
        with self._lock:
            found = self._terms.subjects.find(hold.subject) if self._terms else None
            if found is not None:
                customer, zone = found
                self._holds.put(hold.id, (customer, hold.feature, month_start(now, zone)), hold.amount)

    def shrink(self, id: str, by: Decimal) -> None:
        """See Quota.shrink."""
        with self._lock:
            self._holds.shrink(id, by)

    def drop(self, id: str) -> None:
        """See Quota.drop."""
        with self._lock:
            self._holds.drop(id)

    def reserved(self) -> pl.DataFrame:
        """RESERVED, of what is held."""
        with self._lock:
            rows = [(c, f, held, count) for (c, f, _), (held, count) in self._holds.sums().items()]
        return pl.DataFrame(rows, schema=RESERVED, orient="row")

    def amounts(self, events: pl.DataFrame) -> list[tuple[str, str, Decimal]]:
        """See Quota.amounts."""
        with self._lock:
            features = self._terms.features if self._terms else {}
        subjects = events.get_column("subject").to_list()
        found = []
        for feature, meter in features.items():
            with refused_where_it_fails(feature):
                rows, units = counted(events, meter)
            places = range(len(units)) if rows is None else rows.tolist()
            found += [(subjects[at], feature, quantity(int(n))) for at, n in zip(places, units.tolist(), strict=True)]
        return found

    def put_states(self, states: Sequence[CustomerState]) -> None:
        """See Quota.put_states."""
        with self._lock:
            self._states = by_customer(states)
            self._standings.leave_out(self._states)

    def _suspended(self, customer: str, feature: str, now: datetime) -> CustomerState | None:
        for state in self._states.get(customer, ()):
            concerns = not state.features or feature in state.features
            if concerns and state.since <= now and (state.until is None or now < state.until):
                return state if state.state == "suspended" else None
        return None

    def level(self, subject: str, feature: str, now: datetime) -> tuple[Decimal, Decimal] | None:
        """What the customer of a subject has used of a feature, and its limit; null: no plan entitles it now."""
        with self._lock:
            found = self._terms.subjects.find(subject) if self._terms else None
            if self._terms is None or found is None:
                return None
            customer, zone = found
            limit = self._terms.limit(customer, feature, now)
            if limit is None:
                return None
            row = self._row(self._terms, customer, month_start(now, zone))
            return self._counters[feature].value(row), limit

    def expect_again(self, window: Window) -> None:
        """Report levels of a window again when usage reaches them again."""
        customer, feature, start = window
        with self._lock:
            self._crossed.pop(window, None)
            row = self._row_of.get((customer, start))
            if row is not None and self._terms is not None:
                lowest = self._terms.lowest_limits(customer).get(feature)
                self._counters[feature].expect(row, None if lowest is None else units_of_amount(lowest))

    def counters(self) -> dict[Window, Decimal]:
        """A copy of every counter, for comparison with a metering query."""
        with self._lock:
            return {
                (customer, feature, start): counters.value(row)
                for feature, counters in self._counters.items()
                for row, (customer, start) in enumerate(self._windows)
                if counters.is_counted(row)
            }

    def comparison(self) -> pl.DataFrame:
        """COMPARED: every counter of a window that was counted whole beside what the meters make of the log."""
        with self._lock:
            if self._terms is None:
                return COMPARED.to_frame()
            usage, _ = self._read_usage(self.since, None)
            terms, last, since, uncounted = self._terms, self._last_sequence, self.since, self._uncounted
            customers = {payer[0] for s in uncounted.concerned() if (payer := terms.subjects.find(s)) is not None}
            rows = [
                (*window, counted)
                for window, counted in self.counters().items()
                if window[1] not in uncounted.why and window[0] not in customers
            ]
            features = {feature: meter for feature, meter in terms.features.items() if feature not in uncounted.why}
            usage = uncounted.without(usage.filter(pl.col("sequence") <= last))
        counters = pl.DataFrame(rows, schema=COUNTER, orient="row")
        found = compared(counters, usage, features, terms.payers).filter(~pl.col("customer").is_in(list(customers)))
        return found if since is None else found.filter(pl.col("window_start") >= since)

    def _counted(self, terms: Terms, events: pl.DataFrame) -> Iterator[Added]:
        """What newly accepted events add to the counters of each feature."""
        used: list[tuple[str, Rows | None, Units]] = []
        wrong = self._uncounted.shown
        for feature, meter in terms.features.items():
            rows, units = self._uncounted.counted(feature, events, meter)
            used += [(feature, rows, units)] if len(units) else []
        if self._uncounted.shown != wrong:
            self._standings.forget()
        if not used:
            return
        owners, times = self._owners(terms, events), words_of(events.get_column("time"))
        for feature, rows, units in used:
            of_owned = (owners if rows is None else owners[rows]) != NOBODY
            at = np.flatnonzero(of_owned) if rows is None else rows[of_owned]
            yield Added(feature, owners[at], units[of_owned], times[at])

    def _owners(self, terms: Terms, events: pl.DataFrame) -> Rows:
        """The row that each event moves, or NOBODY."""
        time, subjects = events.get_column("time"), events.get_column("subject").to_list()
        first, last = time.min(), time.max()
        assert isinstance(first, datetime)
        assert isinstance(last, datetime)
        edges = month_edges(terms.time_zones, first, last).to_list()
        if bisect_right(edges, first) == bisect_right(edges, last):
            return self._rows_behind(terms, subjects, edges[bisect_right(edges, first) - 1])
        return self._rows(terms, subjects, edges, np.array([bisect_right(edges, instant) - 1 for instant in time]))

    def _rows(self, terms: Terms, subjects: Sequence[str], edges: Sequence[datetime], places: npt.NDArray[Any]) -> Rows:
        """The row that each subject moves behind the edge at its place."""
        rows = np.empty(len(subjects), np.int64)
        for place in np.unique(places).tolist():
            here = np.flatnonzero(places == place)
            rows[here] = self._rows_behind(terms, [subjects[at] for at in here.tolist()], edges[place])
        return rows

    def _rows_behind(self, terms: Terms, subjects: Sequence[str], edge: datetime) -> Rows:
        """The rows that subjects move behind a month edge."""
        known = self._rows_of_subjects.setdefault(edge, {})
        rows = np.fromiter(map(known.get, subjects, repeat(NOBODY)), np.int64, len(subjects))
        strangers = np.flatnonzero(rows == NOBODY)
        for place in strangers.tolist():
            if (found := terms.subjects.find(subject := subjects[place])) is not None:
                customer, zone = found
                rows[place] = known[subject] = self._row(terms, customer, month_start(edge, zone))
        return rows

    def _row(self, terms: Terms, customer: str, start: datetime) -> int:
        """The row of a customer's window, made when it is new."""
        window = (customer, start)
        if window not in self._row_of:
            self._row_of[window] = len(self._windows)
            self._windows.append(window)
            lowest = terms.lowest_limits(customer)
            for feature, counters in self._counters.items():
                counters.new(lowest.get(feature))
        return self._row_of[window]

    def _summed(self, terms: Terms, sums: pl.DataFrame, edges: Sequence[datetime]) -> Iterator[Added]:
        """What COUNTED_SUM adds to the counters of each feature."""
        for feature in terms.features:
            own = sums.filter(pl.col("feature") == feature)
            rows = self._rows(terms, own["subject"].to_list(), edges, own["edge"].to_numpy())
            of_owned = rows != NOBODY
            yield Added(feature, rows[of_owned], units_of(own["quantity"])[of_owned], words_of(own["latest"])[of_owned])

    def _add(self, terms: Terms, events: Usage, additions: Iterable[Added]) -> None:
        """Count, and report the limits that are reached."""
        reached = []
        for added in additions:
            counters = self._counters[added.feature]
            counters.add(added.rows, added.units)
            self.has_fallen = self.has_fallen or bool((added.units < 0).any())
            reached += [each for row in counters.reached(added.rows) for each in self._reached(terms, added, row)]
        found = [*crossings(terms, self._uncounted.without(events.lazy()), reached)] if reached else []
        for c in found:
            self._crossed.setdefault((c.customer, c.feature, c.window_start), set()).add((c.limit, c.level))
        if found:
            self._on_crossing(found)

    def _reached(self, terms: Terms, added: Added, row: int) -> Iterator[Reached]:
        """The levels of the limit that holds at the newest event of `row` that are reached and were not reported
        before."""
        customer, start = self._windows[row]
        counters, window = self._counters[added.feature], (customer, added.feature, start)
        used = counters.value(row)
        limit = terms.limit(customer, added.feature, added.latest(row))
        if limit is None or used < limit:
            return
        if used > limit and len(terms.agreements.of(customer)) == 1:
            counters.forget_threshold(row)  # there is no other limit to reach
        yield from levels_reached(added, row, window, used, limit, self._crossed.get(window, ()))
