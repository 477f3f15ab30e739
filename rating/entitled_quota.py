"""Live quotas of all kinds: hard limits of calendar months by their counters, everything else by its accounts.

What most plans say is a hard limit a month, and live_quota.py answers it in a microsecond for a million customers. The
rest (features that are there or not, other windows, grants, pools, overrides ...) is answered by accounts.py, one
account at a time. This is where a question goes to one of them, and where the states of customers are obeyed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from threading import RLock

import polars as pl

from rating.account_levels import Key, Link
from rating.accounts import Accounts
from rating.batch_checks import answered
from rating.changed_terms import CHANGED_MAX, Recounted, changed_customers, subjects_of
from rating.core.quota.answer import EXACT, Asked, QuotaAnswer
from rating.core.quota.comparing import COMPARED, beside
from rating.core.quota.counting import Crossing
from rating.core.quota.entitled import units_of
from rating.core.quota.expiring import Expiring
from rating.core.quota.judging import AccountView, judge_accounts, quantity_of
from rating.core.quota.policies import states_of
from rating.core.quota.seam import RESERVED, CustomerState, Hold, LevelChange, LevelName
from rating.core.quota.stated import by_customer, in_force, there_or_not, with_overage, with_restriction
from rating.holds import Holds, slice_of
from rating.live_quota import LiveQuota, ReadUsage
from rating.month_crossings import level_change
from rating.open_levels import OpenLevels
from rating.quota_terms import QuotaTerms
from rating.standings import AccountStanding, Standings, units_of_amount

_NOTHING = Decimal(0)


class EntitledQuota:
    """The quotas of one data directory. Thread-safe: the writer counts, request threads ask."""

    def __init__(
        self,
        read_usage: ReadUsage,
        on_change: Callable[[list[LevelChange]], None],
        now: Callable[[], datetime],
    ) -> None:
        """`read_usage` must not wait for a thread in `count`."""
        self._read_usage, self._on_change, self._now = read_usage, on_change, now
        self._lock = RLock()
        self._standings = Standings()
        self._plain = LiveQuota(read_usage, self._crossed, self._standings)
        self._terms: QuotaTerms | None = None
        self._accounts: Accounts | None = None
        self._counted_sequence = 0  # by the rebuild
        self._last_sequence = 0  # as of now
        self._since: datetime | None = None
        self._holds: Holds[Key] = Holds()
        self._held: dict[str, Hold] = {}  # by id, with what is left of them: other terms may count them elsewhere
        self._states: dict[str, list[CustomerState]] = {}
        self._open = OpenLevels()
        self._recounted = Recounted()
        self._reported: dict[str, datetime | None] = {}  # keys of levels, and when their windows end

    def rebuild(self, terms: QuotaTerms, now: datetime | None = None) -> None:
        """Take new terms and count the usage log again under them: null, the whole; else what still matters at
        `now`."""
        with self._lock:
            self._standings.forget()
            self._recounted.forget()
            before, self._terms = self._terms, terms
            self._accounts = Accounts(terms, self._now(), self._report)
            self._open.terms_changed(before, terms)
            if terms.meters:
                since = None if now is None else terms.counted_from(now)
                usage, self._counted_sequence = self._read_usage(since, None)
                self._last_sequence, self._since = self._counted_sequence, since
                self._forget_reported(self._now())
                self._accounts.count_log(usage, self._is_reported)
        self._plain.rebuild(terms.plain, now)
        self._hold_again()

    def renew(self, terms: QuotaTerms, now: datetime) -> None:
        """Take new terms, and count again only the usage of the customers that they concern."""
        before, accounts = self._terms, self._accounts
        changed = None if before is None or self.uncounted else changed_customers(before, terms)
        if before is None or accounts is None or changed is None or len(changed) > CHANGED_MAX:
            return self.rebuild(terms, now)
        if not self._plain.is_counted_from(terms.plain, now):
            return self.rebuild(terms, now)
        subjects, since = subjects_of(changed, before, terms), terms.counted_from(now) if terms.meters else now
        usage, last = self._read_usage(_earliest(since, self._plain.since), subjects)
        with self._lock:
            self._standings.forget()
            self._recounted.put(subjects, last)
            self._terms, self._accounts = terms, Accounts(terms, self._now(), self._report)
            self._accounts.adopt(accounts, changed)
            self._open.terms_changed(before, terms)
            self._since = _earliest(self._since, since) if before.meters else since
            self._last_sequence = last
            self._accounts.count_log(usage, self._is_reported)
        self._plain.renew(terms.plain, changed, subjects, usage)
        return self._hold_again()

    def _hold_again(self) -> None:
        with self._lock:
            for hold in self._held.values():
                if hold.ends_at is None or self._now() < hold.ends_at:
                    self._drop(hold.id)
                    self._put_hold(hold, self._now())

    def count(self, events: pl.DataFrame) -> None:
        """Add newly accepted events (USAGE_EVENT with property columns) and report the levels they crossed."""
        events = self._recounted.left(events)
        self._plain.count(events)
        with self._lock:
            if self._accounts is None or self._terms is None or not events.height:
                return
            self._last_sequence = max(self._last_sequence, int(events["sequence"][-1]))
            new = events.filter(pl.col("sequence") > self._counted_sequence)
            if new.height and self._terms.meters:
                self._count_in_accounts(self._accounts, new, 1)
            if self._plain.has_fallen or self._accounts.has_fallen:
                self._open.corrected()
                self._plain.has_fallen = self._accounts.has_fallen = False

    def correct(self, out: pl.DataFrame, events: pl.DataFrame, last_sequence: int) -> None:
        """Take off events that the corrections up to `last_sequence` put out of force, and add those that replace them
        (both as in `count`)."""
        out, events = (self._recounted.left(part, last_sequence) for part in (out, events))
        self._plain.correct(out, events, last_sequence)
        with self._lock:
            if self._accounts is None or self._terms is None or last_sequence <= self._counted_sequence:
                return
            self._open.corrected()
            self._standings.forget()  # see LiveQuota.correct
            self._last_sequence = last_sequence
            for part, sign in ((out, -1), (events.filter(pl.col("sequence") > self._counted_sequence), 1)):
                if part.height and self._terms.meters:
                    self._count_in_accounts(self._accounts, part, sign)

    def _count_in_accounts(self, accounts: Accounts, events: pl.DataFrame, sign: int) -> None:
        wrong = accounts.uncounted.shown
        accounts.count(events, sign)
        if accounts.uncounted.shown != wrong:
            self._standings.forget()

    def check(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer:
        """Whether `subject` may use `amount` more of `feature` at `now`. Raises FeatureNotCounted."""
        answer = self._standings.answer(subject, feature, amount, now)
        if answer is not None:
            return answer
        if self._is_plain(subject, feature):
            return self._stated(self._plain.check(subject, feature, amount, now), now)
        with self._lock:
            return self._check(subject, feature, amount, now)

    def check_at_once(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer | None:
        """The same, or None when it would have to wait for a thread that counts."""
        answer = self._standings.answer(subject, feature, amount, now)
        if answer is not None:
            return answer
        if self._is_plain(subject, feature):
            answer = self._plain.check_at_once(subject, feature, amount, now)
            return None if answer is None else self._stated(answer, now)
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self._check(subject, feature, amount, now)
        finally:
            self._lock.release()

    def check_many(self, asked: pl.DataFrame, now: datetime) -> pl.DataFrame:
        """See Quota.check_many."""
        return answered(asked, lambda subject, feature, amount: self.check(subject, feature, amount, now))

    @property
    def uncounted(self) -> dict[str, str]:
        """The features whose usage could not be counted, or that of one subject, and why."""
        with self._lock:
            accounted = self._accounts.uncounted.shown if self._accounts is not None else {}
            return {**self._plain.uncounted, **accounted}

    def comparison(self) -> pl.DataFrame:
        """COMPARED: what is counted of open windows, and of the segments of accounts, beside what the meters make of
        the log. `customer` is the owner of an account."""
        return pl.concat([self._plain.comparison(), self._accounts_compared()])

    def _accounts_compared(self) -> pl.DataFrame:
        with self._lock:
            terms, accounts, last, now = self._terms, self._accounts, self._last_sequence, self._now()
            if terms is None or accounts is None or not terms.meters:
                return COMPARED.to_frame()
            counted = accounts.sums(now)
            usage, _ = self._read_usage(self._since, None)
        anew = Accounts(terms, now, lambda changes: None)
        anew.count_log(usage.filter(pl.col("sequence") <= last))
        return beside(counted, anew.sums(now).rename({"counted": "metered"}))

    def hold(
        self, id: str, subject: str, feature: str, amount: Decimal, minimum: Decimal, now: datetime
    ) -> Hold | QuotaAnswer:
        """See Quota.hold."""
        with self._lock:
            if self._is_plain(subject, feature) and not self._states:
                held = self._plain.hold(id, subject, feature, amount, minimum, now)
                if isinstance(held, Hold):
                    self._held[id] = held
                return held
            answer = self.check(subject, feature, minimum, now)
            if not answer.allowed:
                return answer
            granted, ends_at = amount, answer.resets_at
            if answer.reason in ("allowed", "in_grace", "over_soft_limit") and answer.kind == "metered":
                room = self._room(answer, now)
                if room is not None:
                    granted = slice_of(room, amount, minimum, is_shared=bool(answer.reserved))
            if not self._is_plain(subject, feature):
                ends = [v.standing.segment.end for v in self._views(subject, feature, now)]
                ends_at = min((end for end in ends if end is not None), default=None)
            hold = Hold(id, subject, feature, granted, ends_at)
            self.restore_hold(hold, now)
            return hold

    def restore_hold(self, hold: Hold, now: datetime) -> None:
        """See Quota.restore_hold; `now` is in the window that it is of."""
        with self._lock:
            self._held[hold.id] = hold
            self._put_hold(hold, now)

    def _put_hold(self, hold: Hold, now: datetime) -> None:
        if self._is_plain(hold.subject, hold.feature):
            return self._plain.restore_hold(hold, now)
        for link in self._chain(hold.subject, hold.feature):
            self._holds.put(f"{link.scope} {hold.id}", link.key, hold.amount)
        return None

    def shrink(self, id: str, by: Decimal) -> None:
        """See Quota.shrink."""
        with self._lock:
            if id in self._held:
                left = EXACT.subtract(self._held[id].amount, by)
                self._held[id] = replace(self._held[id], amount=max(left, _NOTHING))
            self._plain.shrink(id, by)
            for scope in ("key", "customer", "pool"):
                self._holds.shrink(f"{scope} {id}", by)

    def drop(self, id: str) -> None:
        """See Quota.drop."""
        with self._lock:
            self._held.pop(id, None)
            self._drop(id)

    def _drop(self, id: str) -> None:
        self._plain.drop(id)
        for scope in ("key", "customer", "pool"):
            self._holds.drop(f"{scope} {id}")

    def reserved(self) -> pl.DataFrame:
        """RESERVED, of what is held."""
        with self._lock:
            rows = [(owner, f, held, count) for (_, owner, f), (held, count) in self._holds.sums().items()]
        return pl.concat([self._plain.reserved(), pl.DataFrame(rows, schema=RESERVED, orient="row")])

    def amounts(self, events: pl.DataFrame) -> list[tuple[str, str, Decimal]]:
        """See Quota.amounts."""
        with self._lock:
            accounted = self._accounts.amounts(events) if self._accounts is not None else []
        return [*self._plain.amounts(events), *accounted]

    def put_states(self, states: Sequence[CustomerState]) -> None:
        """See Quota.put_states."""
        with self._lock:
            self._states = by_customer(states)
        self._plain.put_states([state for state in states if state.state == "suspended"])
        self._standings.leave_out(self._states)

    def open_levels(self, levels: Sequence[LevelChange], arms: Mapping[LevelName, int]) -> None:
        """See Quota.open_levels."""
        with self._lock:
            self._open.load(levels, arms)
            self._reported.update((change.key, change.window_end) for change in map(self._open.armed, levels))

    def tick(self, now: datetime) -> None:
        """See Quota.tick: what is not exhausted any more, or at least not beyond its limit, is restored."""
        with self._lock:
            restored: list[LevelChange] = []
            closed: set[LevelName] = set()
            for change, because in self._open.due(now):
                found = self._level(change, now)
                if found is None or change.name in closed:
                    continue
                used, limit = found
                if limit is None or used < limit or (change.kind == "negative" and used == limit):
                    closed.update(level.name for level in self._open.restore(change, because))
                    if change.window_start is not None:
                        self._plain.expect_again((change.owner, change.feature, change.window_start))
                    restored.append(replace(change, kind="restored", because=because, at=now, used=used))
            if restored:
                self._on_change(restored)

    def expiring(self, now: datetime, behind: int, count: int) -> tuple[list[tuple[str, str, Expiring]], int | None]:
        """What ends soon, by customer and feature, of `count` customers behind the first `behind` of those of whom
        anything may; and how many were looked at, null: all. Levels that they have reached because something has ended
        are reported."""
        terms = self._terms
        customers = terms.expiring_customers[behind : behind + count] if terms is not None else ()
        found = [(c, f, one) for c in customers for f, one in self._expiring_of(c, now)]
        return found, behind + count if len(customers) == count else None

    def _expiring_of(self, customer: str, now: datetime) -> list[tuple[str, Expiring]]:
        """One customer at a time: nobody who asks waits for more."""
        with self._lock:
            terms, accounts = self._terms, self._accounts
            if terms is None or accounts is None:
                return []
            for feature in terms.meters:
                if terms.is_accounted(customer, feature):
                    self._reached_unseen(accounts.levels(customer, feature, now))
            within = {f: w for f, w in terms.expiring_within.items() if terms.is_accounted(customer, f)}
            return [(f, one) for f, w in within.items() for one in accounts.expiring(customer, f, now, w)]

    def _reached_unseen(self, changes: list[LevelChange]) -> None:
        """Report levels that no event has brought a quota to, but for those that were reported."""
        new = [change for change in map(self._open.armed, changes) if change.key not in self._reported]
        for change in new:
            self._open.put(change, change.at)
        self._reported.update((change.key, change.window_end) for change in new)
        if new:
            self._on_change(new)

    def customer_of(self, subject: str) -> str | None:
        """Who pays for a subject."""
        return None if self._terms is None else self._terms.customer_of(subject)

    def led_to(self, change: LevelChange) -> list[CustomerState]:
        """The states that a level change leads to, by the policies of the plans that its customer was on then."""
        terms = self._terms
        if terms is None or not terms.policies:
            return []
        agreed = terms.plain.agreements.of(change.customer)
        plans = {p for p, start, end in agreed if start <= change.at and (end is None or change.at < end)}
        return list(states_of(terms.policies, plans, change))

    def views(self, subject: str, feature: str, now: datetime) -> list[AccountView]:
        """The accounts that say what a subject may use of a feature; none where the counters of months do."""
        with self._lock:
            return [] if self._is_plain(subject, feature) else self._views(subject, feature, now)

    def _is_plain(self, subject: str, feature: str) -> bool:
        """Whether the counters of months say all."""
        terms = self._terms
        if terms is None or (feature in terms.plain_features and feature not in terms.meters):
            return True
        if feature not in terms.plain_features:
            return False
        customer = terms.customer_of(subject)
        return (customer, feature) not in terms.touched

    def _check(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer:
        assert self._terms is not None
        assert self._accounts is not None
        customer = self._terms.customer_of(subject)
        if customer is None:
            why = "no customer has this subject"
            return QuotaAnswer(False, "not_entitled", why, subject, None, feature, amount)
        asked = Asked(subject, customer, feature, amount)
        state = in_force(self._states.get(customer, ()), feature, now)
        if state is not None and state.state == "suspended":
            return QuotaAnswer(False, "suspended", state.reason, subject, customer, feature, amount, state=state.state)
        given = self._terms.given(customer, feature, now)
        if given is not None:
            answer = there_or_not(asked, given)
        elif feature not in self._terms.meters:
            why = f"no plan of {customer} includes {feature}"
            answer = QuotaAnswer(False, "not_entitled", why, subject, customer, feature, amount)
        else:
            more = units_of(state.amount) if state is not None and state.amount is not None else 0
            views = self._accounts.check_views(subject, feature, now, self._reserved)
            standing = None if state is not None else self._standing(asked, views)
            answer = judge_accounts(asked, views, more) if standing is None else standing.answer(amount, views[0].used)
        return self._restricted(answer, state) if state is not None else answer

    def _standing(self, asked: Asked, views: Sequence[AccountView]) -> AccountStanding | None:
        """Where one account says all: it is known to the next check, which needs no account then, nor the lock."""
        assert self._accounts is not None
        assert self._terms is not None
        links, gives = self._accounts.chain(asked.subject, asked.feature), self._terms.gives.get(asked.feature, {})
        is_single = len(links) == len(views) == 1 and views[0].standing.is_entitled
        if not is_single or any(one.kind != "metered" for one in gives.values()):
            return None
        who, account = (asked.subject, asked.customer, asked.feature), links[0].account
        standing = AccountStanding(who, views[0], account.sums, account.row, self._holds)
        self._standings.keep(standing)
        return standing

    def _stated(self, answer: QuotaAnswer, now: datetime) -> QuotaAnswer:
        """The answer of the counters of months, as the states of the customer have it."""
        if not self._states or answer.customer is None or answer.reason == "suspended":
            return answer
        state = in_force(self._states.get(answer.customer, ()), answer.feature, now)
        if state is None:
            return answer
        return with_overage(answer, state) if state.state == "overage" else self._restricted(answer, state)

    def _restricted(self, answer: QuotaAnswer, state: CustomerState) -> QuotaAnswer:
        if state.state != "restricted" or state.plan is None or self._terms is None:
            return answer
        return with_restriction(answer, state, self._terms.gives.get(answer.feature, {}).get(state.plan))

    def _room(self, answer: QuotaAnswer, now: datetime) -> Decimal | None:
        """What may be held at most where `answer` allows: what is left, and what may be used above the limit; null:
        all limits are soft."""
        customer = answer.customer or ""
        state = in_force(self._states.get(customer, ()), answer.feature, now)
        more = state.amount or _NOTHING if state is not None and state.state == "overage" else _NOTHING
        if self._is_plain(answer.subject, answer.feature) or (state is not None and state.state == "restricted"):
            assert answer.limit is not None
            taken = (answer.used or _NOTHING) + (answer.reserved or _NOTHING)
            return answer.limit + more - taken
        views = [v for v in self._views(answer.subject, answer.feature, now) if v.room is not None]
        hard = [(v.room or 0) + v.extra for v in views if v.span is None or v.span.enforcement != "soft"]
        return quantity_of(min(hard)) + more if hard else None

    def _views(self, subject: str, feature: str, now: datetime) -> list[AccountView]:
        if self._accounts is None:
            return []
        assert self._terms is not None
        if feature not in self._terms.meters:
            return []
        views = self._accounts.views(subject, feature, now, self._reserved)
        return [view for view in views if view.standing.is_entitled]

    def _chain(self, subject: str, feature: str) -> tuple[Link, ...]:
        if self._accounts is None or self._terms is None or feature not in self._terms.meters:
            return ()
        return self._accounts.chain(subject, feature)

    def _reserved(self, key: Key) -> int:
        return units_of_amount(self._holds.held(key))

    def _crossed(self, crossings: list[Crossing]) -> None:
        """What the counters of months report, but for customers whose accounts say it."""
        terms = self._terms
        assert terms is not None
        own = [c for c in crossings if not terms.is_accounted(c.customer, c.feature)]
        self._report([level_change(crossing, terms.zone_of(crossing.customer)) for crossing in own])

    def _is_reported(self, change: LevelChange) -> bool:
        return self._open.armed(change).key in self._reported

    def _report(self, changes: list[LevelChange]) -> None:
        armed = [self._open.armed(change) for change in changes]
        for change in armed:
            self._open.put(change, self._now())
        new = [change for change in armed if change.source is not None]
        self._reported.update((change.key, change.window_end) for change in new)
        if new:
            self._on_change(new)

    def _forget_reported(self, now: datetime) -> None:
        """Of windows that are over nothing is reported again."""
        self._reported = {key: end for key, end in self._reported.items() if end is None or end > now}

    def _level(self, change: LevelChange, now: datetime) -> tuple[Decimal, Decimal | None] | None:
        """What is used now of the quota of a level, and its limit, null: unlimited, whatever states there are; null:
        nothing entitles to it any more."""
        if self._terms is None or self._accounts is None:
            return None
        subject = change.owner if change.scope == "key" else self._terms.subject_of(change.customer)
        if subject is None:
            return None
        if self._is_plain(subject, change.feature):
            return self._plain.level(subject, change.feature, now) if change.scope != "key" else None
        if change.feature not in self._terms.meters:
            return None
        level = self._accounts.level(subject, change.feature, change.scope, change.owner, now)
        if level is None:
            return None
        return quantity_of(level.used), None if level.limit is None else quantity_of(level.limit)


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    """Null is since ever."""
    return None if one is None or other is None else min(one, other)
