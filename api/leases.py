"""Leases: slices of a quota that gateways spend by themselves, and single calls that reserve what they may use.

The problem: a gateway of many requests a second cannot ask for each, and a call does not know what it will use before
it ends. The choice: a slice is held in the counters, so that nobody else is given it, and is a row of the database
before it is answered; what was used of it is reported as a cumulative number with a sequence, becomes a row and then an
event with an identity of its own, and the hold shrinks when the counters have moved. So at every moment
used + held >= what was really used of the slices, and a limit is not passed but by

- usage above a slice, and usage of a slice that is reported after it has expired;
- open slices, when the limit falls below what is taken already.

A crash forgets nothing: at the start open leases hold again what is left of them, before anything is served, and
reports that may not be in the log are submitted again, under the same identity. What it gives up: a slice that nobody
reports on is kept from others until it expires, and a report costs two commits, shared with those that come with it.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import uuid4

from api.kept_leases import Kept, KeptLeases
from api.lease_events import LeaseEvents, note, time_of
from api.lease_keeper import LeaseKeeper
from api.slices import Slice
from ingest.errors import IngestError, Overloaded
from rating.core.money import plain
from rating.core.quota.answer import EXACT, QuotaAnswer
from rating.core.quota.seam import Hold, Quota
from store.changes import Now
from store.errors import DatabaseUnavailable, DatabaseUncertain, IdTaken, NotFound, Refused, StoreError, UsageGoesBack
from store.leases import Lease, LeaseChange, LeaseReport, Leases, State

_log = logging.getLogger(__name__)
SUBMITTED_TOGETHER = 256
TICK_SECONDS = 1.0
KEPT = timedelta(days=30)
SWEEP = timedelta(hours=1)
_NOTHING = Decimal(0)


@dataclass(frozen=True)
class LeaseAsked:
    """A slice of `amount`, or of at least `minimum` where there is less. `data` goes into each event of it."""

    id: str | None
    subject: str
    feature: str
    amount: Decimal
    minimum: Decimal
    seconds: int
    records: Literal["usage", "nothing"]
    data: dict[str, Any]

    @property
    def given(self) -> dict[str, Any]:
        """The same for numbers that are equal."""
        numbers = {"amount": plain(self.amount), "minimum": plain(self.minimum), "seconds": self.seconds}
        return {"subject": self.subject, "feature": self.feature, **numbers, "records": self.records, "data": self.data}


@dataclass(frozen=True)
class ReportAsked:
    """`used` is what was used of the lease since it was made; null where a release says nothing of it."""

    sequence: int | None
    used: Decimal | None
    at: datetime | None = None
    data: dict[str, Any] = field(default_factory=dict)
    renew: Decimal | None = None


class LeaseService:
    """The leases of one data directory. Every method may be called from any thread; `open` comes first."""

    def __init__(self, leases: Leases, events: LeaseEvents, quota: Quota, now: Now, *, open_max: int) -> None:
        self._leases, self._events, self._quota, self._now, self._open_max = leases, events, quota, now, open_max
        self._keeper = LeaseKeeper(leases.write)
        self._kept = KeptLeases()
        self._swept_at: datetime | None = None
        self._overspent = self._unreported = 0
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-expiry", daemon=True)

    def open(self) -> None:
        """Hold what is left of the open leases, and submit again what may not be in the log."""
        now = self._now()
        self._keeper.start()
        waiting: dict[str, list[LeaseReport]] = {}
        for report in self._leases.unrecorded():
            waiting.setdefault(report.lease, []).append(report)
        opened = {lease.id: lease for lease in self._leases.open()}
        ended = (self._leases.get(id) for id in waiting if id not in opened)
        for lease in (*opened.values(), *ended):
            self._adopt(lease, waiting.get(lease.id, []), now)
        self._submit_again(self._kept.waiting())
        self.tick()
        self._thread.start()

    def close(self) -> None:
        """Write what waits, then end."""
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._keeper.stop()

    def make(self, asked: LeaseAsked) -> Lease | QuotaAnswer:
        """A new slice, durable; or why there is none. The same under the same id is answered as it is by now.

        Raises IdTaken, Refused, Overloaded, DatabaseUnavailable.
        """
        id = asked.id or f"lease_{uuid4().hex}"
        with self._kept.alone(id):
            if asked.id is not None and (found := self._found(id)) is not None:
                if found.lease.given != asked.given:
                    raise IdTaken([f"lease {id!r} is there already, and is another one; take another id"])
                return found.lease
            if len(self._kept) >= self._open_max:
                raise Overloaded(f"{self._open_max} leases are open; send it again after a moment")
            now = self._now()
            if asked.records == "usage":
                self._events.check(id, asked.subject, asked.feature, now, asked.data)
            return self._made(id, asked, now)

    def report(self, id: str, asked: ReportAsked) -> Lease:
        """Record what was used, and fill the slice up where it is to be renewed. A report that was there, or is older
        than another that was, changes nothing. Usage of a lease that has ended, or above its slice, is usage.

        Raises NotFound, UsageGoesBack, Refused, DatabaseUnavailable, and what UsageLog.submit raises: the report may be
        sent again.
        """
        with self._kept.alone(id):
            kept = self._get(id)
            self._record_waiting(kept)
            is_newest = asked.sequence is None or asked.sequence >= kept.lease.sequence
            self._take(kept, asked, is_release=False)
            if asked.renew is not None and is_newest and kept.lease.state == "open":
                self._renew(kept, asked.renew, self._now())
            return kept.lease

    def release(self, id: str, asked: ReportAsked) -> Lease:
        """End a lease, with a last report if there is one; what it did not use is anybody's at once. Raises as
        `report`."""
        with self._kept.alone(id):
            kept = self._get(id)
            self._record_waiting(kept)
            self._take(kept, asked, is_release=True)
            self._settle(kept)
            return kept.lease

    def get(self, id: str) -> Lease:
        """Raises NotFound."""
        return self._as_of_now(self._leases.get(id))

    def page(self, customer: str | None, state: State | None, after: str | None, limit: int) -> list[Lease]:
        """By id; see Leases.page."""
        found = self._leases.page(customer=customer, state=state, now=self._now(), after=after, limit=limit)
        return [self._as_of_now(lease) for lease in found]

    def standing(self, lease: Lease) -> QuotaAnswer:
        """The quota that a lease is of, as it is now."""
        return self._quota.check(lease.subject, lease.feature, _NOTHING, self._now())

    def status(self) -> dict[str, int]:
        """How many are open; and since the start, how many expired before all of their slice was reported, and how
        many reports said more than the slice had."""
        return {"open": len(self._kept), "unreported": self._unreported, "overspent": self._overspent}

    def tick(self) -> None:
        """End what has expired, submit again what could not be, remove what ended long ago. To be called every second
        or so."""
        now = self._now()
        for expires_at, id in self._kept.overdue(now):
            with self._kept.alone(id):
                try:
                    _ = id in self._kept and self._found(id)  # what is looked at and is over has expired
                except DatabaseUnavailable:
                    self._kept.watch(expires_at, id)
                    raise
        self._retry()
        if self._swept_at is None or now - self._swept_at >= SWEEP:
            self._swept_at = now
            while self._leases.remove_ended(now - KEPT):
                pass

    def _made(self, id: str, asked: LeaseAsked, now: datetime) -> Lease | QuotaAnswer:
        standing = self._quota.check(asked.subject, asked.feature, _NOTHING, now)
        if standing.customer is None:
            return standing
        slice = Slice(self._quota, id)
        held = slice.fill(asked.subject, asked.feature, asked.amount, asked.minimum, now)
        if isinstance(held, QuotaAnswer):
            if held.allowed:
                raise Refused([f"feature {asked.feature!r} has no amount that could be leased"])
            return held
        lease = Lease(
            id=id,
            subject=asked.subject,
            customer=standing.customer,
            feature=asked.feature,
            granted=held.amount,
            used=_NOTHING,
            sequence=0,
            records=asked.records,
            state="open",
            made_at=now,
            expires_at=_earlier(now + timedelta(seconds=asked.seconds), held.ends_at),
            segment_ends_at=held.ends_at,
            ended_at=None,
            given=asked.given,
        )
        kept = Kept(lease, slice)
        try:
            self._write(kept, LeaseChange([lease]))
        except BaseException:
            if kept.is_uncertain:
                self._keep(kept)
            else:
                slice.drop()
            raise
        self._keep(kept)
        return lease

    def _take(self, kept: Kept, asked: ReportAsked, *, is_release: bool) -> None:
        """A report that is new becomes a row, with the end of the lease in the same transaction, and then an event."""
        lease, now = kept.lease, self._now()
        ends = is_release and lease.state == "open"
        after = replace(lease, state="released", ended_at=now) if ends else lease
        used = lease.used if asked.used is None else asked.used
        sequence = lease.sequence + 1 if asked.sequence is None else asked.sequence
        if sequence <= lease.sequence or (asked.sequence is None and used == lease.used):
            if ends:
                self._change(kept, after)
            return
        if used < lease.used:
            said = f"{plain(lease.used)} that report {lease.sequence} of lease {lease.id!r} said"
            raise UsageGoesBack([f"{plain(used)} is less than the {said}: `used` is cumulative"])
        delta, at = EXACT.subtract(used, lease.used), time_of(lease, asked.at, now)
        event = self._events.of_report(lease, sequence, delta, at, asked.data)
        report = LeaseReport(lease.id, sequence, used, delta, at, event, recorded=event is None)
        self._change(kept, replace(after, used=used, sequence=sequence), report)
        self._overspent += used > lease.granted and delta > 0
        if event is None:
            kept.slice.shrink(delta)
            return
        kept.waiting.append(report)
        self._kept.put(kept)
        self._settle(kept)
        self._record_waiting(kept)

    def _renew(self, kept: Kept, amount: Decimal, now: datetime) -> None:
        """Bring what is left of the slice up to `amount`, as far as there is room, and its time too."""
        lease = kept.lease
        missing = EXACT.subtract(amount, kept.slice.left)
        held: Hold | QuotaAnswer | None = None
        if missing > 0:
            minimum = min(missing, max(Decimal(lease.given["minimum"]), self._own_room(kept, now)))
            held = kept.slice.fill(lease.subject, lease.feature, missing, minimum, now)
        granted = EXACT.add(lease.used, kept.slice.left) if isinstance(held, Hold) else lease.granted
        expires_at = _earlier(now + timedelta(seconds=lease.given["seconds"]), lease.segment_ends_at)
        try:
            self._change(kept, replace(lease, granted=granted, expires_at=expires_at))
        except BaseException:
            if isinstance(held, Hold) and not kept.is_uncertain:
                kept.slice.give_back(held.id)
            raise
        self._kept.watch(expires_at, lease.id)

    def _own_room(self, kept: Kept, now: datetime) -> Decimal:
        """What is left of the quota where nobody else holds any of it: what it holds itself makes no slice smaller."""
        standing = self._quota.check(kept.lease.subject, kept.lease.feature, _NOTHING, now)
        is_alone = standing.reserved == kept.slice.left and standing.remaining is not None
        return standing.remaining or _NOTHING if is_alone else _NOTHING

    def _change(self, kept: Kept, lease: Lease, report: LeaseReport | None = None) -> None:
        """Write a lease as it is from now on. Raises DatabaseUnavailable: then it is as it was."""
        self._write(kept, LeaseChange([lease], [] if report is None else [report]))
        kept.lease = lease

    def _write(self, kept: Kept, change: LeaseChange) -> None:
        try:
            self._keeper.write(change)
        except DatabaseUncertain:
            kept.is_uncertain = True
            raise

    def _record_waiting(self, *together: Kept) -> None:
        """Bring reports into the log; what they used is not held any more then. Raises as UsageLog.submit."""
        futures = [(kept, report, self._events.submit(report)) for kept in together for report in kept.waiting]
        for kept, report, future in futures:
            note(report, future.result())
            self._keeper.write_later(report.lease, LeaseChange(recorded=[(report.lease, report.sequence)]))
            kept.slice.shrink(report.delta)
            kept.waiting.remove(report)
            self._settle(kept)

    def _submit_again(self, waiting: Sequence[Kept]) -> None:
        """At the start, before anybody else is here."""
        try:
            for begin in range(0, len(waiting), SUBMITTED_TOGETHER):
                self._record_waiting(*waiting[begin : begin + SUBMITTED_TOGETHER])
        except IngestError as error:
            _log.error("reports of leases wait to be recorded: %s; trying again", error)

    def _settle(self, kept: Kept) -> None:
        """A lease that has ended holds no more than its reports that are not in the log, and is forgotten with them."""
        if kept.lease.state != "open":
            kept.slice.keep(sum((report.delta for report in kept.waiting), _NOTHING))
        self._kept.settle(kept)

    def _expire_if_over(self, kept: Kept, now: datetime) -> None:
        lease = kept.lease
        if lease.state == "open" and lease.expires_at <= now:
            kept.lease = replace(lease, state="expired", ended_at=lease.expires_at)
            self._unreported += lease.used < lease.granted
            self._keeper.write_later(lease.id, LeaseChange([kept.lease]))
            self._settle(kept)

    def _retry(self) -> None:
        """What waits for the log, once more; it goes on waiting where the log takes nothing."""
        for id in self._kept.unsent():
            with self._kept.alone(id):
                if (kept := self._kept.get(id)) is not None:
                    self._record_waiting(kept)

    def _run(self) -> None:
        while not self._is_stopping.wait(TICK_SECONDS):
            try:
                self.tick()
            except (IngestError, StoreError) as error:
                _log.error("leases cannot be looked after: %s; trying again", error)

    def _get(self, id: str) -> Kept:
        """Raises NotFound."""
        found = self._found(id)
        if found is None:
            raise NotFound("lease", id)
        return found

    def _found(self, id: str) -> Kept | None:
        """The lease as it is now, from here or from the database."""
        now = self._now()
        kept = self._kept.get(id)
        if kept is None or kept.is_uncertain:
            self._keeper.flush(id)
            stored = self._leases.find(id)
            fresh = None if stored is None else self._adopt(stored, self._leases.unrecorded(of=id), now)
            if kept is not None:
                kept.slice.drop()
                if self._kept.get(id) is kept:
                    self._kept.forget(id)
            kept = fresh
        if kept is not None:
            self._expire_if_over(kept, now)
        return kept

    def _adopt(self, lease: Lease, waiting: list[LeaseReport], now: datetime) -> Kept:
        """Take a lease from the database: it holds what is left of it, and what may not be counted yet."""
        if lease.state == "open" and lease.expires_at <= now:
            lease = replace(lease, state="expired", ended_at=lease.expires_at)
            self._keeper.write_later(lease.id, LeaseChange([lease]))
        kept = Kept(lease, Slice(self._quota, lease.id), waiting)
        unspent = max(EXACT.subtract(lease.granted, lease.used), _NOTHING) if lease.state == "open" else _NOTHING
        held = sum((report.delta for report in waiting), unspent)
        if held and (lease.segment_ends_at is None or now < lease.segment_ends_at):
            kept.slice.restore(lease.subject, lease.feature, held, lease.segment_ends_at)
        if lease.state == "open" or waiting:
            self._keep(kept)
        return kept

    def _keep(self, kept: Kept) -> None:
        self._kept.put(kept)
        if kept.lease.state == "open":
            self._kept.watch(kept.lease.expires_at, kept.lease.id)

    def _as_of_now(self, lease: Lease) -> Lease:
        is_over = lease.state == "open" and lease.expires_at <= self._now()
        return replace(lease, state="expired", ended_at=lease.expires_at) if is_over else lease


def _earlier(instant: datetime, end: datetime | None) -> datetime:
    return instant if end is None else min(instant, end)
