"""Usage far above the subject's own, looked for beside ingest: no event waits for it.

The writer only hands over the groups that it made durable. A thread of its own adds them up by subject once a second,
for the window that is running, and asks the log for the history of those alone that have used enough to matter, once
for each window. It rests for several times as long as it worked. With a window that begins, a correction, or more
groups than it keeps, it reads the running window from the log again.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from threading import Event, Lock, Thread
from typing import Protocol

import polars as pl

from ingest.log import UsageLog
from rating.core.book import Meter, PriceBook
from rating.core.metering import metered_events
from rating.core.quota.anomalies import BOUND, USED, AnomalyRule, anomaly_rules, bounds_of, far_above, used_of
from rating.core.quota.seam import LevelChange
from rating.uncounted import ANYTHING

LOOK_SECONDS = 1.0
REST_TIMES = 4  # as long as it worked
ROWS_MAX = 1_000_000  # events that wait for a look
SUBJECTS_MAX = 1_000  # whose history one look reads
_COLUMNS = ("subject", "time", "quantity")
_log = logging.getLogger(__name__)


class Payers(Protocol):
    def customer_of(self, subject: str) -> str | None:
        """Who pays for a subject."""
        ...


@dataclass
class _Watched:
    """One rule in the window that is running."""

    rule: AnomalyRule
    meter: Meter
    start: datetime
    end: datetime
    used: pl.DataFrame
    bounds: pl.DataFrame = field(default_factory=BOUND.to_frame)
    told: set[str] = field(default_factory=set)


class AnomalyWatch:
    """Looks from `start` to `close`; `put` and `changed` may be called from any thread, and wait for nothing."""

    def __init__(
        self,
        read_book: Callable[[], PriceBook | None],
        read_log: Callable[[], UsageLog],
        payers: Payers,
        report: Callable[[Sequence[LevelChange]], None],
        now: Callable[[], datetime],
    ) -> None:
        self._read_book, self._read_log, self._payers = read_book, read_log, payers
        self._report, self._now = report, now
        self._lock, self._looking, self._ending = Lock(), Lock(), Event()
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0
        self._is_watching = self._is_old = False
        self._book: PriceBook | None = None
        self._watched: dict[str, _Watched] = {}
        self._last_sequence = 0  # that is in what was read
        self._thread = Thread(target=self._run, name="anomalies", daemon=True)

    def put(self, events: pl.DataFrame) -> None:
        """Newly accepted events (USAGE_EVENT with property columns)."""
        if not self._is_watching:
            return
        with self._lock:
            self._waiting.append(events)
            self._rows += events.height
            if self._rows > ROWS_MAX:
                self._forget()

    def changed(self) -> None:
        """Events that were counted are not in force any more."""
        with self._lock:
            self._forget()

    def start(self) -> None:
        """Begin to look by itself."""
        self._thread.start()

    def close(self) -> None:
        """End; an anomaly that was not found yet is found by the next process, while its window runs."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join()

    def look(self) -> None:
        """Look now, in this thread."""
        with self._looking:
            self._take_rules()
            if not self._watched:
                return
            now = self._now()
            self._count(now)
            changes = [change for watched in self._watched.values() for change in self._found(watched, now)]
        if changes:
            self._report(changes)

    def _run(self) -> None:
        rest = LOOK_SECONDS
        while not self._ending.wait(rest):
            began = time.monotonic()
            try:
                self.look()
            except ANYTHING:
                _log.exception("anomalies cannot be looked for; trying again")
                self.changed()
            rest = max(LOOK_SECONDS, REST_TIMES * (time.monotonic() - began))

    def _forget(self) -> None:
        self._waiting, self._rows, self._is_old = [], 0, True

    def _take_rules(self) -> None:
        """Those of the catalog in force."""
        book = self._read_book()
        if book is self._book:
            return
        self._book, self._watched = book, {}
        rules = anomaly_rules(book.feature_rules) if book is not None else []
        if book is not None and rules:
            meters, now = {meter.key: meter for meter in book.meters}, self._now()
            meter_of = {feature: meters[key] for feature, key in book.features.drop_nulls().iter_rows()}
            for rule in rules:
                window = rule.window_at(now)
                self._watched[rule.feature] = _Watched(rule, meter_of[rule.feature], *window, USED.to_frame())
        self._is_watching = bool(rules)
        self.changed()

    def _count(self, now: datetime) -> None:
        """Bring what subjects used up to now."""
        with self._lock:
            groups, is_old = self._waiting, self._is_old
            self._waiting, self._rows, self._is_old = [], 0, False
        over = [watched for watched in self._watched.values() if not watched.start <= now < watched.end]
        for watched in over:
            watched.start, watched.end = watched.rule.window_at(now)
            watched.bounds, watched.told = BOUND.to_frame(), set()
        if is_old or over:
            self._count_log()
        elif groups:
            events = pl.concat(groups, how="diagonal").filter(pl.col("sequence") > self._last_sequence)
            self._add(events.lazy())

    def _count_log(self) -> None:
        for watched in self._watched.values():
            watched.used = USED.to_frame()
        snapshot = self._read_log().scan(start=min(watched.start for watched in self._watched.values()))
        self._last_sequence = snapshot.last_sequence
        self._add(snapshot.frame)

    def _add(self, events: pl.LazyFrame) -> None:
        for watched in self._watched.values():
            metered = metered_events(events, watched.meter).select(_COLUMNS)
            added = used_of(metered, watched.start, watched.end).collect()
            if added.height:
                both = pl.concat([watched.used, added])
                watched.used = both.group_by("subject").agg(pl.col("quantity").sum())

    def _found(self, watched: _Watched, now: datetime) -> list[LevelChange]:
        """What is far above and was not told yet."""
        much = watched.used.filter(pl.col("quantity") >= pl.lit(watched.rule.at_least, dtype=USED["quantity"]))
        unknown = much.join(watched.bounds, on="subject", how="anti")["subject"].head(SUBJECTS_MAX)
        if len(unknown):
            watched.bounds = pl.concat([watched.bounds, self._bounds(watched, unknown)])
        found = far_above(much, watched.bounds, watched.rule).sort("subject")
        new = [(row[0], row[1], row[2]) for row in found.iter_rows() if row[0] not in watched.told]
        payers = [(row, self._payers.customer_of(row[0])) for row in new]
        watched.told.update(row[0] for row, customer in payers if customer is not None)
        return [_change(watched, customer, row, now) for row, customer in payers if customer is not None]

    def _bounds(self, watched: _Watched, subjects: pl.Series) -> pl.DataFrame:
        since = watched.rule.history_of(watched.start)
        log = self._read_log().scan(start=since, end=watched.start, subjects=subjects.to_list())
        return bounds_of(metered_events(log.frame, watched.meter).select(_COLUMNS), watched.rule, subjects)


def _change(watched: _Watched, customer: str, row: tuple[str, Decimal, Decimal], now: datetime) -> LevelChange:
    subject, used, bound = row
    return LevelChange(
        kind="anomaly",
        scope="key",
        owner=subject,
        customer=customer,
        feature=watched.rule.feature,
        window_start=watched.start,
        window_end=watched.end,
        level="anomaly",
        limit=bound,
        used=used,
        arm=0,
        at=now,
    )
