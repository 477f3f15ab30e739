"""Take a group of batches into the log: judge them, append one record, sync it once, then remember and show them.

No thread of its own: the writer calls it. After an OSError it must not be called again (RELIABILITY R4).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from ingest.admission import Candidates, Judgement, judge
from ingest.backfill_shown import find_in, known_in
from ingest.comparison import difference
from ingest.contents import Contents, View
from ingest.correction_judge import (
    CorrectionCandidates,
    CorrectionEffect,
    CorrectionJudgement,
    effect_of,
    judge_corrections,
)
from ingest.correction_lookup import find_events, in_backfills, named_identities, out_of_force_by_backfills
from ingest.identity import hash_identities
from ingest.identity_index import IdentityIndex
from ingest.journal import SegmentWriter
from ingest.lift import completed, lift
from ingest.room import has_room
from ingest.schema import CORRECTION, FINGERPRINT, IDENTITY_COLUMNS, arranged, stored_names
from ingest.verdicts import DUPLICATE, NOT_COMMITTED_ATOMIC, BatchVerdict, EventVerdict, batch_verdict, repetition
from rating.core.schema import PropertyType, property_column, usage_event_schema
from rating.disk import Disk
from rating.histogram import SECONDS, Histogram

Differences = Mapping[int, str]


@dataclass
class Committer:
    """`properties` gives all properties that were ever declared, as of now."""

    disk: Disk
    journal: Path
    index: IdentityIndex
    contents: Contents
    digest: bytes
    properties: Callable[[], Mapping[str, PropertyType]]
    on_admitted: Callable[[pl.DataFrame], None] | None
    on_corrected: Callable[[CorrectionEffect], None] | None = None
    sync_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    _segment: SegmentWriter | None = None

    def commit(self, batches: Sequence[Candidates]) -> list[BatchVerdict]:
        """The verdicts on `batches`, in order; what they call accepted or duplicate is durable. An atomic batch comes
        alone, and so do corrections.

        Raises DiskFull, nothing was kept then, and OSError when the disk fails.
        """
        if isinstance(batches[0], CorrectionCandidates):
            return [self._commit_corrections(batches[0])]
        identity = (
            np.concatenate([batch.identity[0] for batch in batches]),
            np.concatenate([batch.identity[1] for batch in batches]),
        )
        fingerprint = np.concatenate([batch.fingerprint for batch in batches])
        known, known_fingerprint = self.index.lookup(identity)
        if backfills := self.contents.backfills:
            known, known_fingerprint = known_in(backfills, identity, fingerprint, known, known_fingerprint)
        judgement = judge(identity, fingerprint, known, known_fingerprint)
        differences = self._compare(batches, judgement, known) if len(judgement.unsure) else {}
        if batches[0].is_atomic and (batches[0].rejected or differences):
            return [_refused_whole(batches[0], judgement, differences)]
        if judgement.is_new.any():
            properties = self.properties()
            events = self._accepted(batches, judgement.is_new, properties)
            self._append(events)
            if self.on_admitted is not None:
                self.on_admitted(arranged(events, usage_event_schema(properties).names()))
            self.index.add(
                (identity[0][judgement.is_new], identity[1][judgement.is_new]), fingerprint[judgement.is_new]
            )
        return list(_verdicts(batches, judgement, differences))

    def seal(self) -> None:
        """Close the open segment; the next record begins another."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        self.contents.seal()

    def has_room(self) -> bool:
        """Whether the disk takes records again after DiskFull. Raises OSError when the disk fails."""
        return has_room(self.disk, self.journal)

    @property
    def segment_size(self) -> int:
        """Bytes in the open segment."""
        return 0 if self._segment is None else self._segment.size

    @property
    def sealed_segments(self) -> int:
        """The number of segments that the usage table has not taken yet."""
        return len(self.contents.sealed())

    def _accepted(
        self, batches: Sequence[Candidates], is_new: np.ndarray, properties: Mapping[str, PropertyType]
    ) -> pl.DataFrame:
        """The new events of a group as they are stored, in the order of the group."""
        frames = [_with_columns(batch.events, properties) for batch in batches if len(batch.index)]
        events = pl.concat(frames) if len(frames) > 1 else frames[0]
        events = events if is_new.all() else events.filter(pl.Series(is_new))
        first = self.contents.last_sequence + 1
        sequence = pl.Series("sequence", np.arange(first, first + events.height, dtype=np.int64))
        return arranged(events.hstack([sequence]), stored_names(properties))

    def _append(self, events: pl.DataFrame, *, are_corrections: bool = False) -> None:
        first = self.contents.last_sequence + 1
        if self._segment is None:
            self._segment = SegmentWriter(self.disk, self.journal, first, self.digest)
        self._segment.append(events, first)
        began_at = time.perf_counter()
        self._segment.sync()
        self.sync_seconds.add(time.perf_counter() - began_at)
        self.digest = self._segment.digest
        self.contents.append(self._segment.path, events, are_corrections=are_corrections)

    def _commit_corrections(self, batch: CorrectionCandidates) -> BatchVerdict:
        """The verdict on corrections, whose targets are those that stand at this moment."""
        properties, first, view = self.properties(), self.contents.last_sequence + 1, self.contents.view()
        stored, uncounted = self._named_by(batch, view, properties)
        correctors = view.corrected.correctors(stored["sequence"].to_list())
        judgement = judge_corrections(batch, stored, correctors, uncounted, first, properties)
        verdicts = [*batch.rejected, *judgement.verdicts]
        if batch.is_atomic and any(verdict.code != DUPLICATE for verdict in verdicts):
            return _not_taken(batch, verdicts, judgement.accepted)
        if judgement.accepted:
            events = _corrections(batch, judgement, first, properties)
            self._append(events, are_corrections=True)
            if self.on_corrected is not None:
                self.on_corrected(effect_of(events, stored, usage_event_schema(properties).names()))
            high, low = batch.identity
            self.index.add((high[judgement.accepted], low[judgement.accepted]), batch.fingerprint[judgement.accepted])
        return batch_verdict(batch.total, verdicts)

    def _named_by(
        self, batch: CorrectionCandidates, view: View, properties: Mapping[str, PropertyType]
    ) -> tuple[pl.DataFrame, dict[int, str]]:
        """The stored events that corrections name or repeat: those that were found when they came, and newer ones; and
        of those that do not count because of a backfill, by sequence, why."""
        wanted = named_identities(batch.events)
        identity = hash_identities(wanted, self.index.seeds)
        known, fingerprint = self.index.lookup(identity)
        staged, uncounted = in_backfills(view, wanted, identity, properties)
        wanted = wanted.with_columns(pl.Series(FINGERPRINT, fingerprint)).filter(pl.Series(known))
        newer = wanted.join(batch.found, on=IDENTITY_COLUMNS, how="anti")
        found = completed(batch.found, properties)
        if newer.height:
            events = find_events(view, newer, properties, after_sequence=batch.found_sequence)
            found = pl.concat([found, events])
        return pl.concat([staged, found]), uncounted | out_of_force_by_backfills(view, found)

    def _compare(self, batches: Sequence[Candidates], judgement: Judgement, known: np.ndarray) -> Differences:
        """Where the repetitions that have another fingerprint differ from the event that stands; absent: nowhere."""
        properties = self.properties()
        events = pl.concat([batch.events for batch in batches if len(batch.index)], how="diagonal")
        again = events[judgement.unsure]
        stands = self._stored(again.filter(pl.Series(known[judgement.unsure])), properties)
        differences: dict[int, str] = {}
        for row, sent in zip(judgement.unsure.tolist(), again.iter_rows(named=True), strict=True):
            standing = (
                stands.get((sent["source"], sent["id"]), [])
                if known[row]
                else [events.row(int(judgement.first[row]), named=True)]
            )
            found = [difference(first, sent, properties) for first in standing]
            if None not in found:
                differences[row] = next((name for name in found if name is not None), "time")
        return differences

    def _stored(
        self, again: pl.DataFrame, properties: Mapping[str, PropertyType]
    ) -> dict[tuple[str, str], list[dict[str, object]]]:
        """The stored events with the identities of `again`, looked up where they can be: behind the table, and in the
        table on the day that was sent. An event that was sent without time may be of any day. In a committed backfill
        the same identity may stand once more."""
        view = self.contents.view()
        tail = pl.concat([*view.frames, again.clear()], how="diagonal")
        found = [tail.join(again, on=IDENTITY_COLUMNS, how="semi")]
        for (day,), wanted in again.with_columns(_sent_day()).group_by("sent_day"):
            found.append(view.table.find(wanted.select(IDENTITY_COLUMNS), properties, day))
        found += [find_in(backfill, again.select(IDENTITY_COLUMNS), properties) for backfill in view.backfills]
        stands: dict[tuple[str, str], list[dict[str, object]]] = {}
        for row in pl.concat(found, how="diagonal").iter_rows(named=True):
            stands.setdefault((row["source"], row["id"]), []).append(row)
        return stands


