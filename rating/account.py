"""One account of a quota, live: where it stands by what its segments used.

What they used is kept in SegmentSums, so an account may be dropped and made again at any time. The sums that matter
are those of the segments from `since` on, from where on they tell what is left. What a window that is over used, and
nothing of which goes on, is forgotten.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from rating.core.quota.burn_down import Standing, burn_down
from rating.core.quota.levels import Level, levels_of
from rating.core.quota.segments import Segment, account_segments, live_since
from rating.core.quota.terms import AccountTerms
from rating.counters import Units
from rating.segment_sums import FIRST, LAST, SegmentSums, Times

SEGMENTS_MAX = 256
"""With more of them it is looked whether the oldest still matter."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an account stands at an instant: at the start of a segment, and what that used."""

    standing: Standing
    used: int

    @property
    def level(self) -> Level:
        """What is used in the window, of what limit."""
        before, available = self.standing.window_used_before, self.standing.available
        return Level(before + self.used, None if available is None else before + available)


class Account:
    """Not for several threads."""

    def __init__(self, terms: AccountTerms, since: datetime, sums: SegmentSums, row: int) -> None:
        """`since` is the earliest instant at which it may be asked; its sums are in a row of `sums`."""
        self.terms = terms
        self.sums, self.row = sums, row
        self._since = live_since(terms, since)
        self._known: tuple[int, Standing] | None = None
        self._cut(since)

    def add(self, times: Times, units: Units, *, is_pooled: bool) -> None:
        """Count quantities at their times (microseconds). Those of a pool count where it is shared."""
        self._reach(instant_of(int(times.max())))
        places = np.searchsorted(self._starts, times, side="right") - 1
        for place in np.unique(places[places >= 0]).tolist():
            span = self._segments[place].span
            if (is_pooled and not (span is not None and span.shared)) or (span is None and not self.terms.has_grants):
                continue
            self.sums.add(self.row, int(self._starts[place]), sum(map(int, units[places == place])))
            if self._known is not None and place < self._known[0]:
                self._known = None

    def expect(self, now: datetime) -> None:
        """Have the segment that `now` is in at hand, so that what changes its sum alone is counted without asking."""
        place = self.at(now)
        segment, level = place.standing.segment, place.level
        span = segment.span
        levels = levels_of(span.thresholds, level.limit) if span is not None else []
        least = min((units for units, _ in levels if units > level.used), default=None)
        before = place.standing.window_used_before
        end = LAST if segment.end is None else micros(segment.end)
        is_nothing = span is None and not self.terms.has_grants  # what is used then is of no account
        start = FIRST if is_nothing else micros(segment.start)
        self.sums.turn(self.row, start, end, None if least is None else least - before)
        if self.terms.is_plain:
            self.sums.forget(self.row, micros(segment.window_start or segment.start))

    def is_expected(self, now: datetime) -> bool:
        """Whether that segment, or a later one, is at hand."""
        return micros(now) < int(self.sums.end[self.row])  # which is 0 where none is known

    def starts(self, until: datetime) -> Times:
        """When the segments begin that are known up to `until` (microseconds), ascending."""
        self._reach(until)
        return self._starts

    def used_since(self, now: datetime) -> dict[datetime, int]:
        """What segments used, by their start, of those that say what is left at `now`."""
        since = micros(live_since(self.terms, now))
        return {instant_of(at): used for at, used in self.sums.items(self.row) if at >= since}

    def at(self, now: datetime) -> Place:
        """Where it stands."""
        self._reach(now)
        if self._known is None or self._known[0] != self._place(now):
            self._forget(now)
            place = self._place(now)
            segments = self._segments[: place + 1]
            used = {s.start: self.sums.used(self.row, micros(s.start)) for s in segments}
            self._known = place, burn_down(segments, used)
        standing = self._known[1]
        return Place(standing, self.sums.used(self.row, micros(standing.segment.start)))

    def in_segment(self, times: Times, now: datetime) -> npt.NDArray[Any]:
        """Which of `times` are in the segment that `now` is in."""
        segment = self.at(now).standing.segment
        end = LAST if segment.end is None else micros(segment.end)
        is_inside: npt.NDArray[Any] = (times >= micros(segment.start)) & (times < end)
        return is_inside

    def _place(self, at: datetime) -> int:
        """The segment that `at` is in; the first, where the clock went back behind what is known."""
        return max(int(np.searchsorted(self._starts, micros(at), side="right")) - 1, 0)

    def _reach(self, at: datetime) -> None:
        """Know the segments up to `at`."""
        end = self._segments[-1].end
        if end is not None and end <= at:
            self._cut(at)

    def _cut(self, until: datetime) -> None:
        self._segments: list[Segment] = account_segments(self.terms, self._since, until)
        self._starts = np.array([micros(segment.start) for segment in self._segments], np.int64)

    def _forget(self, now: datetime) -> None:
        """Let go segments that say nothing any more."""
        if len(self._segments) <= SEGMENTS_MAX:
            return
        since = live_since(self.terms, now)
        if since > self._since and since in {segment.start for segment in self._segments}:
            self._since = since
            self.sums.forget(self.row, micros(since))
            self._cut(max(now, self._segments[-1].start))


def micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def instant_of(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND
