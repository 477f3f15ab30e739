"""One account of a quota, live: what its segments used, and where it stands.

The sums are those of the segments from `since` on, from where on they tell what is left. What a window that is over
used, and nothing of which goes on, is forgotten.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from rating.core.quota.burn_down import Standing, burn_down
from rating.core.quota.levels import Level
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


class Account:
    """Not for several threads."""

    def __init__(self, terms: AccountTerms, since: datetime) -> None:
        """`since` is the earliest instant at which it may be asked."""
        self.terms = terms
        self._since = live_since(terms, since)
        self._known: tuple[int, Standing] | None = None
        self._sums: dict[datetime, int] = {}
        self._cut(since)

    def add(self, times: Times, units: Units, *, is_pooled: bool) -> None:
        """Count quantities at their times (microseconds). Those of a pool count where it is shared."""
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
            place = self._place(now)
            self._known = place, burn_down(self._segments[: place + 1], self._sums)
        standing = self._known[1]
        return Place(standing, self._sums.get(standing.segment.start, 0))

    def in_segment(self, times: Times, now: datetime) -> npt.NDArray[Any]:
        """Which of `times` are in the segment that `now` is in."""
        segment = self.at(now).standing.segment
        end = np.iinfo(np.int64).max if segment.end is None else _micros(segment.end)
        is_inside: npt.NDArray[Any] = (times >= _micros(segment.start)) & (times < end)
        return is_inside

    def _place(self, at: datetime) -> int:
        """The segment that `at` is in; the first, where the clock went back behind what is known."""
        return max(int(np.searchsorted(self._starts, _micros(at), side="right")) - 1, 0)

    def _reach(self, at: datetime) -> None:
        """Know the segments up to `at`."""
        end = self._segments[-1].end
        if end is not None and end <= at:
            self._cut(at)

    def _cut(self, until: datetime) -> None:
        self._segments: list[Segment] = account_segments(self.terms, self._since, until)
        self._starts = np.array([_micros(segment.start) for segment in self._segments], np.int64)

    def _forget(self, now: datetime) -> None:
        """Let go segments that say nothing any more."""
        if len(self._segments) <= SEGMENTS_MAX:
            return
        since = live_since(self.terms, now)
        if since > self._since and since in {segment.start for segment in self._segments}:
            self._since = since
            self._sums = {start: used for start, used in self._sums.items() if start >= since}
            self._cut(max(now, self._segments[-1].start))


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
