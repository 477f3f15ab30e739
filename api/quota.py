"""Live quota as the service runs it: never stale, and rebuilt no more often than needed.

A rebuild reads the whole log, and customers are often put one by one. So a change of catalog, customers or
subscriptions only marks the terms as old, and the next check or the next accepted event pays for one rebuild: a
thousand changes in a row cost one. What it gives up: that one check or event waits for it.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from threading import Lock

import polars as pl

from rating.core.quota import Crossing, QuotaAnswer
from rating.live_quota import LiveQuota, Terms


class QuotaService:
    """The counters of one engine. Every method may be called from any thread."""

    def __init__(
        self,
        read_terms: Callable[[], Terms | None],
        read_usage: Callable[[], tuple[pl.LazyFrame, int]],
        on_crossing: Callable[[list[Crossing]], None],
    ) -> None:
        """`read_terms` gives None before the first catalog; the others are those of LiveQuota."""
        self._read_terms = read_terms
        self._lock = Lock()
        self._old = True
        self._live = LiveQuota(read_usage, on_crossing)

    def terms_changed(self) -> None:
        """A catalog, customer or subscription is another one now."""
        with self._lock:
            self._old = True

    def refresh(self) -> None:
        """Count again if the terms are old, so that every limit reached by now is recorded."""
        with self._lock:
            self._refresh()

    def count(self, events: pl.DataFrame) -> None:
        """Add newly accepted events; when this returns, every check sees them."""
        with self._lock:
            self._refresh()
            self._live.count(events)

    def check(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer:
        """Whether `subject` may use `amount` more of `feature`; waits while counters are rebuilt."""
        with self._lock:
            self._refresh()
            return self._live.check(subject, feature, amount, now)

    def check_at_once(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer | None:
        """The same in microseconds, or None when it would have to wait."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return None if self._old else self._live.check(subject, feature, amount, now)
        finally:
            self._lock.release()

    def _refresh(self) -> None:
        if self._old:
            terms = self._read_terms()
            if terms is not None:
                self._live.rebuild(terms)
            self._old = False
