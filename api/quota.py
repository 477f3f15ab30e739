"""Live quota as the service runs it: never stale, and rebuilt no more often than needed.

Terms change often, customer by customer. So a change of catalog, customers or subscriptions only marks the terms as
old, and the next check or the next accepted event pays for reading them and counting again the usage of the customers
that they concern: a thousand changes in a row cost one. Another catalog, a backfill and whatever went wrong have all
usage counted again. What it gives up: that one check or event waits for it.

Events are durable before they are counted here, so no trouble of the database may refuse them. A crossing that cannot
be recorded waits in memory and is tried again; after a restart it is found again in the log, under the same id. The
same holds for whatever else may go wrong while events are counted, such as an expression whose value is no quantity:
nothing is raised into the writer, which would take no event any more. It is logged, and the next check counts again.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from threading import Lock

import polars as pl

from api.quota_counts import QuotaCounts
from ingest.correction_judge import CorrectionEffect
from rating.core.quota.answer import QuotaAnswer
from rating.core.quota.expiring import Expiring
from rating.core.quota.seam import CustomerState, Hold, LevelChange, LevelName
from rating.entitled_quota import EntitledQuota
from rating.live_quota import ReadUsage
from rating.quota_terms import QuotaTerms
from rating.uncounted import ANYTHING
from store.errors import DatabaseUnavailable

RETRY_SECONDS = 1.0
COMPARISONS_MAX = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """How many counters were compared with the log, those that are `different` (COMPARED), and the features that could
    not be counted, or not of one subject, with why."""

    compared: int
    different: pl.DataFrame
    uncounted: dict[str, str]


class QuotaService:
    """The counters of one engine. Every method may be called from any thread."""

    def __init__(
        self,
        read_terms: Callable[[], QuotaTerms | None],
        read_usage: ReadUsage,
        on_crossing: Callable[[list[LevelChange]], None],
        now: Callable[[], datetime],
    ) -> None:
        """`read_terms` gives None before the first catalog; the others are those of EntitledQuota."""
        self._read_terms, self._now = read_terms, now
        self.answers = QuotaCounts()
        self._lock = Lock()
        self._old = self._is_uncounted = True
        self._trouble: str | None = None
        self._recount_at = 0.0  # not before this does anything but a check count again
        self._live = EntitledQuota(read_usage, on_crossing, now)

    def terms_changed(self) -> None:
        """A catalog, customer or subscription is another one now."""
        with self._lock:
            self._old = True

    def usage_changed(self) -> None:
        """The log shows other usage of the past now."""
        with self._lock:
            self._old = self._is_uncounted = True

    def refresh(self) -> None:
        """Count again if the terms are old, so that every limit reached by now is recorded as soon as it can be.

        Raises DatabaseUnavailable when the terms cannot be read; anything else that goes wrong is as for `count`.
        """
        with self._lock:
            try:
                self._refresh()
            except DatabaseUnavailable:
                raise
            except ANYTHING as error:
                self._put_off(error)

    def count(self, events: pl.DataFrame) -> None:
        """Add newly accepted events; when this returns, every check sees them.

        Raises nothing. When the terms cannot be read, or anything else goes wrong, the terms are old: the next check
        waits for them, and for a count of the whole log.
        """
        self._move(lambda: self._live.count(events))

    def correct(self, effect: CorrectionEffect) -> None:
        """Take off events that are out of force now, and add those that replace them; see `count`."""
        self._move(lambda: self._correct(effect))

    def _correct(self, effect: CorrectionEffect) -> None:
        self._live.correct(effect.out, effect.in_force, effect.last_sequence)
        if self._live.uncounted:  # perhaps it put an event out of force that could not be counted
            self._old = self._is_uncounted = True

    def check(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer:
        """Whether `subject` may use `amount` more of `feature`; waits while counters are rebuilt.

        Raises DatabaseUnavailable when the terms cannot be read.
        """
        with self._lock:
            self._refresh()
            return self._live.check(subject, feature, amount, now)

    def check_at_once(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer | None:
        """The same in microseconds, or None when it would have to wait."""
        return None if self._old else self._live.check_at_once(subject, feature, amount, now)

    def check_many(self, asked: pl.DataFrame, now: datetime) -> pl.DataFrame:
        """QUOTA_ANSWERED of QUOTA_ASKED, in the same order."""
        with self._lock:
            self._refresh()
        return self._live.check_many(asked, now)

    def comparison(self) -> Comparison:
        """Every counter beside a metering query over the log. What differs is looked at again: a correction may have
        come between."""
        for _ in range(COMPARISONS_MAX):
            with self._lock:
                self._refresh()
            found, uncounted = self._live.comparison(), self._live.uncounted
            different = found.filter(pl.col("counted") != pl.col("metered"))
            if different.is_empty():
                break
        return Comparison(found.height, different, uncounted)

    def hold(
        self, id: str, subject: str, feature: str, amount: Decimal, minimum: Decimal, now: datetime
    ) -> Hold | QuotaAnswer:
        """See Quota.hold. Raises DatabaseUnavailable when the terms cannot be read."""
        with self._lock:
            self._refresh()
            return self._live.hold(id, subject, feature, amount, minimum, now)

    def restore_hold(self, hold: Hold) -> None:
        """A hold of before the start, also where there is no room for it any more."""
        with self._lock:
            self._refresh()
            self._live.restore_hold(hold, self._now())

    def shrink(self, id: str, by: Decimal) -> None:
        """So much of a hold was used or given back."""
        self._live.shrink(id, by)

    def drop(self, id: str) -> None:
        """Give a hold back."""
        self._live.drop(id)

    def reserved(self) -> pl.DataFrame:
        """RESERVED, of what is held."""
        return self._live.reserved()

    def amounts(self, events: pl.DataFrame) -> list[tuple[str, str, Decimal]]:
        """(subject, feature, quantity) that events (USAGE_EVENT) would count."""
        with self._lock:
            self._refresh()
            return self._live.amounts(events)

    def put_states(self, states: Sequence[CustomerState]) -> None:
        """All states of all customers: the next check obeys them."""
        self._live.put_states(states)

    def expiring(self, now: datetime, behind: int, count: int) -> tuple[list[tuple[str, str, Expiring]], int | None]:
        """See EntitledQuota.expiring."""
        return self._live.expiring(now, behind, count)

    def customer_of(self, subject: str) -> str | None:
        """Who pays for a subject."""
        return self._live.customer_of(subject)

    def led_to(self, change: LevelChange) -> list[CustomerState]:
        """The states that a level change leads to, by the policies of plans."""
        return self._live.led_to(change)

    def open_levels(self, levels: Sequence[LevelChange], arms: Mapping[LevelName, int]) -> None:
        """At the start: the levels that were raised and not restored, and how often any was restored in its window."""
        self._live.open_levels(levels, arms)

    def tick(self, now: datetime) -> None:
        """Time has passed: what was exhausted may have room again."""
        with self._lock:
            if not self._old:
                self._live.tick(now)

    @property
    def trouble(self) -> str | None:
        """Why the counters could not be brought up to date the last time; null where they could."""
        return self._trouble

    @property
    def uncounted(self) -> dict[str, str]:
        """The features whose usage cannot be counted, and why."""
        return self._live.uncounted

    def _move(self, move: Callable[[], None]) -> None:
        """Move the counters in the writer's thread: the events are durable, and what it raises ends ingest."""
        with self._lock:
            if self._old and time.monotonic() < self._recount_at:
                return
            try:
                self._refresh()
                move()
            except ANYTHING as error:
                self._put_off(error)

    def _put_off(self, error: BaseException) -> None:
        """Count again later; some of the counters may have moved, and others not."""
        self._old = self._is_uncounted = True
        self._trouble = f"quota cannot be counted: {type(error).__name__}; it is tried again"
        self._recount_at = time.monotonic() + RETRY_SECONDS
        is_expected = isinstance(error, DatabaseUnavailable)
        _log.error("quota cannot be counted: %s; trying again", error, exc_info=None if is_expected else error)

    def _refresh(self) -> None:
        if self._old:
            terms = self._read_terms()
            if terms is not None:
                take = self._live.rebuild if self._is_uncounted else self._live.renew
                self._is_uncounted = True  # should it fail in between
                take(terms, self._now())
                self._is_uncounted = False
            self._old, self._trouble = False, None
