"""The accounts of quotas that are more than a hard limit of calendar months: looked up by who asks, moved by events.

An account of a customer counts what its subjects use and, where a plan of it is shared, what those use that it pays
for. A subject with a limit of its own has an account beside. Each that there is must allow (judging.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.account import Account, Place, Times, micros
from rating.core.metering import metered_events
from rating.core.quota.answer import Asked, QuotaAnswer, Scope
from rating.core.quota.comparing import COUNTER
from rating.core.quota.expiring import Expiring, expiring, may_expire
from rating.core.quota.judging import AccountView, judge_accounts, quantity_of
from rating.core.quota.levels import EXHAUSTED, NEGATIVE, Level, levels_of, reached
from rating.core.quota.seam import LevelChange
from rating.core.quota.terms import AccountTerms
from rating.core.schema import INSTANT, QUANTITY
from rating.counters import UNITS, Units, counted, units_of
from rating.quota_terms import QuotaTerms
from rating.uncounted import Uncounted, refused_where_it_fails
from rating.words import words_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_USED = pl.Schema({"subject": pl.String(), "time": INSTANT, "sequence": pl.Int64(), "quantity": QUANTITY})
Key = tuple[Scope, str, str]
"""key or customer, the owner, the feature."""


@dataclass(frozen=True, slots=True)
class Link:
    """An account that counts what a subject uses."""

    scope: Scope
    key: Key
    customer: str
    account: Account


@dataclass(frozen=True, slots=True)
class _Used:
    """What events used of one feature; an item is a subject (the number of its name), units, a time in microseconds."""

    feature: str
    names: Sequence[str]  # each once
    numbers: npt.NDArray[np.int64]
    units: Units
    times: Times
    sequences: npt.NDArray[np.int64]


class Accounts:
    """The accounts under one set of terms. Not for several threads."""

    def __init__(self, terms: QuotaTerms, since: datetime, report: Callable[[list[LevelChange]], None]) -> None:
        """`since` is the earliest instant at which they may be asked; `report` gets the levels that are crossed."""
        self.terms = terms
        self._since, self._report = since, report
        self.uncounted = Uncounted()
        self.has_fallen = False  # whether events of less than nothing were counted, since that was set to false
        self._accounts: dict[Key, Account] = {}
        self._chains: dict[tuple[str, str], tuple[Link, ...]] = {}

    def chain(self, subject: str, feature: str) -> tuple[Link, ...]:
        """The accounts that a subject's use of a feature counts in: its own, its customer's, the parent's."""
        found = self._chains.get((subject, feature))
        if found is None:
            customer = self.terms.customer_of(subject)
            if customer is None:
                return ()
            found = self._chains[subject, feature] = tuple(self._links(subject, customer, feature))
        return found

    def check(self, asked: Asked, now: datetime, reserved: Callable[[Key], int], more: int = 0) -> QuotaAnswer:
        """The answer of all accounts; `reserved` is what is held of one, in units of 10^-9.

        Raises FeatureNotCounted.
        """
        self.uncounted.refuse(asked.feature)
        return judge_accounts(asked, self.views(asked.subject, asked.feature, now, reserved), more)

    def views(self, subject: str, feature: str, now: datetime, reserved: Callable[[Key], int]) -> list[AccountView]:
        """Where the accounts of a subject stand that hold for it now."""
        views = []
        for link in self.chain(subject, feature):
            place = link.account.at(now)
            span = place.standing.segment.span
            if link.scope == "pool" and not (span is not None and span.shared):
                continue
            views.append(AccountView(link.scope, link.key[1], place.standing, place.used, reserved(link.key)))
        return views

    def count_log(self, usage: pl.LazyFrame, is_known: Callable[[LevelChange], bool] = lambda change: False) -> None:
        """Count all usage; what has crossed a level in a window that is still open is reported. Of a level that is
        known already the event that crossed it is not looked for: it is reported without."""
        for feature, meter in self.terms.meters.items():
            with self.uncounted.where_it_fails(feature):
                metered = metered_events(usage, meter).select(_USED.names()).filter(self._concerns(feature))
                crossed = self._count_sums(feature, metered)
                self._report_levels(crossed, metered, usage, is_known)

    def count(self, events: pl.DataFrame, sign: int = 1) -> None:
        """Count newly accepted events (USAGE_EVENT with property columns), or with `sign` -1 take them off."""
        now: datetime = events["received_at"].max()  # type: ignore[assignment]
        for feature, meter in self.terms.meters.items():
            with self.uncounted.where_it_fails(feature):
                rows, units = counted(events, meter)
                if len(units):
                    self.has_fallen = self.has_fallen or bool((units < 0).any())
                    own = events if rows is None else events[rows]
                    found = _used(feature, own, units * sign)
                    self._count(found, events.lazy(), max(now, self._since))

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
            for (scope, owner, feature), account in self._accounts.items()
            if feature not in self.uncounted.why
            for start, used in account.sums(now).items()
        ]
        return pl.DataFrame(rows, schema=COUNTER, orient="row")

    def level(self, subject: str, feature: str, scope: Scope, owner: str, now: datetime) -> Level | None:
        """Where one of the accounts stands that count what a subject uses; null: nothing entitles it now."""
        for link in self.chain(subject, feature):
            if link.key[1] == owner and (link.scope == "key") == (scope == "key"):
                place = link.account.at(now)
                return place.level if place.standing.is_entitled else None
        return None

    def levels(self, customer: str, feature: str, now: datetime) -> list[LevelChange]:
        """The levels that an account of a customer has reached by now, whatever has brought it there: a grant that
        ended, or what a window before left to be paid. Rolling windows, which have others each step, are left out."""
        key: Key = ("customer", customer, feature)
        account = self._accounts.get(key)
        place = account.at(now) if account is not None and feature not in self.uncounted.why else None
        if account is None or place is None or place.standing.segment.span is None:
            return []
        level, is_rolling = place.level, place.standing.segment.span.window.kind == "rolling"
        if is_rolling or level.limit is None or (level.used <= 0 <= level.limit):
            return []
        names = [name for _, name in reached(_thresholds(place) if level.limit > 0 else (), level)]
        return [replace(_change(Link("customer", key, customer, account), place, name), at=now) for name in names]

    def expiring(self, customer: str, feature: str, now: datetime, within: timedelta) -> list[Expiring]:
        """What of an account of a customer ends within so much time."""
        terms = self.terms.account(customer, feature)
        if feature in self.uncounted.why or not may_expire(terms, now, within):
            return []
        known = self._accounts.get(("customer", customer, feature))
        place = (known or Account(terms, now)).at(now)
        return list(expiring(terms, place.standing, place.used, now, within))

    def _links(self, subject: str, customer: str, feature: str) -> Iterator[Link]:
        if self.terms.has_own_limit(subject, feature):
            terms = self.terms.own_account(subject, customer, feature)
            yield self._link("key", ("key", subject, feature), customer, terms)
        if self.terms.is_accounted(customer, feature):
            terms = self.terms.account(customer, feature)
            yield self._link("customer", ("customer", customer, feature), customer, terms)
        parent = self.terms.parent_of(customer)
        if parent is not None:
            terms = self.terms.account(parent, feature)
            if any(span.shared for span in terms.spans):
                yield self._link("pool", ("customer", parent, feature), parent, terms)

    def _link(self, scope: Scope, key: Key, customer: str, terms: AccountTerms) -> Link:
        if key not in self._accounts:
            self._accounts[key] = Account(terms, self._since)
        return Link(scope, key, customer, self._accounts[key])

    def _concerns(self, feature: str) -> pl.Expr:
        """The usage of subjects that accounts may say something of."""
        if feature not in self.terms.plain_features:
            return pl.lit(True)
        touched = [customer for customer, name in self.terms.touched if name == feature]
        subjects = self.terms.payers.filter(pl.col("customer").is_in(touched))["subject"]
        return pl.col("subject").is_in(subjects.implode())

    def _count_sums(self, feature: str, metered: pl.LazyFrame) -> list[tuple[Link, Place, set[str]]]:
        """Count the sums of usage between the instants at which any of the accounts changes: each account, where it
        stood before, and whose usage it counted."""
        seen = metered.select(pl.col("subject").unique().implode(), pl.col("time").max()).collect()
        subjects, latest = seen.row(0)
        if latest is None:
            return []
        starts = [s.account.starts(latest) for subject in subjects for s in self.chain(subject, feature)]
        edges = pl.Series(np.unique(np.concatenate(starts)) if starts else [], dtype=pl.Int64).cast(INSTANT)
        edge = pl.lit(edges).search_sorted(pl.col("time"), side="right").alias("edge")
        values = (pl.col("quantity").sum(), pl.col("time", "sequence").max())
        sums = metered.group_by("subject", edge).agg(*values).select(_USED.names()).collect()
        used, moved = _used(feature, sums, units_of(sums["quantity"])), []
        for link, rows in self._by_account(used):
            before = link.account.at(self._since)
            link.account.add(used.times[rows], used.units[rows], is_pooled=link.scope == "pool")
            moved.append((link, before, {used.names[number] for number in used.numbers[rows].tolist()}))
        return moved

    def _report_levels(
        self,
        moved: Sequence[tuple[Link, Place, set[str]]],
        metered: pl.LazyFrame,
        usage: pl.LazyFrame,
        is_known: Callable[[LevelChange], bool],
    ) -> None:
        """Report the levels that accounts have reached by now: those that are not known with their events."""
        new: dict[tuple[Scope, Key], Place] = {}
        subjects: set[str] = set()
        for link, before, whose in moved:
            changes = [_change(link, link.account.at(self._since), name) for name in _newly(link, before, self._since)]
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
        crossed = [
            change
            for link, rows, before in found
            if before is not None
            for change in _crossed(link, before, used, rows, self._since)
            if not is_known(change)
        ]
        self._report(_with_events(crossed, usage))

    def _count(self, used: _Used, events: pl.LazyFrame, now: datetime) -> None:
        totals, times = _totals(used), (int(used.times.min()), int(used.times.max()))
        at = micros(now)

        def is_quiet(link: Link, whose: Sequence[int]) -> bool:
            return link.scope != "pool" and link.account.add_quietly(*times, sum(totals[one] for one in whose), at)

        changes: list[LevelChange] = []
        for link, rows in self._by_account(used, is_quiet):
            before = link.account.at(now)
            link.account.add(used.times[rows], used.units[rows], is_pooled=link.scope == "pool")
            changes += _crossed(link, before, used, rows, now)
            link.account.expect(now)
        if changes:
            self._report(_with_events(changes, events))

    def _by_account(
        self, used: _Used, is_done: Callable[[Link, Sequence[int]], bool] = lambda link, whose: False
    ) -> Iterator[tuple[Link, npt.NDArray[np.int64]]]:
        """The rows that move each account, ascending, but for accounts that are done when they are looked at with the
        numbers of their subjects."""
        names, numbers = used.names, used.numbers
        found: dict[tuple[Scope, Key], tuple[Link, list[int]]] = {}
        for number, subject in enumerate(names):
            for link in self.chain(subject, used.feature):
                found.setdefault((link.scope, link.key), (link, []))[1].append(number)
        left = [(link, whose) for link, whose in found.values() if not is_done(link, whose)]
        order = np.argsort(numbers, kind="stable") if left else numbers
        edges = np.searchsorted(numbers[order], np.arange(len(names) + 1)) if left else numbers
        for link, whose in left:
            rows = [order[edges[number] : edges[number + 1]] for number in whose]
            yield link, np.sort(np.concatenate(rows))


