"""What a backfill replaces: events of a span of time, of some types and subjects or of all. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np
import polars as pl

from ingest.admission import SHOWN_BYTES, Candidates
from ingest.usage_table import days_of
from ingest.verdicts import OUTSIDE_BACKFILL, EventVerdict


@dataclass(frozen=True)
class BackfillRange:
    """The events of [`start`, `end`), of `types` and of `subjects` where these name any."""

    start: datetime
    end: datetime
    types: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    def matches(self) -> pl.Expr:
        """Whether an event is in the range."""
        found = (pl.col("time") >= self.start) & (pl.col("time") < self.end)
        for name, values in (("type", self.types), ("subject", self.subjects)):
            found = found & pl.col(name).is_in(list(values)) if values else found
        return found

    def overlaps(self, other: "BackfillRange") -> bool:
        """Whether an event can be in both."""
        meet = self.start < other.end and other.start < self.end
        return meet and _share(self.types, other.types) and _share(self.subjects, other.subjects)

    def days(self) -> tuple[date | None, date | None]:
        """The first and the last UTC day that it touches."""
        return days_of(self.start, self.end)


def only_within(candidates: Candidates, wanted: BackfillRange) -> Candidates:
    """Reject the candidates that are not in the range."""
    is_in = candidates.events.select(wanted.matches().alias("is_in"))["is_in"].to_numpy()
    if is_in.all():
        return candidates
    outside = np.flatnonzero(~is_in)
    places = candidates.index[outside].tolist()
    rejected = [
        EventVerdict(place, _cut(event["source"]), _cut(event["id"]), OUTSIDE_BACKFILL, _message(event, wanted))
        for place, event in zip(places, candidates.events[outside].iter_rows(named=True), strict=True)
    ]
    high, low = candidates.identity
    return replace(
        candidates,
        index=candidates.index[is_in],
        events=candidates.events.filter(pl.Series(is_in)),
        identity=(high[is_in], low[is_in]),
        fingerprint=candidates.fingerprint[is_in],
        rejected=(*candidates.rejected, *rejected),
    )


def _share(some: Sequence[str], others: Sequence[str]) -> bool:
    return not some or not others or not set(some).isdisjoint(others)


def _message(event: dict[str, object], wanted: BackfillRange) -> str:
    time = event["time"]
    assert isinstance(time, datetime)
    if not wanted.start <= time < wanted.end:
        said = "has no time, so it happened now" if time == event["received_at"] else f"happened {time.isoformat()}"
        return (
            f"the event {said}; the backfill replaces {wanted.start.isoformat()} to {wanted.end.isoformat()} "
            "(exclusive). Post it as an ordinary event, or open a backfill of a wider range"
        )
    name = "type" if wanted.types and event["type"] not in wanted.types else "subject"
    return f"the backfill does not replace events of {name} {_cut(str(event[name]))!r}; post it as an ordinary event"


def _cut(text: object) -> str:
    shown = str(text)
    return shown if len(shown) <= SHOWN_BYTES else f"{shown[: SHOWN_BYTES - 3]}..."
