"""The log of usage events: one data directory, one owner, many submitters and readers.

directory/lock        who owns it
directory/journal/    what was accepted and is not in the table yet
directory/usage/      the usage table (Delta)
directory/rejections/ what was refused and conflicts, until it is old
directory/identities/ the index of every identity ever accepted: a cache over the two above
"""

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from ingest.admission import Candidates, screen
from ingest.committer import Committer
from ingest.contents import Contents, TailSegment
from ingest.decode import Decoded, decode, read_values, unpack
from ingest.errors import PropertyConflict
from ingest.flusher import Flusher
from ingest.identity_index import open_index
from ingest.journal import NO_DIGEST
from ingest.lift import lift
from ingest.limits import IngestLimits
from ingest.lock import lock_directory
from ingest.maintenance import Maintained
from ingest.recovery import recover_journal
from ingest.rejections import RejectionStore
from ingest.rejections_keeper import Origin, RejectionKeeper
from ingest.usage_table import UsageTable, days_of, in_buckets, within
from ingest.verdicts import BatchVerdict
from ingest.writer import Writer
from rating.core.schema import PropertyType, property_column, usage_event_schema
from rating.disk import Disk, Lock

MERGED_BYTES_MAX = 512 << 10


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class UsageSnapshot:
    """All events up to `last_sequence`, each once. `frame` can be collected at any later time, with the same result."""

    frame: pl.LazyFrame
    table_version: int
    last_sequence: int


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
        holder: Mapping[str, str] | None = None,
        disk: Disk | None = None,
    ) -> "UsageLog":
        """Own `directory` (made when absent), recover what is in it, and begin to accept.

        `on_admitted` is called with the newly accepted events of each group, durable by then, before anyone is told.
        Raises DataDirectoryLocked, JournalDamaged, PropertyConflict.
        """
        disk = disk or Disk()
        disk.make_directory(directory)
        lock = lock_directory(disk, directory, holder or {})
        try:
            return cls(directory, disk, lock, properties, now, limits or IngestLimits(), on_admitted)
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
    ) -> None:
        self._directory, self._lock, self._now, self._limits = directory, lock, now, limits
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
        self._contents = Contents(self._table.snapshot(), tail)
        frames = [frame for segment in tail for frame in segment.frames]
        self._index = open_index(disk, directory / "identities", self._table, frames)
        digest = segments[-1].digest if segments else NO_DIGEST
        committer = Committer(disk, journal, self._index, self._contents, digest, lambda: self._known, on_admitted)
        self._writer = Writer(committer, limits, self._screen)
        self._flusher = Flusher(disk, self._table, self._contents, self._writer, limits, lambda: self._known)
        self.rejections = RejectionStore(directory / "rejections", disk=disk, limits=limits, now=now)
        self._keeper = RejectionKeeper(self.rejections, limits, self._writer.fail)
        self._writer.start()
        self._keeper.start()
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
        self._writer.check_room()
        self._flusher.check_room()
        self._keeper.check_room()
        body = unpack(body, content_type, content_encoding, self._limits)
        verdict = self._submit(body, content_type, is_atomic)
        if not keeps_rejections:
            return verdict
        return self._keeper.behind(verdict, Origin(body, content_type, self._now(), request_id))

    def _submit(self, body: bytes, content_type: str, is_atomic: bool) -> "Future[BatchVerdict]":
        if len(body) <= MERGED_BYTES_MAX and not is_atomic:
            values = read_values(body, content_type, self._known, self._limits)
            if values is not None:
                return self._writer.submit(values, len(body))
        batch = self._screen(decode(body, content_type, self._known, self._limits))
        return self._writer.submit(replace(batch, is_atomic=is_atomic), len(body), is_alone=is_atomic)

    def scan(
        self, *, start: datetime | None = None, end: datetime | None = None, buckets: Collection[int] | None = None
    ) -> UsageSnapshot:
        """The events of [`start`, `end`), null is open, in the columns of `usage_event_schema(declared properties)`.

        With `buckets`, only the events whose subjects are in these of `subject_buckets` buckets: merged files of the
        others are not read. Collect the frame within the limit `retention_hours`.
        """
        view, properties = self._contents.view(), dict(self._declared)
        schema = usage_event_schema(properties)
        frames = view.table.scan(schema, properties, days_of(start, end), buckets)
        behind = [_complete(frame, properties).select(schema.names()).lazy() for frame in view.frames]
        frames += [in_buckets(frame, buckets, view.table.buckets) for frame in behind]
        frame = pl.concat([within(frame, start, end) for frame in [*frames, schema.to_frame().lazy()]])
        return UsageSnapshot(frame, view.table.version, view.last_sequence)

    def declare(self, properties: Mapping[str, PropertyType]) -> None:
        """Type `properties` from now on, and show these columns in `scan`. A property keeps the type it has once had.

        Raises PropertyConflict.
        """
        with self._declaring:
            spelling = {name.lower(): name for name in self._known}
            for name, kind in properties.items():
                stored = spelling.get(name.lower(), name)
                if stored != name or self._known.get(name, kind) != kind:
                    raise PropertyConflict(
                        f"property {name!r} cannot be a {kind}: {stored!r} is a {self._known[stored]}; use another name"
                    )
            self._known = {**self._known, **properties}
            self._declared = dict(properties)

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
    def limits(self) -> IngestLimits:
        """What it was opened with."""
        return self._limits

    @property
    def subject_buckets(self) -> int:
        """Into how many buckets `scan` can divide the subjects."""
        return self._contents.view().table.buckets

    def status(self) -> dict[str, Any]:
        """What an operator asks for; `failure` is null while all is well."""
        view = self._contents.view()
        return {
            "last_sequence": view.last_sequence,
            "table_version": view.table.version,
            "table_last_sequence": view.table.last_sequence,
            "events_behind_table": sum(frame.height for frame in view.frames),
            "sealed_segments": len(self._contents.sealed()),
            "waiting_batches": self._writer.waiting,
            "known_identities": len(self._index),
            "rejections": self.rejections.status(),
            "failure": None if self._writer.failure is None else str(self._writer.failure),
        }

    def close(self) -> None:
        """Commit what waits, then end. What is only in the journal is found there at the next start."""
        self._writer.stop()
        self._keeper.stop()
        self._flusher.stop()
        self._index.close()
        self._lock.release()

    def _screen(self, decoded: Decoded) -> Candidates:
        return screen(decoded, now=self._now(), limits=self._limits, seeds=self._index.seeds)


def _complete(frame: pl.DataFrame, properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    late = {name: kind for name, kind in properties.items() if property_column(name) not in frame.columns}
    return lift(frame, late) if late else frame


def _properties_of(frame: pl.DataFrame) -> dict[str, PropertyType]:
    prefix = property_column("")
    return {
        name.removeprefix(prefix): "string" if dtype == pl.String else "number"
        for name, dtype in frame.schema.items()
        if name.startswith(prefix)
    }
