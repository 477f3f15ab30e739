"""Judge events: accepted, duplicate, conflict or rejected. Pure: what is known and what time it is come in as values.

`screen` looks at each event by itself, in the thread that submits; `judge` looks at a group of batches against what is
known, in the one thread that commits.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import polars as pl

from ingest.decode import Decoded, Problem
from ingest.identity import BodyHash, IdentityHash, event_hashes, take_hashes
from ingest.limits import IngestLimits
from ingest.schema import DAY
from ingest.verdicts import EventVerdict
from rating.core.schema import INSTANT

REQUIRED = ("id", "source", "type", "subject")
SHOWN_BYTES = 80
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@dataclass(frozen=True)
class Candidates:
    """The well formed events of one batch of `total`, with the stored columns but `sequence`; `index` is their place in
    the batch. `rejected` are the others."""

    total: int
    index: np.ndarray
    events: pl.DataFrame
    identity: IdentityHash
    fingerprint: BodyHash
    rejected: tuple[EventVerdict, ...]
    is_atomic: bool = False  # all of its events are taken, or none

    def __len__(self) -> int:
        return self.total


def screen(decoded: Decoded, *, now: datetime, limits: IngestLimits, seeds: tuple[int, int]) -> Candidates:
    """Reject what breaks a rule by itself, and make the others ready to store. An event without time happened `now`."""
    events = decoded.events
    problems = {**_broken_rules(decoded, now, limits), **decoded.problems}
    rejected = tuple(_verdict(events, row, problem) for row, problem in problems.items())
    index = np.arange(events.height)
    if problems:
        index = np.setdiff1d(index, np.fromiter(problems, np.int64, len(problems)), assume_unique=True)
    kept = events[index] if problems else events
    received = pl.lit((now - _EPOCH) // _MICROSECOND, dtype=pl.Int64).cast(INSTANT)  # faster than of a datetime
    time = pl.col("time").fill_null(received)
    hashes = event_hashes(tuple(events.columns), seeds)
    ready = kept.with_columns_seq(time, time.dt.date().alias(DAY), received.alias("received_at"), *hashes)
    return Candidates(events.height, index, ready, *take_hashes(ready), rejected)


@dataclass(frozen=True)
class Judgement:
    """On each event of a group, in order. `first` is the row of the group that has its identity first: most are it.

    An event is new when it is not known and is its own first. Of the others, those of `unsure` have another fingerprint
    than the event they repeat: they must be compared with it; the rest are duplicates.
    """

    is_new: np.ndarray
    first: np.ndarray
    unsure: np.ndarray


def judge(identity: IdentityHash, fingerprint: BodyHash, known: np.ndarray, known_fingerprint: BodyHash) -> Judgement:
    """Tell the new events of a group from repetitions, of known events (`known`) and of each other."""
    first = _first_rows(identity)
    own = np.arange(len(first))
    is_new = ~known & (first == own)
    expected = np.where(known, known_fingerprint, fingerprint[first])
    return Judgement(is_new, first, np.flatnonzero(~is_new & (fingerprint != expected)))


def _first_rows(identity: IdentityHash) -> np.ndarray:
    """For each row the first row with the same identity."""
    high, low = identity
    first = np.arange(len(high))
    ascending = np.sort(high)
    if not (ascending[1:] == ascending[:-1]).any():
        return first
    order = np.lexsort((low, high))  # stable: rows of one identity stay in their order
    starts = np.ones(len(order), bool)
    starts[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    first[order] = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    return first


def _broken_rules(decoded: Decoded, now: datetime, limits: IngestLimits) -> dict[int, Problem]:
    """The first rule that each event breaks, of those whose decoding left no problem."""
    events = decoded.events
    texts = tuple(name for name, dtype in events.schema.items() if dtype == pl.String)
    rules, broken_anywhere = _rules(texts, limits)
    broken = events.select(broken_anywhere).row(0, named=True)
    latest = now + limits.future_tolerance
    if broken["time"] is not None and broken["time"] > latest:
        rules = {**rules, "time_in_future": pl.col("time") > latest}
        broken["time_in_future"] = True
    problems: dict[int, Problem] = {}
    for name in (name for name in rules if broken[name]):
        for row in events.select(rules[name].fill_null(False)).to_series().arg_true():
            if row not in decoded.problems and row not in problems:
                problems[row] = _problem(name, events, row, now, limits)
    return problems


@lru_cache(maxsize=16)  # building expressions costs more than running them on a small batch
def _rules(texts: tuple[str, ...], limits: IngestLimits) -> tuple[dict[str, pl.Expr], list[pl.Expr]]:
    """The rules of events with these `texts`, and a row of which any event breaks, and the newest time."""
    is_empty = {f"missing_{name}": pl.col(name).fill_null("").str.len_bytes() == 0 for name in REQUIRED}
    is_long = {f"string_too_long {name}": pl.col(name).str.len_bytes() > _bytes_max(name, limits) for name in texts}
    rules = is_empty | is_long
    return rules, [*(rule.any().alias(name) for name, rule in rules.items()), pl.col("time").max()]


def _bytes_max(column: str, limits: IngestLimits) -> int:
    return limits.data_bytes if column == "data" else limits.string_bytes


def _problem(rule: str, events: pl.DataFrame, row: int, now: datetime, limits: IngestLimits) -> Problem:
    code, _, name = rule.partition(" ")
    if code == "string_too_long":
        return Problem(
            code, f"{_name(name)} has {len(events[name][row].encode())} bytes; send at most {_bytes_max(name, limits)}"
        )
    if code == "time_in_future":
        return Problem(
            code,
            f"time is {events['time'][row].isoformat()}, the clock here says {now.isoformat()}; set the sender's clock",
        )
    attribute = code.removeprefix("missing_")
    return Problem(code, f"{attribute} is absent or empty; send a string that is not empty")


def _name(column: str) -> str:
    return column.removeprefix("data_")


def _verdict(events: pl.DataFrame, row: int, problem: Problem) -> EventVerdict:
    return EventVerdict(row, _cut(events["source"][row]), _cut(events["id"][row]), problem.code, problem.message)


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= SHOWN_BYTES else f"{text[: SHOWN_BYTES - 3]}..."
