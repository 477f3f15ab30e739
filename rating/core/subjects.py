"""Usage whose subjects are integers: rating groups and joins events by number, and names come back with the results."""

import hashlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

import polars as pl

from rating.core.book import Meter
from rating.core.schema import SUBJECT_NUMBER

T = TypeVar("T")
FEW_EVENTS = 200_000


@dataclass(frozen=True)
class Usage:
    """`events` is `numbered_usage_schema` with the properties that are needed, all on [`start`, `end`), null where that
    is not known; `subjects` is SUBJECT_NUMBERS, with a row for each subject of theirs. Of events that are in memory it
    is known that they are no more than `events_max`."""

    events: pl.LazyFrame
    subjects: pl.LazyFrame
    start: datetime | None = None
    end: datetime | None = None
    events_max: int | None = None
    passes: dict[Hashable, Any] | None = field(default=None, compare=False, repr=False)  # see `remembering`

    def engine(self, meters: Iterable[Meter] = ()) -> Literal["in-memory", "streaming"]:
        """That of Polars which is done first with a query of it: the streaming one takes milliseconds to begin.

        In memory a sum that does not fit wraps silently (docs/decisions/0005-exact-amounts.md). So many properties of
        events always fit; not so what expressions make of them.
        """
        is_few = self.events_max is not None and self.events_max <= FEW_EVENTS
        return "in-memory" if is_few and all(meter.expression is None for meter in meters) else "streaming"

    def remembering(self) -> "Usage":
        """The same for who rates it several times: what passes over all events came to is kept (`once`)."""
        return replace(self, passes={})

    def once(self, key: Callable[[], Hashable], work: Callable[[], T]) -> T:
        """What `work` makes of the events; `key` gives everything that it depends on besides them."""
        if self.passes is None:
            return work()
        asked = (self.start, self.end, key())
        if asked not in self.passes:
            self.passes[asked] = work()
        made: T = self.passes[asked]
        return made

    def between(self, start: datetime, end: datetime) -> "Usage":
        """The events of [`start`, `end`). Where all are known to be, no time is looked at: a fifth of what it takes to
        sum them."""
        events, first, last = self.events, self.start, self.end
        if first is None or first < start:
            events, first = events.filter(pl.col("time") >= start), start
        if last is None or last > end:
            events, last = events.filter(pl.col("time") < end), end
        return replace(self, events=events, start=first, end=last)


def interned(events: pl.LazyFrame) -> Usage:
    """Usage of events that nobody has numbered: subjects get their numbers in the order of their names."""
    names = events.select("subject").unique().sort("subject").collect(engine="streaming")
    subjects = names.with_row_index(SUBJECT_NUMBER).select("subject", pl.col(SUBJECT_NUMBER).cast(pl.Int64)).lazy()
    return Usage(events.join(subjects, on="subject", how="left", validate="m:1"), subjects)


def frame_key(frame: pl.DataFrame) -> Hashable:
    """What tells the rows of a frame from others, in whatever order: for `Usage.once`."""
    return hashlib.sha256(frame.hash_rows(seed=0).sort().to_numpy().tobytes()).digest()


def with_numbers(named: pl.DataFrame, usage: Usage) -> pl.DataFrame:
    """The rows of `named` whose `subject` has usage, with its SUBJECT_NUMBER; it is unique where `subject` is."""
    return named.lazy().join(usage.subjects, on="subject", validate="m:1").collect(engine=usage.engine())


def with_names(numbered: pl.LazyFrame, subjects: pl.LazyFrame) -> pl.LazyFrame:
    """Rows with a SUBJECT_NUMBER, with its `subject` besides."""
    return numbered.join(subjects, on=SUBJECT_NUMBER, how="left", validate="m:1")
