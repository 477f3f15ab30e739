"""What a customer's open billing periods come to by now: the same that a rating run of now would make of them.

A billing period belongs to the month in which it ends, and so these months are rated, for this customer alone; of their
lines those of open periods are the answer. Nothing is recorded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

import polars as pl

from api.history import Known
from api.rating_inputs import Gathered, RatingSources, Records
from ingest.more_usage import MoreUsage
from ingest.recent_usage import RecentUsage
from rating.core.book import PriceBook
from rating.core.lines import CHARGE_LINE, totals
from rating.core.periods import Month, month_of
from rating.core.service_periods import AGAIN, open_periods
from store import Store

RECORDS_KEPT = 1_000
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class CurrentCharges:
    """`as_of` an instant, with every event up to `last_sequence`. `periods` is OPEN_PERIOD, `lines` CHARGE_LINE by id,
    `totals` as of a run."""

    customer: str
    as_of: datetime
    last_sequence: int
    periods: pl.DataFrame
    lines: pl.DataFrame
    totals: pl.DataFrame


class CurrentChargesService:
    """For any number of threads."""

    def __init__(self, store: Store, sources: RatingSources, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now
        self._recent = RecentUsage(sources.log, now)
        self._sources = replace(sources, recent=self._recent)
        self._records = lru_cache(RECORDS_KEPT)(self._records_of)

    def of_customer(self, customer: str, book: PriceBook) -> CurrentCharges:
        """Raises NotFound, AmountOverflow."""
        known, now = Known(self._sources.log.view(), self._store.changes.last()), self._now()
        records = self._records(customer, known.change, book)
        if records.accounts.subscriptions.is_empty():
            self._store.customers.get(customer)
        periods = open_periods(records.accounts.subscriptions, now)
        gathered = [
            self._sources.gather(month, book, customers=[customer], known=known, records=records)
            for month in _months(periods)
        ]
        lines = _lines(gathered).join(periods, on=AGAIN.names(), how="semi").sort("line")
        return CurrentCharges(customer, now, known.view.last_sequence, periods, lines, totals(lines, book))

    def lines_with(self, customer: str, book: PriceBook, more: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """CHARGE_LINE of the open periods as they are, and as they would be with `more` events of one subject
        (USAGE_EVENT). Raises AmountOverflow."""
        known = Known(self._sources.log.view(), self._store.changes.last())
        records = self._records(customer, known.change, book)
        months = _months(open_periods(records.accounts.subscriptions, self._now()))
        with_more = replace(self._sources, recent=MoreUsage(self._recent, more))
        as_is, would_be = (
            [source.gather(month, book, customers=[customer], known=known, records=records) for month in months]
            for source in (self._sources, with_more)
        )
        return _lines(as_is), _lines(would_be)

    def _records_of(self, customer: str, change: int, book: PriceBook) -> Records:
        """What was known by `change` stays as it is, and so it is kept of who is asked for often."""
        return self._sources.records(book, change, [customer])

    def close(self) -> None:
        """Wait for what is under way in the background."""
        self._recent.wait()


def _lines(gathered: Sequence[Gathered]) -> pl.DataFrame:
    return pl.concat([CHARGE_LINE.to_frame(), *(one.rated_part().lines for one in gathered)])


def _months(periods: pl.DataFrame) -> list[Month]:
    """The calendar months to which OPEN_PERIOD belong."""
    ends = periods.select("period_end", "time_zone").unique().iter_rows()
    return sorted({month_of(end - _TICK, zone) for end, zone in ends})
