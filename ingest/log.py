"""The log of usage events: one data directory, one owner, many submitters and readers.

directory/lock        who owns it
directory/journal/    what was accepted and is not in the table yet
directory/usage/      the usage table (Delta)
directory/rejections/ what was refused and conflicts, until it is old
directory/identities/ the index of every identity ever accepted: a cache over journal and table
directory/subjects/   the number of every subject: a cache over the table (ingest/subjects.py)
directory/backfills/  a log of its own for the events of each backfill (ingest/backfill.py)
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ingest.admission import Candidates, screen
from ingest.backfill_shown import ShownBackfill
from ingest.committer import Committer
from ingest.contents import Contents, TailSegment, View
from ingest.correction_judge import CorrectionEffect
from ingest.corrections import Corrections
from ingest.counts import IngestCounts
from ingest.decode import Decoded, decode, read_values, unpack
from ingest.decode.encoding import check_size
from ingest.errors import PropertyConflict
from ingest.flusher import Flusher
from ingest.identity import hash_identities
from ingest.identity_index import open_index
from ingest.journal import NO_DIGEST
from ingest.known import up_to_last
from ingest.limits import IngestLimits
from ingest.lock import lock_directory
from ingest.maintenance import Maintained
from ingest.numbering import numbered
from ingest.recovery import recover_journal
from ingest.rejections import RejectionStore
from ingest.rejections_keeper import Origin, RejectionKeeper
from ingest.scanning import Asked, frames_of
from ingest.standing import standing
from ingest.subjects import open_subjects
from ingest.usage_table import UsageTable, buckets_of, days_of
from ingest.verdicts import BatchVerdict
from ingest.writer import Writer
from rating.core.schema import SUBJECT_NUMBER, PropertyType, numbered_usage_schema, property_column
from rating.core.subjects import Usage
from rating.disk import Disk, Lock
from rating.spans import span

MERGED_BYTES_MAX = 512 << 10
LOOKED_UP_AT_ONCE = 50_000


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class UsageSnapshot:
    """All events up to `last_sequence`, each once. `frame` can be collected at any later time, with the same result.

    `subjects` is SUBJECT_NUMBERS, one row for every subject of `frame` and for others.
    """

    frame: pl.LazyFrame
    subjects: pl.LazyFrame
    table_version: int
    last_sequence: int
    backfills: tuple[str, ...] = ()  # that are committed and part of it
    start: datetime | None = None  # all events are on [start, end); null is open
    end: datetime | None = None
    events_max: int | None = None  # no more than these, where they are in memory

    @property
    def usage(self) -> Usage:
        """As rating takes it."""
        return Usage(self.frame, self.subjects, self.start, self.end, self.events_max)


class UsageLog:
    """Made by `UsageLog.open`; for any number of threads."""

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        properties: Mapping[str, PropertyType],
        now: Callable[[], datetime] = utc_now,
        limits: IngestLimits | None = None,
        on_admitted: Callable[[pl.DataFrame], None] | None = None,
        on_corrected: Callable[[CorrectionEffect], None] | None = None,
        holder: Mapping[str, str] | None = None,
        disk: Disk | None = None,
        sift: Callable[[Candidates], Candidates] | None = None,
        keeper: RejectionKeeper | None = None,
        backfill: str | None = None,
    ) -> "UsageLog":
        """Own `directory` (made when absent), recover what is in it, and begin to accept.

        `on_admitted` is called with the newly accepted events of each group, durable by then, before anyone is told;
        `on_corrected` with what corrections change.
        `sift` may reject more of the events that are well formed. With a `keeper` of another log, what is refused is
        kept there, under the id `backfill`.
        Raises DataDirectoryLocked, JournalDamaged, PropertyConflict.
        """
        disk = disk or Disk()
        disk.make_directory(directory)
        lock = lock_directory(disk, directory, holder or {})
        try:
            limits = limits or IngestLimits()
            return cls(
                directory, disk, lock, properties, now, limits, on_admitted, on_corrected, sift, keeper, backfill
            )
        except BaseException:
            lock.release()
            raise

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        lock: Lock,
        properties: Mapping[str, PropertyType],
        now: Callable[[], datetime],
        limits: IngestLimits,
        on_admitted: Callable[[pl.DataFrame], None] | None,
        on_corrected: Callable[[CorrectionEffect], None] | None,
        sift: Callable[[Candidates], Candidates] | None = None,
        keeper: RejectionKeeper | None = None,
        backfill: str | None = None,
    ) -> None:
        self._directory, self._lock, self._now, self._limits = directory, lock, now, limits
        self._sift, self._backfill, self._owns_keeper = sift, backfill, keeper is None
        self._declaring = threading.Lock()
        self._table = UsageTable(directory / "usage", disk=disk, buckets=limits.subject_buckets)
        self._known: dict[str, PropertyType] = self._table.properties()
        self._declared: dict[str, PropertyType] = {}
        journal = directory / "journal"
        segments = recover_journal(disk, journal, self._table.last_sequence)
        tail = [
            TailSegment(
                segment.path,
                segment.first_sequence,
                segment.last_sequence,
                [record.frame() for record in segment.records],
                is_sealed=True,
            )
            for segment in segments
        ]
        for frame in (frame for segment in tail for frame in segment.frames):
            self._known |= _properties_of(frame)
        self.declare(properties)
        table = self._table.snapshot()
        self._subjects = open_subjects(disk, directory / "subjects", table, limits.retention_hours)
        self._contents = Contents(table, tail)
        frames = [frame for segment in tail for frame in segment.frames]
        self._index = open_index(disk, directory / "identities", self._table, frames)
        digest = segments[-1].digest if segments else NO_DIGEST
        self.counts = IngestCounts()
        committer = Committer(
            disk,
            journal,
            self._index,
            self._contents,
            digest,
            lambda: self._known,
            on_admitted,
            on_corrected,
            self.counts.sync_seconds,
        )
        self.keeper = keeper or RejectionKeeper(
            RejectionStore(directory / "rejections", disk=disk, limits=limits, now=now), limits, self.fail
        )
        self.rejections = self.keeper.store
        self._writer = Writer(committer, limits, self._screen, self.keeper, self.counts)
        self._index.give_way(lambda: self._writer.is_busy)
        self._flusher = Flusher(
            disk, self._table, self._subjects, self._contents, self._writer, limits, lambda: self._known, self.counts
        )
        self.corrections = Corrections(
            self._writer, self._contents, self._index, limits, now, lambda: self._known, self._check_room
        )
        self._writer.start()
        if self._owns_keeper:
            self.keeper.start()
        self._flusher.start()

    def submit(
        self,
        body: bytes,
        content_type: str,
        *,
        content_encoding: str = "",
        is_atomic: bool = False,
        request_id: str | None = None,
        keeps_rejections: bool = True,
    ) -> "Future[BatchVerdict]":
        """Read a body in this thread; the verdict comes when its accepted events are durable.

        An atomic body is taken whole or not at all. The events that are refused are kept (ingest/rejections.py), unless
        the body is atomic or `keeps_rejections` is false; the verdict comes when they are durable too.

        A small body is typed and screened by the writer, together with the others that wait; a larger one here.

        Raises UnsupportedContentType, UnsupportedEncoding, UnreadableBody, BodyTooLarge, Overloaded, DiskFull,
        NotCommitted; the future may raise DiskFull, NotCommitted or CommitUnknown.
        """
        with span("admit", bytes=len(body)):
            self._check_room()
            body = unpack(body, content_type, content_encoding, self._limits)
            origin = Origin(body, content_type, self._now(), request_id, self._backfill) if keeps_rejections else None
            return self._submit(body, content_type, is_atomic, origin)

    def _submit(self, body: bytes, content_type: str, is_atomic: bool, origin: Origin | None) -> "Future[BatchVerdict]":
        if len(body) <= MERGED_BYTES_MAX and not is_atomic:
            values = read_values(body, content_type, self._known, self._limits)
            if values is not None:
                return self._writer.submit(values, len(body), origin=origin)
        batch = self._screen(decode(body, content_type, self._known, self._limits))
        return self._writer.submit(replace(batch, is_atomic=is_atomic), len(body), is_alone=is_atomic, origin=origin)

    def screened(self, body: bytes, content_type: str) -> Candidates:
        """The events of a body, each judged by itself: to look at them before they are submitted, or are not.

        Raises UnsupportedContentType, UnreadableBody, BodyTooLarge.
        """
        check_size(len(body), self._limits.json_bytes)
        return self._screen(decode(body, content_type, self._known, self._limits))

    def submit_screened(self, candidates: Candidates, size: int) -> "Future[BatchVerdict]":
        """`submit` what was screened, of a body of `size` bytes; what is refused of it is not kept."""
        self._check_room()
        return self._writer.submit(candidates, size)

    def scan(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        buckets: Collection[int] | None = None,
        subjects: Collection[str] | None = None,
        view: View | None = None,
        properties: Mapping[str, PropertyType] | None = None,
    ) -> UsageSnapshot:
        """The events of [`start`, `end`), null is open, in the columns of `numbered_usage_schema(declared properties)`,
        or of `properties` that were declared once.

        With `buckets`, only the events whose subjects are in these of `subject_buckets` buckets: merged files of the
        others are not read. With `subjects`, only the events of these, from their buckets. Collect the frame within the
        limit `retention_hours`. `view` is a state to look at instead
        of the newest, perhaps with other backfills than are committed.
        """
        view = numbered(view or self._contents.view(), self._subjects)
        properties = dict(self._declared if properties is None else properties)
        schema = numbered_usage_schema(properties)
        buckets = buckets if subjects is None else buckets_of(subjects, view.table.buckets)
        frames = frames_of(view, Asked(schema, properties, days_of(start, end), buckets, (start, end)))
        frame = up_to_last(pl.concat([*frames, schema.to_frame().lazy()]), view)
        backfills = tuple(backfill.id for backfill in view.backfills)
        if subjects is not None:
            frame = frame.filter(pl.col(SUBJECT_NUMBER).is_in(self._subjects.find(subjects)))
        version, last = view.table.version, view.last_sequence
        return UsageSnapshot(frame, self._subjects.frame(), version, last, backfills, start, end)

    def view(self) -> View:
        """The state as of now."""
        return self._contents.view()

    def numbers_of(self, subjects: Collection[str]) -> pl.DataFrame:
        """SUBJECT_NUMBERS of those of `subjects` that have usage."""
        return self._subjects.named(subjects)

    def show(self, backfills: Iterable[ShownBackfill]) -> None:
        """From now on these are the committed backfills, for `scan` and for admission."""
        self._contents.show(backfills)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is accepted while the block runs; what is submitted waits for its end."""
        with self._writer.paused():
            yield

    @contextmanager
    def still_tables(self) -> Iterator[list[Path]]:
        """The files that the usage table and the table of subjects consist of; they stay as they are while the block
        runs, and events are accepted all the while."""
        with self._flusher.held():
            yield [*self._table.kept_files(), *self._subjects.kept_files()]

    def knows(self, events: pl.DataFrame) -> np.ndarray:
        """For each of `events` (source, id) whether its identity was accepted here; backfills are not asked."""
        known = [np.zeros(0, bool)]
        for part in events.iter_slices(LOOKED_UP_AT_ONCE):
            identity = hash_identities(part, self._index.seeds)
            with self._writer.paused():
                known.append(self._index.lookup(identity)[0])
        return np.concatenate(known)

    def declare(self, properties: Mapping[str, PropertyType]) -> None:
        """Type `properties` from now on, and show these columns in `scan`. A property keeps the type it has once had.

        Raises PropertyConflict.
        """
        with self._declaring:
            self.check_types(properties)
            self._known = {**self._known, **properties}
            self._declared = dict(properties)

    def check_types(self, properties: Mapping[str, PropertyType]) -> None:
        """Raises PropertyConflict where a property has had another type than in `properties`."""
        spelling = {name.lower(): name for name in self._known}
        for name, kind in properties.items():
            stored = spelling.get(name.lower(), name)
            if stored != name or self._known.get(name, kind) != kind:
                raise PropertyConflict(
                    f"property {name!r} cannot be a {kind}: {stored!r} is a {self._known[stored]}; use another name"
                )

    def flush(self) -> None:
        """Write everything that was accepted to the usage table, now.

        Raises what stopped it, and NotCommitted when the log had stopped before; the journal has the events.
        """
        self._writer.seal()
        self._flusher.flush()

    def maintain(self) -> Maintained:
        """Merge the files of the usage table that should be, and remove those merged before, now instead of bit by bit.

        Changes no answer. Raises as `flush`.
        """
        return self._flusher.maintain()

    @property
    def directory(self) -> Path:
        """Where it is."""
        return self._directory

    @property
    def seeds(self) -> tuple[int, int]:
        """The secret under which identities are hashed."""
        return self._index.seeds

    @property
    def declared(self) -> dict[str, PropertyType]:
        """The properties that `scan` shows."""
        return dict(self._declared)

    @property
    def limits(self) -> IngestLimits:
        """What it was opened with."""
        return self._limits

    @property
    def subject_buckets(self) -> int:
        """Into how many buckets `scan` can divide the subjects."""
        return self._contents.view().table.buckets

    def status(self) -> dict[str, Any]:
        """See ingest/standing.py."""
        return standing(self._directory / "journal", self._contents, self._writer, self._index, self.rejections)

    def fail(self, failure: BaseException) -> None:
        """Accept nothing more: the disk has failed elsewhere in the data directory (RELIABILITY R4)."""
        self._writer.fail(failure)

    def finish(self) -> None:
        """Accept nothing more, move everything to the usage table, merge its files, and end. Raises as `flush` does; it
        has ended all the same, and nothing is lost."""
        self._writer.stop()
        try:
            self._flusher.flush()
            self._flusher.maintain()
        finally:
            self.close()

    def close(self) -> None:
        """Commit what waits, then end. What is only in the journal is found there at the next start."""
        self._writer.stop()
        if self._owns_keeper:
            self.keeper.stop()
        self._flusher.stop()
        self._index.close()
        self._lock.release()

    def _check_room(self) -> None:
        self._writer.check_room()
        self._flusher.check_room()
        self.keeper.check_room()

    def _screen(self, decoded: Decoded) -> Candidates:
        candidates = screen(decoded, now=self._now(), limits=self._limits, seeds=self._index.seeds)
        return candidates if self._sift is None else self._sift(candidates)


def _properties_of(frame: pl.DataFrame) -> dict[str, PropertyType]:
    prefix = property_column("")
    return {
        name.removeprefix(prefix): "string" if dtype == pl.String else "number"
        for name, dtype in frame.schema.items()
        if name.startswith(prefix)
    }
