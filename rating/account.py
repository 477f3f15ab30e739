"""One account of a quota, live: what its segments used, and where it stands.

The sums are those of the segments from `since` on, from where on they tell what is left. What a window that is over
used, and nothing of which goes on, is forgotten.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from rating.core.quota.burn_down import Standing, burn_down
from rating.core.quota.levels import Level, levels_of
from rating.core.quota.segments import Segment, account_segments, live_since
from rating.core.quota.terms import AccountTerms
from rating.counters import Units

SEGMENTS_MAX = 256
"""With more of them it is looked whether the oldest still matter."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
Times = npt.NDArray[np.int64]


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


@dataclass(frozen=True, slots=True)
class _Quiet:
    """A segment, [start, end) in microseconds, in which nothing happens as long as it used less than `least`."""

    start: int
    end: int
    segment: datetime
    least: int | float  # infinite: there is no level above


class Account:
    """Not for several threads."""

    def __init__(self, terms: AccountTerms, since: datetime) -> None:
        """`since` is the earliest instant at which it may be asked."""
        self.terms = terms
        self._since = live_since(terms, since)
        self._known: tuple[int, Standing] | None = None
        self._quiet: _Quiet | None = None
        self._sums: dict[datetime, int] = {}
        self._cut(since)

    def add(self, times: Times, units: Units, *, is_pooled: bool) -> None:
        """Count quantities at their times (microseconds). Those of a pool count where it is shared."""
        self._quiet = None
        self._reach(_EPOCH + int(times.max()) * _MICROSECOND)
        places = np.searchsorted(self._starts, times, side="right") - 1
        for place in np.unique(places[places >= 0]).tolist():
            segment = self._segments[place]
            if is_pooled and not (segment.span is not None and segment.span.shared):
                continue
            added = sum(map(int, units[places == place]))
            self._sums[segment.start] = self._sums.get(segment.start, 0) + added
            if self._known is not None and place < self._known[0]:
                self._known = None

    def add_quietly(self, first: int, last: int, units: int, now: int) -> bool:
        """Count what was used from `first` to `last` (microseconds, as `now`), when that changes nothing but the sum of
        the segment that `now` is in, and reaches no level; else count nothing, and say so."""
        quiet = self._quiet
        if quiet is None or not (quiet.start <= min(first, now) and max(last, now) < quiet.end):
            return False
        used = self._sums.get(quiet.segment, 0) + units
        if units < 0 or used >= quiet.least:
            return False
        self._sums[quiet.segment] = used
        return True

    def expect(self, now: datetime) -> None:
        """From now on `add_quietly` may count."""
        place = self.at(now)
        segment, level = place.standing.segment, place.level
        end = np.iinfo(np.int64).max if segment.end is None else micros(segment.end)
        span = segment.span
        levels = levels_of(span.thresholds, level.limit) if span is not None else []
        higher = [units for units, _ in levels if units > level.used]
        least = min(higher, default=None)
        before = place.standing.window_used_before
        self._quiet = _Quiet(micros(segment.start), end, segment.start, inf if least is None else least - before)

    def starts(self, until: datetime) -> Times:
        """When the segments begin that are known up to `until` (microseconds), ascending."""
        self._reach(until)
        return self._starts

    def sums(self, now: datetime) -> dict[datetime, int]:
        """What segments used, by their start, of those that say what is left at `now`."""
        since = live_since(self.terms, now)
        return {start: used for start, used in self._sums.items() if start >= since}

    def at(self, now: datetime) -> Place:
        """Where it stands."""
        self._reach(now)
        if self._known is None or self._known[0] != self._place(now):
            self._forget(now)
            self._quiet = None
            place = self._place(now)
            self._known = place, burn_down(self._segments[: place + 1], self._sums)
        standing = self._known[1]
        return Place(standing, self._sums.get(standing.segment.start, 0))

    def in_segment(self, times: Times, now: datetime) -> npt.NDArray[Any]:
        """Which of `times` are in the segment that `now` is in."""
        segment = self.at(now).standing.segment
        end = np.iinfo(np.int64).max if segment.end is None else micros(segment.end)
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
            self._sums = {start: used for start, used in self._sums.items() if start >= since}
            self._cut(max(now, self._segments[-1].start))


def micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