def _sent_day() -> pl.Expr:
    return pl.when(pl.col("time") != pl.col("received_at")).then(pl.col("day")).alias("sent_day")


def _with_columns(events: pl.DataFrame, properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    """A batch that was decoded before the newest declaration gets the columns it lacks."""
    late = {name: kind for name, kind in properties.items() if property_column(name) not in events.columns}
    lifted = lift(events, late) if late else events
    return arranged(lifted, (name for name in stored_names(properties) if name != "sequence"))


def _verdicts(batches: Sequence[Candidates], judgement: Judgement, differences: Differences) -> Iterator[BatchVerdict]:
    offset = 0
    for batch in batches:
        repeated = np.flatnonzero(~judgement.is_new[offset : offset + len(batch.index)])
        names = batch.events.select(IDENTITY_COLUMNS)[repeated].iter_rows() if len(repeated) else ()
        events = [
            repetition(int(batch.index[row]), source, key, differences.get(offset + row))
            for row, (source, key) in zip(repeated.tolist(), names, strict=True)
        ]
        yield batch_verdict(batch.total, [*batch.rejected, *events])
        offset += len(batch.index)


def _refused_whole(batch: Candidates, judgement: Judgement, differences: Differences) -> BatchVerdict:
    [verdict] = _verdicts([batch], judgement, differences)
    return _not_taken(batch, verdict.events, np.flatnonzero(judgement.is_new))


def _not_taken(batch: Candidates, verdicts: Iterable[EventVerdict], new: Sequence[int] | np.ndarray) -> BatchVerdict:
    """The verdict on an atomic batch that is not taken: what is wrong, and that the good events are not kept either."""
    names = batch.events.select(IDENTITY_COLUMNS)[new].iter_rows() if len(new) else ()
    message = (
        "this event is good, but others of its batch are not, and the batch is atomic; mend those and send it again"
    )
    others = [
        EventVerdict(index, source, key, NOT_COMMITTED_ATOMIC, message)
        for index, (source, key) in zip(batch.index[new].tolist(), names, strict=True)
    ]
    return batch_verdict(batch.total, [*verdicts, *others], is_atomic_refusal=True)


def _corrections(
    batch: CorrectionCandidates, judgement: CorrectionJudgement, first: int, properties: Mapping[str, PropertyType]
) -> pl.DataFrame:
    """The accepted corrections as they are stored, in the order of the batch."""
    accepted = batch.events[judgement.accepted].with_columns(judgement.taken.get_columns())
    events = _with_columns(accepted, properties)
    sequence = pl.Series("sequence", np.arange(first, first + events.height, dtype=np.int64))
    return arranged(
        events.hstack([sequence, *(accepted.get_column(name) for name in CORRECTION)]),
        [*stored_names(properties), *CORRECTION],
    )
