"""The thread that moves sealed segments into the usage table: written and synced there, then deleted here.

While ingest is busy it lets a sealed segment wait a few seconds, so that a burst has the machine for itself; not when a
quarter of those that may wait do. While the disk is full it tries again and again; the journal keeps the events, and
ingest goes on until too many segments wait. Any other failure stops the whole log (RELIABILITY R4): the next start goes
on from the journal.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import polars as pl

from ingest.contents import Contents, TailSegment
from ingest.counts import IngestCounts
from ingest.errors import DiskFull, Overloaded
from ingest.lift import completed
from ingest.limits import IngestLimits
from ingest.maintenance import Maintained, Maintenance
from ingest.subjects import Subjects
from ingest.usage_table import UsageTable
from ingest.writer import Writer
from rating.core.schema import PropertyType
from rating.disk import Disk, is_full
from rating.spans import span

_log = logging.getLogger(__name__)

Result = TypeVar("Result")
YIELD_SECONDS = 10.0  # that a segment waits for ingest at most, after it is sealed
RETRY_SECONDS = (0.25, 0.5, 1.0, 2.0)  # the last again and again: within 2 s of there being room


class Flusher:
    """Runs from `start` to `stop`; `flush` does the same work in the calling thread."""

    def __init__(
        self,
        disk: Disk,
        table: UsageTable,
        subjects: Subjects,
        contents: Contents,
        writer: Writer,
        limits: IngestLimits,
        properties: Callable[[], Mapping[str, PropertyType]],
        counts: IngestCounts | None = None,
    ) -> None:
        self._disk = disk
        self._table = table
        self._subjects = subjects
        self._contents = contents
        self._writer = writer
        self._limits = limits
        self._properties = properties
        self._counts = counts or IngestCounts()
        self._maintenance = Maintenance(table, contents, limits, properties)
        self._moved: list[Path] = []  # segments that the table has, oldest first, and that are not deleted yet
        self._full: OSError | None = None
        self._moving = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingest-flusher", daemon=True)

    def start(self) -> None:
        """Begin to move what is sealed; seal what is old."""
        self._thread.start()

    def stop(self) -> None:
        """End after the segment at hand."""
        self._stopping.set()
        self._writer.sealed.set()
        self._thread.join()

    def flush(self) -> None:
        """Move everything that is sealed. Raises DiskFull, nothing is lost then; after another failure nothing is moved
        any more: NotCommitted."""
        with self._moving:
            self._work(self._move_sealed)

    def maintain(self) -> Maintained:
        """Merge all files of the table that should be, and remove those that were merged. Raises as `flush`."""
        with self._moving:
            return self._work(self._maintenance.run)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The usage table and its subjects do not change while the block runs; the journal keeps what comes."""
        with self._moving:
            yield

    def check_room(self) -> None:
        """Raise DiskFull or Overloaded when too many sealed segments wait."""
        waiting, full = len(self._contents.sealed()), self._full
        if waiting < self._limits.sealed_segments:
            return
        if full is not None:
            raise DiskFull(f"the usage table cannot be written, {full.strerror}; send it again after a moment")
        raise Overloaded(
            "the usage table falls behind the journal; send it again after a moment", retry_after_seconds=5
        )

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopping.is_set():
                self._seal_when_old()
                self._yield_to_ingest()
                try:
                    self._flush_and_maintain()
                    failures = 0
                except DiskFull as error:
                    failures += 1
                    _log.error("%s; trying again", error)
                self._wait(failures)
        except Exception as error:
            _log.critical("a segment cannot be written to the usage table; start the process again", exc_info=error)

    def _flush_and_maintain(self) -> None:
        with self._moving:
            self._work(self._move_sealed)
            is_busy = self._writer.is_busy or bool(self._contents.sealed())
            self._work(lambda: self._maintenance.step(is_busy=is_busy))

    def _wait(self, failures: int) -> None:
        if failures:
            self._stopping.wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1])
        else:
            self._writer.sealed.wait(timeout=min(1.0, self._limits.segment_age.total_seconds()))
            self._writer.sealed.clear()

    def _work(self, step: Callable[[], Result]) -> Result:
        """Take a step on the disk; what it raises besides a full disk is the end of the log."""
        self._writer.check_failure()
        try:
            result = step()
        except Exception as error:
            if is_full(error):
                self._full = error
                raise DiskFull(f"the usage table cannot be written: {error.strerror}; the journal keeps it") from error
            self._writer.fail(error)
            raise
        self._full = None
        return result

    def _move_sealed(self) -> None:
        self._delete_moved()
        for segment in self._contents.sealed():
            with span("flush", last_sequence=segment.last_sequence):
                self._move(segment)

    def _yield_to_ingest(self) -> None:
        """Wait while ingest is busy, few segments wait, and none has waited for long."""
        until = time.monotonic() + YIELD_SECONDS
        while self._writer.is_busy and time.monotonic() < until and not self._stopping.is_set():
            if not 0 < len(self._contents.sealed()) < self._limits.sealed_segments // 4:
                return
            self._stopping.wait(0.05)

    def _delete_moved(self) -> None:
        """In order: a start refuses a journal with a segment missing in the middle."""
        while self._moved:
            self._disk.unlink(self._moved[0])
            del self._moved[0]

    def _seal_when_old(self) -> None:
        opened_at = self._contents.open_since()
        if opened_at is not None and time.monotonic() - opened_at >= self._limits.segment_age.total_seconds():
            self._writer.seal()

    def _move(self, segment: TailSegment) -> None:
        started = time.perf_counter()
        properties = self._properties()
        numbers = self._subjects.numbers(segment.frames)
        frames = [
            completed(frame, properties).with_columns(number)
            for frame, number in zip(segment.frames, numbers, strict=True)
        ]
        self._subjects.keep()
        events = pl.concat(frames)
        self._table.write(events, segment.last_sequence)
        self._contents.moved(segment, self._table.snapshot())
        self._subjects.forget(segment.last_sequence)
        self._moved.append(segment.path)
        self._delete_moved()
        seconds = time.perf_counter() - started
        self._counts.flushed(events.height, seconds)
        _log.info(
            "usage table: %d events up to sequence %d in %.0f ms",
            events.height,
            segment.last_sequence,
            1000 * seconds,
        )
