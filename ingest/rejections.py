"""The rejections: every event that was refused or conflicts, as it came, until it is old or there is no room for it.

A log of its own beside the journal, in the journal's record format (docs/journal.md), in directory/rejections/. An
entry is a rejection, or the note that one was replayed. It is kept to be looked at, corrected and replayed; nothing is
billed from it, so damage in it is passed over and logged, and a start never fails for it.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ingest.journal import NO_DIGEST, Segment, SegmentWriter, read_segment, segment_paths
from ingest.limits import IngestLimits
from rating.core.schema import INSTANT
from rating.disk import Disk

_log = logging.getLogger(__name__)

ENTRY = pl.Schema(
    {
        "sequence": pl.Int64(),
        "replays": pl.Int64(),  # the rejection that this entry marks as replayed; null in a rejection
        "received_at": INSTANT,
        "request_id": pl.String(),
        "content_type": pl.String(),
        "index": pl.Int64(),
        "verdict": pl.String(),  # conflict or rejected; accepted or duplicate in the note of a replay
        "code": pl.String(),
        "message": pl.String(),
        "source": pl.String(),
        "id": pl.String(),
        "type": pl.String(),
        "subject": pl.String(),
        "body": pl.Binary(),
        "is_truncated": pl.Boolean(),
        "backfill": pl.String(),  # that it was sent into; segments of earlier releases have no such column
    }
)
SEGMENTS = 16
"""Into about so many files the room is divided: the oldest one goes when it is used up."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One event that was not taken, at `index` of its batch; `body` is it as it came, cut when `is_truncated`.

    `backfill` is where it was sent to be staged, null for an event of the log. `replayed_at` and `replayed_as`
    (accepted, duplicate) are null until it was replayed with success.
    """

    sequence: int
    received_at: datetime
    request_id: str | None
    content_type: str
    index: int
    verdict: str
    code: str
    message: str
    source: str | None
    id: str | None
    type: str | None
    subject: str | None
    body: bytes
    is_truncated: bool
    backfill: str | None = None
    replayed_at: datetime | None = None
    replayed_as: str | None = None


@dataclass(frozen=True)
class RejectionFilter:
    """Which rejections: null is any. `is_replayed` is false for those that still wait."""

    code: str | None = None
    source: str | None = None
    subject: str | None = None
    verdict: str | None = None
    backfill: str | None = None
    is_replayed: bool | None = None

    def expression(self) -> pl.Expr:
        """The part of it that an entry knows by itself."""
        wanted = {name: getattr(self, name) for name in ("code", "source", "subject", "verdict", "backfill")}
        equal = [pl.col(name) == value for name, value in wanted.items() if value is not None]
        return pl.all_horizontal(pl.col("replays").is_null(), *equal)


@dataclass
class _File:
    path: Path
    first_sequence: int
    last_sequence: int
    size: int
    newest: datetime | None


class RejectionStore:
    """For several threads. Raises DiskFull when there is no room; after another OSError it must not be used again."""

    def __init__(self, directory: Path, *, disk: Disk, limits: IngestLimits, now: Callable[[], datetime]) -> None:
        self._directory, self._disk, self._limits, self._now = directory, disk, limits, now
        self._lock = threading.Lock()
        self._files: list[_File] = []
        self._replayed: dict[int, tuple[datetime, str]] = {}
        self._writer: SegmentWriter | None = None
        self._last_sequence, self._digest = 0, NO_DIGEST
        self._recover()

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Keep entries (of ENTRY, but `sequence`), durably, and drop what is beyond the limits."""
        if not entries:
            return
        with self._lock:
            first = self._last_sequence + 1
            numbered = [{**entry, "sequence": first + number} for number, entry in enumerate(entries)]
            frame = pl.DataFrame(numbered, schema=ENTRY)
            writer = self._open_segment(first)
            writer.append(frame, first)
            writer.sync()
            self._last_sequence, self._digest = first + frame.height - 1, writer.digest
            file = self._files[-1]
            file.last_sequence, file.size, file.newest = self._last_sequence, writer.size, self._now()
            self._note_replays(frame)
            self._drop()

    def mark_replayed(self, outcomes: Mapping[int, str]) -> None:
        """Note that rejections (by sequence) were replayed, and as what: accepted or duplicate."""
        note: dict[str, Any] = dict.fromkeys(ENTRY.names()) | {"received_at": self._now()}
        self.append([{**note, "replays": sequence, "verdict": outcome} for sequence, outcome in outcomes.items()])

    def page(self, wanted: RejectionFilter, *, after: int = 0, limit: int) -> list[Rejection]:
        """The next rejections behind `after`, oldest first."""
        found: list[Rejection] = []
        for rejection in self.read(wanted, after=after):
            found.append(rejection)
            if len(found) == limit:
                break
        return found

    def read(self, wanted: RejectionFilter, *, after: int = 0) -> Iterator[Rejection]:
        """All rejections behind `after`, oldest first, file by file."""
        keep = wanted.expression()
        for frame in self._frames(after):
            for row in frame.filter(keep, pl.col("sequence") > after).drop("replays").iter_rows(named=True):
                rejection = self._with_replay(Rejection(**row))
                if wanted.is_replayed in (None, rejection.replayed_at is not None):
                    yield rejection

    def find(self, sequences: Collection[int]) -> dict[int, Rejection]:
        """Rejections by sequence, without those that never were or were dropped."""
        if not sequences:
            return {}
        wanted, last = set(sequences), max(sequences)
        found: dict[int, Rejection] = {}
        for rejection in self.read(RejectionFilter(), after=min(sequences) - 1):
            if rejection.sequence in wanted:
                found[rejection.sequence] = rejection
            if rejection.sequence >= last:
                break
        return found

    def status(self) -> dict[str, int]:
        """`dropped` counts the entries that made room for newer ones, or were too old."""
        with self._lock:
            first = self._files[0].first_sequence if self._files else self._last_sequence + 1
            return {
                "kept": self._last_sequence - first + 1,
                "dropped": first - 1,
                "replayed": len(self._replayed),
                "bytes": sum(file.size for file in self._files),
            }

    @contextmanager
    def still(self) -> Iterator[None]:
        """Nothing is kept or dropped while the block runs."""
        with self._lock:
            yield

    def close(self) -> None:
        """Close the open file."""
        with self._lock:
            self._seal()

    def _open_segment(self, first: int) -> SegmentWriter:
        if self._writer is not None and self._writer.size >= self._limits.rejections_bytes // SEGMENTS:
            self._seal()
        if self._writer is None:
            self._writer = SegmentWriter(self._disk, self._directory, first, self._digest)
            self._files.append(_File(self._writer.path, first, first - 1, self._writer.size, None))
        return self._writer

    def _seal(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _drop(self) -> None:
        """Remove the oldest files while there is too much, or they are too old; the newest always stays."""
        oldest_allowed = self._now() - self._limits.rejections_age
        while len(self._files) > 1 and (
            sum(file.size for file in self._files) > self._limits.rejections_bytes
            or ((newest := self._files[0].newest) is not None and newest < oldest_allowed)
        ):
            file = self._files.pop(0)
            self._disk.unlink(file.path)
            self._replayed = {s: note for s, note in self._replayed.items() if s > file.last_sequence}
            _log.warning("dropped rejections %d to %d", file.first_sequence, file.last_sequence)

    def _frames(self, after: int) -> Iterator[pl.DataFrame]:
        with self._lock:
            files = [replace(file) for file in self._files if file.last_sequence > after]
        for file in files:
            try:
                segment = read_segment(file.path)
            except FileNotFoundError:  # dropped meanwhile
                continue
            for record in segment.records:
                if after < record.last_sequence <= file.last_sequence:
                    yield _complete(record.frame())

    def _with_replay(self, rejection: Rejection) -> Rejection:
        note = self._replayed.get(rejection.sequence)
        return rejection if note is None else replace(rejection, replayed_at=note[0], replayed_as=note[1])

    def _note_replays(self, frame: pl.DataFrame) -> None:
        notes = frame.filter(pl.col("replays").is_not_null()).select("replays", "received_at", "verdict")
        self._replayed |= {sequence: (at, outcome) for sequence, at, outcome in notes.iter_rows()}

    def _recover(self) -> None:
        """Take up what a process before left. The last file may end in a part of a record; it is written anew, because
        what the page cache shows of it may not be on the disk (RELIABILITY R4)."""
        self._disk.make_directory(self._directory)
        for leftover in self._directory.glob("*.tmp"):
            self._disk.unlink(leftover)
        paths = segment_paths(self._directory)
        for path in paths:
            segment = read_segment(path)
            if segment.fault is not None:
                _log.warning("%s: passed over %s at offset %d", path.name, segment.fault.what, segment.fault.offset)
            self._last_sequence = max(self._last_sequence, int(path.stem) - 1, segment.last_sequence)
            if not segment.records:
                self._disk.unlink(path)
                continue
            if path == paths[-1]:
                self._disk.publish(path, [path.read_bytes()[: segment.end]])
            self._take_up(segment)

    def _take_up(self, segment: Segment) -> None:
        frames = [record.frame() for record in segment.records]
        newest = frames[-1]["received_at"].max()
        assert isinstance(newest, datetime)
        self._files.append(_File(segment.path, segment.first_sequence, segment.last_sequence, segment.end, newest))
        self._digest = segment.digest
        for frame in frames:
            self._note_replays(frame)


def _complete(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.match_to_schema(ENTRY, missing_columns="insert")