_KINDS: dict[str, Literal["exhausted", "negative"]] = {EXHAUSTED: "exhausted", NEGATIVE: "negative"}


def _totals(used: _Used) -> list[int]:
    """What each subject used, in Python's integers, which have no end."""
    units = used.units
    whole, rest = np.divmod(units, UNITS) if units.dtype != object else (units, units * 0)
    wholes, rests = (np.zeros(len(used.names), part.dtype) for part in (whole, rest))
    np.add.at(wholes, used.numbers, whole)
    np.add.at(rests, used.numbers, rest)
    scale = UNITS if units.dtype != object else 1
    return [int(w) * scale + int(r) for w, r in zip(wholes.tolist(), rests.tolist(), strict=True)]


def _used(feature: str, events: pl.DataFrame, units: Units) -> _Used:
    places: dict[str, int] = {}
    subjects = events["subject"].to_list()
    numbers = np.fromiter((places.setdefault(s, len(places)) for s in subjects), np.int64, len(subjects))
    return _Used(feature, list(places), numbers, units, words_of(events["time"]), events["sequence"].to_numpy())


def _crossed(
    link: Link, before: Place, used: _Used, rows: npt.NDArray[np.int64], now: datetime
) -> Iterator[LevelChange]:
    """The levels that usage has crossed; `source` is the sequence of the event that did, to be looked up."""
    after, below = link.account.at(now), _newly(link, before, now)
    if not below:
        return
    thresholds = _thresholds(after)
    inside = rows[link.account.in_segment(used.times[rows], now)]
    running = before.level.used + np.cumsum(used.units[inside].astype(object)) if len(inside) else np.zeros(0, object)
    for units, name in reached(thresholds, after.level):
        if name in below:
            met = np.flatnonzero(running >= units)
            row = int(inside[met[0]]) if len(met) else int(rows[-1])
            level_used = int(running[met[0]]) if len(met) else after.level.used
            change = _change(link, after, name)
            at = _EPOCH + timedelta(microseconds=int(used.times[row]))
            yield replace(change, used=quantity_of(level_used), at=at, source=str(used.sequences[row]))


