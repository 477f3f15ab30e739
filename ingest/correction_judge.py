"""Judge corrections: accepted, duplicate, conflict or rejected. Pure: what they name comes in as frames.

One by one, in the order of the body: a correction may name one before it. That is a loop over rows, which events do
not have; corrections are few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import polars as pl

from ingest.admission import Candidates
from ingest.comparison import Row, difference
from ingest.correction_body import TARGET_ID, TARGET_SOURCE
from ingest.correction_state import ENDED, VOID, Corrector
from ingest.schema import CORRECTION, DAY, FINGERPRINT
from ingest.verdicts import CONFLICT, EventVerdict, repetition
from rating.core.schema import INSTANT, PropertyType

Key = tuple[str, str]

_TAKEN = pl.Schema(
    {"type": pl.String(), "subject": pl.String(), "time": INSTANT, DAY: pl.Date(), "corrects": CORRECTION["corrects"]}
)


@dataclass(frozen=True)
class CorrectionCandidates(Candidates):
    """Corrections that are well formed: `events` has CORRECTION_FIELDS besides. `found` are the stored events that
    they name or repeat, as far as the log had accepted them up to `found_sequence`."""

    found: pl.DataFrame = field(default_factory=pl.DataFrame)
    found_sequence: int = 0


@dataclass(frozen=True)
class CorrectionJudgement:
    """`accepted` are rows of the candidates, in order; `taken` has what each accepted one takes from the event that it
    corrects, and the sequence of that (`corrects`). `verdicts` are on all others."""

    accepted: list[int]
    taken: pl.DataFrame
    verdicts: list[EventVerdict]


@dataclass(frozen=True)
class _Standing:
    """An event that is there, or that was accepted before in the same body."""

    sequence: int
    correction: str | None
    fingerprint: int
    type: str
    subject: str
    time: datetime
    day: date
    row: Row  # all of its columns


def judge_corrections(
    candidates: CorrectionCandidates,
    stored: pl.DataFrame,
    corrected: Mapping[int, Corrector],
    uncounted: Mapping[int, str],
    first_sequence: int,
    properties: Mapping[str, PropertyType],
) -> CorrectionJudgement:
    """Judge `candidates` against the events that they name or repeat (`stored`), of which `corrected` are corrected
    already, and `uncounted` do not count because of a backfill, for the reason given. Of those with one identity, one
    in the log and others in backfills, the one that counts is meant. The first accepted gets `first_sequence`."""
    rows = sorted(stored.iter_rows(named=True), key=lambda row: row["sequence"] not in uncounted)
    standing = {_key(row): _standing(row) for row in rows}
    judging = _Judging(candidates, standing, dict(corrected), uncounted)
    judging.judge(first_sequence, properties)
    return CorrectionJudgement(judging.accepted, pl.DataFrame(judging.taken, _TAKEN, orient="row"), judging.verdicts)


@dataclass(frozen=True)
class CorrectionEffect:
    """What newly accepted corrections, up to `last_sequence`, change: the stored events that they put `out` of force,
    and those of themselves that are `in_force`. A replacement that a later one of them corrects is neither."""

    out: pl.DataFrame
    in_force: pl.DataFrame
    last_sequence: int


def effect_of(corrections: pl.DataFrame, stored: pl.DataFrame, columns: Sequence[str]) -> CorrectionEffect:
    """The effect of `corrections` on the `stored` events that they name, in these columns."""
    is_corrected = pl.col("sequence").is_in(corrections["corrects"].implode())
    in_force = corrections.filter((pl.col("correction") != VOID) & ~is_corrected)
    return CorrectionEffect(
        stored.filter(is_corrected).select(columns), in_force.select(columns), corrections["sequence"][-1]
    )


@dataclass
class _Judging:
    candidates: CorrectionCandidates
    standing: dict[Key, _Standing]
    corrected: dict[int, Corrector]
    uncounted: Mapping[int, str]
    accepted: list[int] = field(default_factory=list)
    taken: list[tuple[object, ...]] = field(default_factory=list)
    verdicts: list[EventVerdict] = field(default_factory=list)

    def judge(self, first_sequence: int, properties: Mapping[str, PropertyType]) -> None:
        rows = zip(self.candidates.index.tolist(), self.candidates.events.iter_rows(named=True), strict=True)
        for row, (index, sent) in enumerate(rows):
            target = self.standing.get((sent[TARGET_SOURCE], sent[TARGET_ID]))
            event = sent if target is None else _filled(sent, target)
            known = self.standing.get(_key(sent))
            if known is not None:
                self.verdicts.append(self._repetition(index, sent, event, known, properties))
                continue
            problem = self._problem(sent, target)
            if problem is not None:
                self.verdicts.append(EventVerdict(index, sent["source"], sent["id"], *problem))
                continue
            assert target is not None
            self._accept(row, event, target, first_sequence + len(self.accepted))

    def _repetition(
        self, index: int, sent: Row, event: Row, known: _Standing, properties: Mapping[str, PropertyType]
    ) -> EventVerdict:
        if self.uncounted.get(known.sequence) == ENDED:
            message = f"the correction with this source and id {ENDED}; send it with a new id"
            return EventVerdict(index, sent["source"], sent["id"], CONFLICT, message)
        found = None if known.fingerprint == sent[FINGERPRINT] else difference(known.row, event, properties)
        return repetition(index, sent["source"], sent["id"], found)

    def _problem(self, sent: Row, target: _Standing | None) -> tuple[str, str] | None:
        """Why the event that a correction names cannot be corrected: code and message."""
        if target is None:
            named = f"source {sent[TARGET_SOURCE]!r} and id {sent[TARGET_ID]!r}"
            return "unknown_target", f"no event has {named}; send the event first, or name another"
        if target.correction == VOID:
            return "target_is_void", "it names a void, which is final; send what was voided again, under a new id"
        if (why := self.uncounted.get(target.sequence)) is not None:
            return "target_in_backfill", f"the event that it names {why}; correct what counts instead of it"
        by = self.corrected.get(target.sequence)
        if by is None:
            return None
        cure = (
            "it is void; send it again under a new id" if by.correction == VOID else "correct that one instead of this"
        )
        return "already_corrected", f"it was corrected by source {by.source!r}, id {by.id!r}; {cure}"

    def _accept(self, row: int, event: dict[str, Any], target: _Standing, sequence: int) -> None:
        self.accepted.append(row)
        self.taken.append(tuple(event[name] for name in _TAKEN))
        self.corrected[target.sequence] = Corrector(event["source"], event["id"], event["correction"])
        self.standing[_key(event)] = _standing({**event, "sequence": sequence})


def _key(row: Row) -> Key:
    return row["source"], row["id"]


def _standing(row: Row) -> _Standing:
    return _Standing(
        row["sequence"],
        row["correction"],
        row[FINGERPRINT],
        row["type"],
        row["subject"],
        row["time"],
        row[DAY],
        row,
    )


def _filled(sent: Row, target: _Standing) -> dict[str, Any]:
    """A correction with what it takes from the event that it corrects."""
    has_time = sent["time"] != sent["received_at"]
    return {
        **sent,
        "type": target.type if sent["type"] is None else sent["type"],
        "subject": target.subject if sent["subject"] is None else sent["subject"],
        "time": sent["time"] if has_time else target.time,
        DAY: sent[DAY] if has_time else target.day,
        "corrects": target.sequence,
    }
