"""The accounts of quotas that are more than a hard limit of calendar months: looked up by who asks, moved by events.

An account of a customer counts what its subjects use and, where a plan of it is shared, what those use that it pays
for. A subject with a limit of its own has an account beside. Each that there is must allow (judging.py).

What they used is in arrays (segment_sums.py), a row a customer, where most groups of events are added at once. An
account is an object only for as long as it is looked at: a level is reached, its segment has ended, or it is asked.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.account import Account, Place, instant_of, micros
from rating.account_levels import Key, Link, Used, change_at, crossed, newly, thresholds_of, with_events
from rating.core.book import Meter
from rating.core.metering import metered_events
from rating.core.quota.answer import Scope
from rating.core.quota.comparing import COUNTER
from rating.core.quota.expiring import Expiring, expiring, may_expire
from rating.core.quota.judging import AccountView, quantity_of
from rating.core.quota.levels import Level, reached
from rating.core.quota.seam import LevelChange
from rating.core.quota.terms import AccountTerms
from rating.core.schema import INSTANT, QUANTITY
from rating.counters import Rows, Units, counted, units_of
from rating.payers import NOBODY
from rating.quota_terms import QuotaTerms
from rating.segment_sums import FIRST, LAST, Mask, SegmentSums, Times
from rating.uncounted import Uncounted, refused_where_it_fails
from rating.usual_segments import ALONE, LINKED, NO_ACCOUNT, Profiles, UsualSegments
from rating.words import words_of

IsKnown: TypeAlias = Callable[[LevelChange], bool]
KEPT_MAX = 10_000
"""So many accounts stay objects between two looks at them."""
_USED = pl.Schema({"subject": pl.String(), "time": INSTANT, "sequence": pl.Int64(), "quantity": QUANTITY})


class Accounts:
    """The accounts under one set of terms. Not for several threads."""

    def __init__(self, terms: QuotaTerms, since: datetime, report: Callable[[list[LevelChange]], None]) -> None:
        """`since` is the earliest instant at which they may be asked; `report` gets the levels that are crossed."""
        self.terms = terms
        self._since, self._report = since, report
        self.uncounted = Uncounted()
        self.has_fallen = False  # whether events of less than nothing were counted, since that was set to false
        self._accounts: dict[Key, Account] = {}  # those that are objects just now, and are dropped together
        self._chains: dict[tuple[str, str], tuple[Link, ...]] = {}
        self._payers = terms.plain.subjects
        self._more_rows: dict[tuple[Scope, str], int] = {}  # of owners that are no customers with a subject
        profiles = Profiles(terms) if terms.meters else None
        self._usual = {f: UsualSegments(terms, f, profiles) for f in terms.meters} if profiles is not None else {}
        self._sums = {feature: SegmentSums(len(self._payers.customers)) for feature in terms.meters}

    def adopt(self, old: "Accounts", changed: Collection[str]) -> None:
        """Take over what accounts under other terms have counted, but of customers who changed."""
        theirs, ours = self._payers.shared_with(old._payers, changed)
        more = []
        for (scope, owner), row in old._more_rows.items():
            customer = self.terms.customer_of(owner) if scope == "key" else owner
            if customer is not None and customer not in changed:
                more.append((row, self._row(scope, owner)))
        beside = np.array(more, np.int64).reshape(-1, 2)
        theirs, ours = np.append(theirs, beside[:, 0]), np.append(ours, beside[:, 1])
        for feature, sums in self._sums.items():
            if feature in old._sums:
                sums.adopt(old._sums[feature], theirs, ours)

    def chain(self, subject: str, feature: str) -> tuple[Link, ...]:
        """The accounts that a subject's use of a feature counts in: its own, its customer's, the parent's."""
        found = self._chains.get((subject, feature))
        if found is None:
            customer = self.terms.customer_of(subject)
            if customer is None:
                return ()
            found = self._chains[subject, feature] = tuple(self._links(subject, customer, feature))
        return found

    def check_views(
        self, subject: str, feature: str, now: datetime, reserved: Callable[[Key], int]
    ) -> list[AccountView]:
        """The same as `views` for a check. Raises FeatureNotCounted."""
        self.uncounted.refuse(feature, lambda aside: self._meet(subject, aside, feature))
        return self.views(subject, feature, now, reserved)

    def _meet(self, subject: str, other: str, feature: str) -> bool:
        """Whether what two subjects use counts in one account."""
        keys = ({link.key for link in self.chain(each, feature)} for each in (subject, other))
        return bool(set.intersection(*keys))

    def views(self, subject: str, feature: str, now: datetime, reserved: Callable[[Key], int]) -> list[AccountView]:
        """Where the accounts of a subject stand that hold for it now."""
        views = []
        self._drop_objects()
        for link in self.chain(subject, feature):
            if not link.account.is_expected(now):
                link.account.expect(now)
            place = link.account.at(now)
            span = place.standing.segment.span
            if link.scope == "pool" and not (span is not None and span.shared):
                continue
            views.append(AccountView(link.scope, link.key[1], place.standing, place.used, reserved(link.key)))
        return views

    def count_log(self, usage: pl.LazyFrame, is_known: IsKnown = lambda change: False) -> None:
        """Count all usage; what has crossed a level in a window that is still open is reported. Of a level that is
        known already the event that crossed it is not looked for: it is reported without."""
        for feature, meter in self.terms.meters.items():
            with self.uncounted.where_it_fails(feature):
                self.uncounted.of_log(feature, meter, usage, partial(self._count_log, feature, meter, is_known))

    def _count_log(self, feature: str, meter: Meter, is_known: IsKnown, usage: pl.LazyFrame) -> None:
        """Raises before anything is counted, where the meter makes no quantity of an event."""
        metered = metered_events(usage, meter).select(_USED.names()).filter(self._concerns(feature))
        crossed = self._count_sums(feature, metered)
        self._report_levels(crossed, metered, usage, is_known)

    def count(self, events: pl.DataFrame, sign: int = 1) -> None:
        """Count newly accepted events (USAGE_EVENT with property columns), or with `sign` -1 take them off."""
        latest: datetime = events["received_at"].max()  # type: ignore[assignment]
        now = max(latest, self._since)
        numbers, times = self._payers.numbers(events["subject"].to_list()), words_of(events["time"])
        for feature, meter in self.terms.meters.items():
            with self.uncounted.where_it_fails(feature):
                rows, units = self.uncounted.counted(feature, events, meter)
                if len(units):
                    self.has_fallen = self.has_fallen or bool((units < 0).any())
                    rows, units = np.arange(events.height) if rows is None else rows, units * sign
                    left = self._count_quietly(feature, numbers[rows], times[rows], units, now)
                    if left.any():
                        self._count(_used(feature, events[rows[left]], units[left]), events.lazy(), now)

    def _count_quietly(self, feature: str, numbers: Rows, times: Times, units: Units, now: datetime) -> Mask:
        """Count what customers used, by their numbers, where it changes nothing but the sum of a segment at hand. True
        where accounts must be asked."""
        usual, sums, at = self._usual[feature], self._sums[feature], micros(now)
        kinds = usual.kind[numbers] if len(usual.kind) else np.full(len(numbers), NO_ACCOUNT, np.int8)
        kinds[numbers == NOBODY] = NO_ACCOUNT
        left: Mask = kinds == LINKED
        alone = np.flatnonzero(kinds == ALONE)
        if len(alone):
            rows = numbers[alone]
            usual.begin(sums, sums.strangers(rows, at), at)
            left[alone] = sums.add_quietly(rows, times[alone], units[alone], at)
        return left

    def amounts(self, events: pl.DataFrame) -> list[tuple[str, str, Decimal]]:
        """(subject, feature, quantity) that events would count, of features that accounts alone count."""
        found = []
        subjects = events["subject"].to_list()
        for feature, meter in self.terms.meters.items():
            if feature in self.terms.plain_features:
                continue
            with refused_where_it_fails(feature):
                rows, units = counted(events, meter)
            places = range(len(units)) if rows is None else rows.tolist()
            found += [
                (subjects[at], feature, quantity_of(int(n))) for at, n in zip(places, units.tolist(), strict=True)
            ]
        return found

    def sums(self, now: datetime) -> pl.DataFrame:
        """COUNTER of each segment that says what is left at `now`; `customer` is the owner of the account."""
        rows = [
            (f"subject {owner}" if scope == "key" else owner, feature, start, quantity_of(used))
            for feature in self._sums
            if feature not in self.uncounted.why
            for scope, owner, start, used in self._sums_of(feature, now)
        ]
        return pl.DataFrame(rows, schema=COUNTER, orient="row")

    def level(self, subject: str, feature: str, scope: Scope, owner: str, now: datetime) -> Level | None:
        """Where one of the accounts stands that count what a subject uses; null: nothing entitles it now."""
        self._drop_objects()
        for link in self.chain(subject, feature):
            if link.key[1] == owner and (link.scope == "key") == (scope == "key"):
                place = link.account.at(now)
                return place.level if place.standing.is_entitled else None
        return None

    def levels(self, customer: str, feature: str, now: datetime) -> list[LevelChange]:
        """The levels that an account of a customer has reached by now, whatever has brought it there: a grant that
        ended, or what a window before left to be paid. Rolling windows, which have others each step, are left out."""
        self._drop_objects()
        link = self._link("customer", ("customer", customer, feature), customer)
        place = link.account.at(now)
        if feature in self.uncounted.why or place.standing.segment.span is None:
            return []
        level, is_rolling = place.level, place.standing.segment.span.window.kind == "rolling"
        if is_rolling or level.limit is None or (level.used <= 0 <= level.limit):
            return []
        names = [name for _, name in reached(thresholds_of(place) if level.limit > 0 else (), level)]
        return [replace(change_at(link, place, name), at=now) for name in names]

    def expiring(self, customer: str, feature: str, now: datetime, within: timedelta) -> list[Expiring]:
        """What of an account of a customer ends within so much time."""
        terms = self.terms.account(customer, feature)
        if feature in self.uncounted.why or not may_expire(terms, now, within):
            return []
        self._drop_objects()
        place = self._account(("customer", customer, feature)).at(now)
        return list(expiring(terms, place.standing, place.used, now, within))

    def _sums_of(self, feature: str, now: datetime) -> Iterator[tuple[Scope, str, datetime, int]]:
        """The owner and the start of each such segment, and what it used."""
        sums, customers, at = self._sums[feature], self._payers.customers, micros(now)
        counted = np.array(sums.counted(), np.int64)
        self._usual[feature].begin(sums, sums.strangers(counted[counted < len(customers)], at), at)
        more = {row: owner for owner, row in self._more_rows.items()}
        aside = {link.key[:2] for s in self.uncounted.subjects.get(feature, ()) for link in self.chain(s, feature)}
        for row in sums.counted():
            owner: tuple[Scope, str] = more[row] if row in more else ("customer", customers[row])
            if owner in aside:
                continue
            if row not in sums.others and sums.start[row] <= at < sums.end[row]:
                if sums.start[row] != FIRST:
                    yield *owner, instant_of(int(sums.start[row])), sums.counters.units(row)
                continue
            self._drop_objects()
            for start, used in self._account((*owner, feature)).used_since(now).items():
                yield *owner, start, used

    def _links(self, subject: str, customer: str, feature: str) -> Iterator[Link]:
        if self.terms.has_own_limit(subject, feature):
            yield self._link("key", ("key", subject, feature), customer)
        if self.terms.is_accounted(customer, feature):
            yield self._link("customer", ("customer", customer, feature), customer)
        parent = self.terms.parent_of(customer)
        if parent is not None:
            link = self._link("pool", ("customer", parent, feature), parent)
            if any(span.shared for span in link.account.terms.spans):
                yield link

    def _link(self, scope: Scope, key: Key, customer: str) -> Link:
        return Link(scope, key, customer, self._account(key))

    def _account(self, key: Key) -> Account:
        found = self._accounts.get(key)
        if found is None:
            sums, row = self._sums[key[2]], self._row(key[0], key[1])
            found = self._accounts[key] = Account(self._account_terms(key), self._since, sums, row)
        return found

    def _account_terms(self, key: Key) -> AccountTerms:
        scope, owner, feature = key
        if scope != "key":
            return self.terms.account(owner, feature)
        customer = self.terms.customer_of(owner)
        assert customer is not None, key
        return self.terms.own_account(owner, customer, feature)

    def _row(self, scope: Scope, owner: str) -> int:
        number = None if scope == "key" else self._payers.number(owner)
        if number is not None:
            return number
        if (scope, owner) not in self._more_rows:
            self._more_rows[scope, owner] = len(self._payers.customers) + len(self._more_rows)
            for sums in self._sums.values():
                sums.grow(len(self._payers.customers) + len(self._more_rows))
        return self._more_rows[scope, owner]

    def _drop_objects(self) -> None:
        """Only between two looks at accounts: there must not be two objects of one."""
        if len(self._accounts) > KEPT_MAX or len(self._chains) > KEPT_MAX:
            self._accounts, self._chains = {}, {}

    def _concerns(self, feature: str) -> pl.Expr:
        """The usage of subjects that accounts may say something of."""
        if feature not in self.terms.plain_features:
            return pl.lit(True)
        touched = [customer for customer, name in self.terms.touched if name == feature]
        subjects = self.terms.payers.filter(pl.col("customer").is_in(touched))["subject"]
        return pl.col("subject").is_in(subjects.implode())

    def _count_sums(self, feature: str, metered: pl.LazyFrame) -> list[tuple[Link, Place, set[str]]]:
        """Count the sums of usage between the instants at which any of the accounts changes: each account that has to
        be looked at, where it stood before, and whose usage it counted."""
        seen = metered.select(pl.col("subject").unique().implode(), pl.col("time").max()).collect()
        subjects, latest = seen.row(0)
        if latest is None:
            return []
        others, edges = self._begin(feature, subjects, latest, metered)
        self._drop_objects()
        starts = [edges, *(s.account.starts(latest) for subject in others for s in self.chain(subject, feature))]
        instants = pl.Series(np.unique(np.concatenate(starts)), dtype=pl.Int64).cast(INSTANT)
        edge = pl.lit(instants).search_sorted(pl.col("time"), side="right").alias("edge")
        values = (pl.col("quantity").sum(), pl.col("time", "sequence").max())
        sums = metered.group_by("subject", edge).agg(*values).select(_USED.names()).collect()
        is_other = sums["subject"].is_in(list(others))
        moved = self._count_usual(feature, sums.filter(~is_other))
        used = _used(feature, left := sums.filter(is_other), units_of(left["quantity"]))
        for link, rows in self._by_account(used):
            before = link.account.at(self._since)
            link.account.add(used.times[rows], used.units[rows], is_pooled=link.scope == "pool")
            moved.append((link, before, {used.names[number] for number in used.numbers[rows].tolist()}))
        return moved

    def _begin(
        self, feature: str, subjects: list[str], latest: datetime, metered: pl.LazyFrame
    ) -> tuple[set[str], Times]:
        """Have the segments of usual accounts at hand: the subjects of the others, and of those that used something
        behind these segments, and the instants at which they begin and end."""
        usual, sums, at = self._usual[feature], self._sums[feature], micros(self._since)
        numbers = self._payers.numbers(subjects)
        known = numbers != NOBODY
        alone = np.unique(numbers[known])
        begun = usual.begin(sums, alone[usual.kind[alone] == ALONE], at)
        is_usual = np.zeros(len(usual.kind) + 1, bool)  # behind the last: nobody
        is_usual[begun] = True
        others = {subjects[place] for place in np.flatnonzero(known & ~is_usual[numbers]).tolist()}
        edges = np.unique(np.concatenate([sums.start[begun], sums.end[begun]]))
        edges = edges[(edges != FIRST) & (edges != LAST)]
        ends = sums.end[begun]
        if len(ends) and int(ends.min()) <= micros(latest):
            behind = pl.lit(int(ends.min())).cast(INSTANT)
            late = metered.filter(pl.col("time") >= behind).select(pl.col("subject").unique()).collect()["subject"]
            others |= set(late) & {s for s, number in zip(subjects, numbers.tolist(), strict=True) if number != NOBODY}
        return others, edges

    def _count_usual(self, feature: str, used: pl.DataFrame) -> list[tuple[Link, Place, set[str]]]:
        """Count sums in usual accounts; those that may have reached a level."""
        sums, subjects = self._sums[feature], used["subject"].to_list()
        rows, times, units = self._payers.numbers(subjects), words_of(used["time"]), units_of(used["quantity"])
        owned = np.flatnonzero(rows != NOBODY)
        inside = owned[(sums.start[rows[owned]] <= times[owned]) & (times[owned] < sums.end[rows[owned]])]
        sums.counters.add(rows[inside], units[inside])
        near = set(sums.counters.reached(rows[inside]))
        moved: dict[int, tuple[Link, Place, set[str]]] = {}
        for place in inside.tolist() if near else ():
            if (row := int(rows[place])) in near:
                if row not in moved:
                    [link] = self.chain(subjects[place], feature)
                    moved[row] = link, Place(link.account.at(self._since).standing, 0), set()
                moved[row][2].add(subjects[place])
        return list(moved.values())

    def _report_levels(
        self,
        moved: Sequence[tuple[Link, Place, set[str]]],
        metered: pl.LazyFrame,
        usage: pl.LazyFrame,
        is_known: IsKnown,
    ) -> None:
        """Report the levels that accounts have reached by now: those that are not known with their events."""
        new: dict[tuple[Scope, Key], Place] = {}
        subjects: set[str] = set()
        for link, before, whose in moved:
            changes = [change_at(link, link.account.at(self._since), name) for name in newly(link, before, self._since)]
            known = [change for change in changes if is_known(change)]
            if known:
                self._report(known)
            if len(known) < len(changes):
                new[link.scope, link.key] = before
                subjects |= whose
        if not new:
            return
        events = metered.filter(pl.col("subject").is_in(list(subjects))).sort("sequence").collect()
        used = _used(moved[0][0].key[2], events, units_of(events["quantity"]))
        found = ((link, rows, new.get((link.scope, link.key))) for link, rows in self._by_account(used))
        changes = [
            change
            for link, rows, before in found
            if before is not None
            for change in crossed(link, before, used, rows, self._since)
            if not is_known(change)
        ]
        self._report(with_events(changes, usage))

    def _count(self, used: Used, events: pl.LazyFrame, now: datetime) -> None:
        """Count account by account, and report the levels that are crossed."""
        changes: list[LevelChange] = []
        self._drop_objects()
        for link, rows in self._by_account(used):
            before = link.account.at(now)
            link.account.add(used.times[rows], used.units[rows], is_pooled=link.scope == "pool")
            changes += crossed(link, before, used, rows, now)
            link.account.expect(now)
        if changes:
            self._report(with_events(changes, events))

    def _by_account(self, used: Used) -> Iterator[tuple[Link, npt.NDArray[np.int64]]]:
        """The rows that move each account, ascending."""
        names, numbers = used.names, used.numbers
        found: dict[tuple[Scope, Key], tuple[Link, list[int]]] = {}
        for number, subject in enumerate(names):
            for link in self.chain(subject, used.feature):
                found.setdefault((link.scope, link.key), (link, []))[1].append(number)
        order = np.argsort(numbers, kind="stable")
        edges = np.searchsorted(numbers[order], np.arange(len(names) + 1))
        for link, whose in found.values():
            rows = [order[edges[number] : edges[number + 1]] for number in whose]
            yield link, np.sort(np.concatenate(rows))


def _used(feature: str, events: pl.DataFrame, units: Units) -> Used:
    places: dict[str, int] = {}
    subjects = events["subject"].to_list()
    numbers = np.fromiter((places.setdefault(s, len(places)) for s in subjects), np.int64, len(subjects))
    return Used(feature, list(places), numbers, units, words_of(events["time"]), events["sequence"].to_numpy())