def _newly(link: Link, before: Place, now: datetime) -> list[str]:
    """The levels that are reached and were not before, ascending."""
    after = link.account.at(now)
    if not after.standing.is_entitled or after.level.used <= before.level.used:
        return []
    thresholds = _thresholds(after)
    old = {name for _, name in reached(thresholds, before.level)}
    current = {name for _, name in levels_of(thresholds, after.level.limit)}
    return [name for _, name in reached(thresholds, after.level) if name in current - old]


def _thresholds(place: Place) -> tuple[str, ...]:
    span = place.standing.segment.span
    return span.thresholds if span is not None else ()


def _change(link: Link, place: Place, level: str) -> LevelChange:
    """A level that is reached, whichever event did it."""
    segment, limit = place.standing.segment, place.level.limit
    return LevelChange(
        kind=_KINDS.get(level, "threshold"),
        scope="key" if link.scope == "key" else "customer",
        owner=link.key[1],
        customer=link.customer,
        feature=link.key[2],
        window_start=segment.window_start,
        window_end=segment.window_end,
        level=level,
        limit=quantity_of(limit if limit is not None else 0),
        used=quantity_of(place.level.used),
        arm=0,
        at=segment.start,
    )


def _with_events(changes: Sequence[LevelChange], events: pl.LazyFrame) -> list[LevelChange]:
    """The same with the `source` and `id` of the events."""
    wanted = {int(change.source or 0) for change in changes}
    rows = events.filter(pl.col("sequence").is_in(list(wanted))).select("sequence", "source", "id").collect()
    by_sequence = {sequence: (source, id) for sequence, source, id in rows.iter_rows()}
    found = []
    for change in changes:
        source, id = by_sequence[int(change.source or 0)]
        found.append(replace(change, source=source, id=id))
    return found
