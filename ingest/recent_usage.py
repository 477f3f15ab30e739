"""Usage of the last weeks in memory, in the order of its subjects, for those who ask for few subjects, again and again.

The problem: the events of one subject lie in as many files as the period has days, and to look into each of them takes
longer than to rate what is found. The choice: what rating reads of an event, in parts that are sorted by subject, so
that a subject is a few slices. Parts are never changed, as events are not: what came behind them is a further part, and
what corrections hide is left out of the slices. So `scan` gives what `UsageLog.scan` gives, of any state of the log.
What it gives up: memory, some 60 bytes an event, from the first question on; and a log that is larger is asked itself.

It is made in a thread of its own; until that has ended, the log is asked.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Lock, Thread
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.backfill_shown import NUMBER_BITS, ShownBackfill
from ingest.contents import View
from ingest.log import UsageLog, UsageSnapshot
from ingest.usage_table import TableSnapshot, within, without
from rating.core.schema import SUBJECT_NUMBER, PropertyType, property_column

KEPT = timedelta(days=40)  # more than a month, in every time zone
KEPT_MAX = 2 * KEPT  # from then on what is old is dropped
EVENTS_MAX = 20_000_000
BEHIND_MAX = 100_000  # events that a question adds by itself
MERGED_MAX = 1_000_000
_PART = timedelta(days=7)
Engine: TypeAlias = Literal["in-memory", "streaming"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Part:
    """Events in the order of SUBJECT_NUMBER, `subjects`; texts are categories."""

    events: pl.DataFrame
    subjects: npt.NDArray[np.int64]

    @classmethod
    def of(cls, events: pl.LazyFrame, properties: Mapping[str, PropertyType], engine: Engine = "streaming") -> "_Part":
        texts = ["type", *(property_column(name) for name, kind in properties.items() if kind == "string")]
        columns = ["type", SUBJECT_NUMBER, "time", "sequence", *map(property_column, properties)]
        chosen = events.select(columns).with_columns(pl.col(texts).cast(pl.Categorical()))
        return cls.sorted([chosen.collect(engine=engine)])

    @classmethod
    def sorted(cls, events: Sequence[pl.DataFrame]) -> "_Part":
        ordered = pl.concat(events).sort(SUBJECT_NUMBER).rechunk()
        return cls(ordered, ordered[SUBJECT_NUMBER].to_numpy())

    def of_subjects(self, numbers: Sequence[int]) -> list[pl.DataFrame]:
        wanted = np.array(numbers, np.int64)
        firsts, ends = np.searchsorted(self.subjects, wanted, "left"), np.searchsorted(self.subjects, wanted, "right")
        return [self.events.slice(at, end - at) for at, end in zip(firsts, ends, strict=True) if end > at]


@dataclass(frozen=True)
class _Kept:
    """All events from `start` up to `last_sequence`, and of `backfills`, with those that corrections hide."""

    parts: tuple[_Part, ...]
    start: datetime
    last_sequence: int
    properties: Mapping[str, PropertyType]
    backfills: tuple[ShownBackfill, ...]

    def fits(self, view: View, properties: Mapping[str, PropertyType], now: datetime) -> bool:
        """Whether it can answer for `view`, where nothing is missing behind it."""
        is_large = self.start < now - KEPT_MAX or _rows(self.parts) > EVENTS_MAX
        shown, here = ([_said(one) for one in backfills] for backfills in (view.backfills, self.backfills))
        return not is_large and self.properties == properties and here == shown

    def with_more(self, log: UsageLog, view: View) -> "_Kept":
        """With what `view` has behind it."""
        events = log.scan(start=self.start, view=_behind(view, self.last_sequence), properties=self.properties).frame
        new = events.filter(pl.col("sequence") > self.last_sequence)
        parts = [*self.parts, _Part.of(new, self.properties, "in-memory")]  # few: streaming takes longer to begin
        while len(parts) > 1 and _rows(parts[-2:]) <= min(MERGED_MAX, 3 * _rows(parts[-1:])):
            parts[-2:] = [_Part.sorted([part.events for part in parts[-2:]])]
        return replace(self, parts=tuple(parts), last_sequence=view.last_sequence)

    def of_subjects(self, numbers: Sequence[int]) -> pl.DataFrame:
        """All that is kept of these subjects."""
        found = [events for part in self.parts for events in part.of_subjects(numbers)]
        return pl.concat([*found, self.parts[-1].events.clear()])

    def shown(self, found: pl.DataFrame, view: View) -> pl.LazyFrame:
        """What `view` shows of events that are kept, as the log has them."""
        events = found.lazy()
        if view.last_sequence < self.last_sequence:
            events = events.filter(
                (pl.col("sequence") <= view.last_sequence) | (pl.col("sequence") >= 1 << NUMBER_BITS)
            )
        hidden = view.corrected.hidden_with(view.backfills)
        seen = without(events, hidden) if len(hidden) else events
        return seen.with_columns(pl.col(pl.Categorical()).cast(pl.String))


class RecentUsage:
    """For any number of threads."""

    def __init__(self, log: UsageLog, now: Callable[[], datetime]) -> None:
        self._log, self._now = log, now
        self._lock = Lock()
        self._kept: _Kept | None = None
        self._making: Thread | None = None

    def scan(
        self,
        *,
        start: datetime | None,
        end: datetime | None,
        subjects: Collection[str] | None,
        view: View,
        properties: Mapping[str, PropertyType] | None = None,
    ) -> UsageSnapshot:
        """As `UsageLog.scan`, with the columns that rating reads."""
        declared = self._log.declared if properties is None else properties
        kept = None
        if subjects is not None and start is not None and start >= self._first_day():
            kept = self._up_to(view, declared)
        if kept is None or subjects is None or start is None or start < kept.start:
            return self._log.scan(start=start, end=end, subjects=subjects, view=view, properties=properties)
        named = self._log.numbers_of(subjects)
        found = kept.of_subjects(named[SUBJECT_NUMBER].to_list())
        events = within(kept.shown(found, view), start, end)
        backfills = tuple(backfill.id for backfill in view.backfills)
        last = view.last_sequence
        return UsageSnapshot(events, named.lazy(), view.table.version, last, backfills, start, end, found.height)

    def wait(self) -> None:
        """Until what was begun is made."""
        making = self._making
        if making is not None:
            making.join()

    def _first_day(self) -> datetime:
        return (self._now() - KEPT).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    def _up_to(self, view: View, properties: Mapping[str, PropertyType]) -> _Kept | None:
        """What is kept, with all that `view` has; null where it is not there yet."""
        with self._lock:
            kept, now = self._kept, self._now()
            if kept is None or not kept.fits(view, properties, now):
                self._make(None, view, properties)
                return None
            if view.last_sequence > kept.last_sequence + BEHIND_MAX:
                self._make(kept, view, properties)
                return None
            if view.last_sequence > kept.last_sequence:
                kept = self._kept = kept.with_more(self._log, view)
            return kept

    def _make(self, kept: _Kept | None, view: View, properties: Mapping[str, PropertyType]) -> None:
        """Begin to make it, or what it lacks; the lock is held."""
        if self._making is not None and self._making.is_alive():
            return
        if kept is None:
            self._kept = None
        self._making = Thread(target=self._made, args=(kept, view, properties), name="recent-usage", daemon=True)
        self._making.start()

    def _made(self, kept: _Kept | None, view: View, properties: Mapping[str, PropertyType]) -> None:
        try:
            made = self._first(view, properties) if kept is None else kept.with_more(self._log, view)
        except Exception as error:
            _log.error("recent usage cannot be kept in memory; it is read from the log", exc_info=error)
            return
        with self._lock:
            self._kept = made

    def _first(self, view: View, properties: Mapping[str, PropertyType]) -> _Kept | None:
        start, now = self._first_day(), self._now()
        days = view.table.files.filter(pl.col("day") >= start.date())
        if days["rows"].sum() + sum(frame.height for frame in view.frames) > EVENTS_MAX:
            return None
        whole = replace(view, corrected=view.corrected.up_to(0))
        cuts = [start + place * _PART for place in range((now - start) // _PART + 1)]
        parts = []
        for first, following in pairwise([*cuts, None]):
            events = self._log.scan(start=first, end=following, view=whole, properties=properties).frame
            parts.append(_Part.of(events, properties))
        return _Kept(tuple(parts), start, view.last_sequence, properties, view.backfills)


def _behind(view: View, last_sequence: int) -> View:
    """`view` with the files and frames that hold what is behind a sequence: of its backfills only what they hide."""
    frames = []
    for frame in reversed(view.frames):
        if frame.height and frame["sequence"][-1] <= last_sequence:
            break
        frames.append(frame)
    return replace(
        view,
        table=replace(view.table, files=view.table.files.filter(pl.col("last_sequence") > last_sequence)),
        frames=tuple(reversed(frames)),
        corrected=view.corrected.up_to(0),
        backfills=tuple(replace(one, table=_empty(one), frames=()) for one in view.backfills),
    )


def _empty(backfill: ShownBackfill) -> TableSnapshot:
    return replace(backfill.table, files=backfill.table.files.clear())


def _said(backfill: ShownBackfill) -> tuple[object, ...]:
    """What tells what a backfill hides and shows from what another does, or the same at another time."""
    sums = [(len(one), one.sum()) for one in (backfill.hidden, backfill.refused)]
    behind = sum(frame.height for frame in backfill.frames)
    return backfill.id, backfill.number, backfill.opened_sequence, backfill.table.last_sequence + behind, *sums


def _rows(parts: Sequence[_Part]) -> int:
    return sum(part.events.height for part in parts)
