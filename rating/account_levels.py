"""The levels that usage of accounts has crossed, and the events that did it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.account import Account, Place
from rating.core.quota.answer import Scope
from rating.core.quota.judging import quantity_of
from rating.core.quota.levels import EXHAUSTED, NEGATIVE, levels_of, reached
from rating.core.quota.seam import LevelChange
from rating.counters import Units
from rating.segment_sums import Times

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: dict[str, Literal["exhausted", "negative"]] = {EXHAUSTED: "exhausted", NEGATIVE: "negative"}
Key = tuple[Scope, str, str]
"""key or customer, the owner, the feature."""


@dataclass(frozen=True, slots=True)
class Link:
    """An account that counts what a subject uses."""

    scope: Scope
    key: Key
    customer: str
    account: Account


@dataclass(frozen=True, slots=True)
class Used:
    """What events used of one feature; an item is a subject (the number of its name), units, a time in microseconds."""

    feature: str
    names: Sequence[str]  # each once
    numbers: npt.NDArray[np.int64]
    units: Units
    times: Times
    sequences: npt.NDArray[np.int64]


def crossed(link: Link, before: Place, used: Used, rows: npt.NDArray[np.int64], now: datetime) -> Iterator[LevelChange]:
    """The levels that usage has crossed; `source` is the sequence of the event that did, to be looked up."""
    after, below = link.account.at(now), newly(link, before, now)
    if not below:
        return
    thresholds = thresholds_of(after)
    inside = rows[link.account.in_segment(used.times[rows], now)]
    running = before.level.used + np.cumsum(used.units[inside].astype(object)) if len(inside) else np.zeros(0, object)
    for units, name in reached(thresholds, after.level):
        if name in below:
            met = np.flatnonzero(running >= units)
            row = int(inside[met[0]]) if len(met) else int(rows[-1])
            level_used = int(running[met[0]]) if len(met) else after.level.used
            change = change_at(link, after, name)
            at = _EPOCH + timedelta(microseconds=int(used.times[row]))
            yield replace(change, used=quantity_of(level_used), at=at, source=str(used.sequences[row]))


def newly(link: Link, before: Place, now: datetime) -> list[str]:
    """The levels that are reached and were not before, ascending."""
    after = link.account.at(now)
    if not after.standing.is_entitled or after.level.used <= before.level.used:
        return []
    thresholds = thresholds_of(after)
    old = {name for _, name in reached(thresholds, before.level)}
    current = {name for _, name in levels_of(thresholds, after.level.limit)}
    return [name for _, name in reached(thresholds, after.level) if name in current - old]


def thresholds_of(place: Place) -> tuple[str, ...]:
    """The thresholds that are declared for the segment."""
    span = place.standing.segment.span
    return span.thresholds if span is not None else ()


def change_at(link: Link, place: Place, level: str) -> LevelChange:
    """A level that is reached, whichever event did it."""
    segment, limit = place.standing.segment, place.level.limit
    return LevelChange(
        kind=_KINDS.get(level, "threshold"),
        scope="key" if link.scope == "key" else "customer",
        owner=link.key[1],
        customer=link.customer,
        feature=link.key[2],
        window_start=segment.window_start,
        window_end=segment.window_end,
        level=level,
        limit=quantity_of(limit if limit is not None else 0),
        used=quantity_of(place.level.used),
        arm=0,
        at=segment.start,
    )


def with_events(changes: Sequence[LevelChange], events: pl.LazyFrame) -> list[LevelChange]:
    """The same with the `source` and `id` of the events."""
    wanted = {int(change.source or 0) for change in changes}
    rows = events.filter(pl.col("sequence").is_in(list(wanted))).select("sequence", "source", "id").collect()
    by_sequence = {sequence: (source, id) for sequence, source, id in rows.iter_rows()}
    found = []
    for change in changes:
        source, id = by_sequence[int(change.source or 0)]
        found.append(replace(change, source=source, id=id))
    return found
