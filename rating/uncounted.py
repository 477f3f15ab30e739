"""Usage that cannot be counted: a meter makes no quantity of some event, as where an expression overflows. The subjects
of such events are put aside for the feature, and everybody else is counted on; where there are too many of them, or
where it is no single event's fault, the feature is.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import polars as pl
from polars.exceptions import PanicException

from rating.core.book import Meter
from rating.core.metering import metered_events
from rating.counters import Rows, Units, counted

ANYTHING = (Exception, PanicException)
ASIDE_MAX = 100
"""With more subjects the whole feature is put aside."""
_AT_ONCE = 10_000
_log = logging.getLogger(__name__)
T = TypeVar("T")


class FeatureNotCounted(Exception):
    """Nobody knows what was used of a feature: by those who ask, or by anybody."""

    def __init__(self, feature: str, why: str) -> None:
        self.feature, self.why = feature, why
        cure = "correct the event or change the meter"
        super().__init__(f"the usage of feature {feature!r} cannot be counted: {why}; {cure}")


@dataclass
class Uncounted:
    """Features and why they could not be counted, and subjects whose usage of one could not, until everything is
    counted anew."""

    why: dict[str, str] = field(default_factory=dict)
    subjects: dict[str, dict[str, str]] = field(default_factory=dict)  # and why, by feature

    @property
    def shown(self) -> dict[str, str]:
        """What could not be counted, and why."""
        of_subjects = {f"{f} of {subject}": why for f, found in self.subjects.items() for subject, why in found.items()}
        return {**self.why, **of_subjects}

    def refuse(self, feature: str, concerns: Callable[[str], bool]) -> None:
        """Raises FeatureNotCounted where it is one of them, or where it `concerns` whoever asks what a subject that is
        put aside has used of it."""
        if feature in self.why:
            raise FeatureNotCounted(feature, self.why[feature])
        for subject, why in self.subjects.get(feature, {}).items():
            if concerns(subject):
                raise FeatureNotCounted(feature, f"{why} (subject {subject!r})")

    def concerned(self) -> set[str]:
        """The subjects of whom not all features are counted."""
        return {subject for found in self.subjects.values() for subject in found}

    def counted(self, feature: str, events: pl.DataFrame, meter: Meter) -> tuple[Rows | None, Units]:
        """See counters.py; without the events of subjects that are put aside, or are now."""
        while feature not in self.why:
            aside = self.subjects.get(feature)
            places = np.flatnonzero(~events["subject"].is_in(list(aside)).to_numpy()) if aside else None
            part = events if places is None else events[places]
            try:
                with refused_where_it_fails(feature):
                    rows, units = counted(part, meter)
            except FeatureNotCounted as error:
                self._put_aside(error, part.lazy(), meter)
                continue
            return (rows if places is None else places if rows is None else places[rows]), units
        return np.zeros(0, np.int64), np.zeros(0, np.int64)

    def of_log(self, feature: str, meter: Meter, usage: pl.LazyFrame, count: Callable[[pl.LazyFrame], T]) -> T | None:
        """What `count` makes of usage without that of such subjects; null: it makes nothing of it at all."""
        while feature not in self.why:
            part = usage.filter(~pl.col("subject").is_in(list(self.subjects.get(feature, ()))))
            try:
                with refused_where_it_fails(feature):
                    return count(part)
            except FeatureNotCounted as error:
                self._put_aside(error, part, meter)
        return None

    @contextmanager
    def where_it_fails(self, feature: str) -> Iterator[None]:
        """What goes wrong in the block makes the whole of `feature` one of them."""
        try:
            with refused_where_it_fails(feature):
                yield
        except FeatureNotCounted as error:
            self.why[feature] = error.why
            kind = type(error.__cause__ or error).__name__  # `why` may hold what was sent, which is not for logs
            _log.error("quota cannot be counted: feature %s: %s; GET /v1/quota/comparison says why", feature, kind)

    def without(self, usage: pl.LazyFrame) -> pl.LazyFrame:
        """Usage without that of all subjects of whom not all features are counted."""
        aside = self.concerned()
        return usage.filter(~pl.col("subject").is_in(list(aside))) if aside else usage

    def _put_aside(self, error: FeatureNotCounted, usage: pl.LazyFrame, meter: Meter) -> None:
        feature = error.feature
        found = failing_subjects(usage, meter)
        if not found or len(found) + len(self.subjects.get(feature, ())) > ASIDE_MAX:
            self.why[feature] = error.why
        else:
            self.subjects.setdefault(feature, {}).update(found)
        whose = f" of subjects {sorted(found)}" if feature not in self.why else ""
        _log.error("quota cannot be counted: feature %s%s: %s", feature, whose, error.why)


def failing_subjects(usage: pl.LazyFrame, meter: Meter) -> dict[str, str]:
    """The subjects of events that a meter makes no quantity of, and why; some more than ASIDE_MAX are enough. Half by
    half: an event is found with as many looks at ever smaller parts as the number of events has digits."""
    first, last = usage.select(pl.col("sequence").min(), last=pl.col("sequence").max()).collect().row(0)
    found: dict[str, str] = {}
    waiting = [] if first is None else [(first, last)]
    while waiting and len(found) <= ASIDE_MAX:
        low, high = waiting.pop()
        part = usage.filter(pl.col("sequence").is_between(low, high))
        if _why_it_fails(part, meter) is None:
            continue
        if high - low < _AT_ONCE:
            events = part.collect()
            found |= _failing(events, events["subject"].unique().to_list(), meter)
        else:
            middle = (low + high) // 2
            waiting += [(low, middle), (middle + 1, high)]
    return found


def _failing(events: pl.DataFrame, subjects: Sequence[str], meter: Meter) -> dict[str, str]:
    why = _why_it_fails(events.lazy().filter(pl.col("subject").is_in(list(subjects))), meter)
    if why is None:
        return {}
    if len(subjects) == 1:
        return {subjects[0]: why}
    half = len(subjects) // 2
    first = _failing(events, subjects[:half], meter)
    return first if len(first) > ASIDE_MAX else first | _failing(events, subjects[half:], meter)


def _why_it_fails(usage: pl.LazyFrame, meter: Meter) -> str | None:
    try:
        with refused_where_it_fails(meter.key):
            metered_events(usage, meter).select("quantity").collect()
    except FeatureNotCounted as error:
        return error.why
    return None


@contextmanager
def refused_where_it_fails(feature: str) -> Iterator[None]:
    """Raises FeatureNotCounted for what goes wrong in the block, unless it is no fault of the feature."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except ANYTHING as error:
        raise FeatureNotCounted(feature, next(iter(str(error).splitlines()), type(error).__name__)) from error
