"""Judge events: accepted, duplicate, conflict or rejected. Pure: what is known and what time it is come in as values.

`screen` looks at each event by itself, in the thread that submits; `judge` looks at a group of batches against what is
known, in the one thread that commits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.decode import Decoded, Problem
from ingest.identity import BodyHash, IdentityHash, body_hash, identity_hash, text_hashes
from ingest.limits import IngestLimits
from ingest.schema import DAY, FINGERPRINT
from ingest.verdicts import EventVerdict
from rating.core.schema import INSTANT
from rating.words import words_of

REQUIRED = ("id", "source", "type", "subject")
SHOWN_BYTES = 80
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_DAY_MICROSECONDS = 86_400_000_000


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


def screen(
    decoded: Decoded,
    *,
    now: datetime,
    limits: IngestLimits,
    seeds: tuple[int, int],
    required: Sequence[str] = REQUIRED,
) -> Candidates:
    """Reject what breaks a rule by itself, and make the others ready to store. An event without time happened `now`."""
    events = decoded.events
    columns = events.get_columns()
    texts = tuple(column.name for column in columns if column.dtype == pl.String)
    computed = events.select_seq(_computed(texts, seeds))
    problems = {**_broken_rules(decoded, computed, texts, now, limits, required), **decoded.problems}
    rejected = tuple(_verdict(events, row, problem) for row, problem in problems.items())
    index = np.arange(events.height)
    if problems:
        index = np.setdiff1d(index, np.fromiter(problems, np.int64, len(problems)), assume_unique=True)
        events, computed = events[index], computed[index]
    others = (events.get_column(column.name) for column in columns if column.name not in texts)
    fingerprint = body_hash(computed, texts, others)
    return Candidates(
        len(decoded.events), index, _ready(events, now, fingerprint), identity_hash(computed), fingerprint, rejected
    )


@lru_cache(maxsize=16)  # building expressions costs more than running them on a small batch
def _computed(texts: tuple[str, ...], seeds: tuple[int, int]) -> list[pl.Expr]:
    """All that one query computes of events with these `texts`: their lengths and hashes."""
    return [*(pl.col(name).str.len_bytes().alias(name) for name in texts), *text_hashes(texts, seeds)]


def _ready(events: pl.DataFrame, now: datetime, fingerprint: BodyHash) -> pl.DataFrame:
    """The events with the other columns that are stored."""
    micros = (now - _EPOCH) // _MICROSECOND
    time = events.get_column("time")
    if time.null_count():
        time = time.to_physical().fill_null(micros).cast(INSTANT)
        events = events.with_columns(time)
    received = pl.Series("received_at", np.full(events.height, micros)).cast(INSTANT)
    days = (words_of(time) // _DAY_MICROSECONDS).astype(np.int32)
    return events.hstack([pl.Series(DAY, days).cast(pl.Date), received, pl.Series(FINGERPRINT, fingerprint)])


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


def _broken_rules(
    decoded: Decoded,
    lengths: pl.DataFrame,
    texts: Sequence[str],
    now: datetime,
    limits: IngestLimits,
    required: Sequence[str],
) -> dict[int, Problem]:
    """The first rule that each event breaks, of those whose decoding left no problem; `lengths` are the bytes of each
    text."""
    problems: dict[int, Problem] = {}
    for rule, rows in _broken(decoded.events, lengths, texts, now, limits, required):
        for row in rows.tolist():
            if row not in decoded.problems and row not in problems:
                problems[row] = _problem(rule, decoded.events, row, now, limits)
    return problems


def _broken(
    events: pl.DataFrame,
    lengths: pl.DataFrame,
    texts: Sequence[str],
    now: datetime,
    limits: IngestLimits,
    required: Sequence[str],
) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """Each rule that is broken, in their order, and the rows that break it."""
    sizes = {name: lengths.get_column(name) for name in texts}
    for name in required:
        if sizes[name].null_count() or sizes[name].min() == 0:
            yield f"missing_{name}", np.flatnonzero(sizes[name].fill_null(0).to_numpy() == 0)
    for name in texts:
        bytes_max = _bytes_max(name, limits)
        if (longest := sizes[name].max()) is not None and longest > bytes_max:  # type: ignore[operator]  # integers
            yield f"string_too_long {name}", np.flatnonzero(sizes[name].fill_null(0).to_numpy() > bytes_max)
    time, latest = events.get_column("time"), now + limits.future_tolerance
    if (newest := time.max()) is not None and newest > latest:  # type: ignore[operator]  # instants
        yield "time_in_future", np.flatnonzero((time > latest).fill_null(False).to_numpy())


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
