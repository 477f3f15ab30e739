"""The thread that moves sealed segments into the usage table: written and synced there, then deleted here.

A failure stops the whole log (RELIABILITY R4): the journal still has the events, and the next start goes on from it.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

import polars as pl

from ingest.contents import Contents, TailSegment
from ingest.lift import lift
from ingest.limits import IngestLimits
from ingest.schema import stored_schema
from ingest.usage_table import UsageTable
from ingest.writer import Writer
from rating.core.schema import PropertyType, property_column
from rating.disk import Disk

_log = logging.getLogger(__name__)


class Flusher:
    """Runs from `start` to `stop`; `flush` does the same work in the calling thread."""

    def __init__(
        self,
        disk: Disk,
        table: UsageTable,
        contents: Contents,
        writer: Writer,
        limits: IngestLimits,
        properties: Callable[[], Mapping[str, PropertyType]],
    ) -> None:
        self._disk = disk
        self._table = table
        self._contents = contents
        self._writer = writer
        self._limits = limits
        self._properties = properties
        self._moving = threading.Lock()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="ingest-flusher", daemon=True)

    def start(self) -> None:
        """Begin to move what is sealed; seal what is old."""
        self._thread.start()

    def stop(self) -> None:
        """End after the segment at hand."""
        self._is_stopping = True
        self._writer.sealed.set()
        self._thread.join()

    def flush(self) -> None:
        """Move everything that is sealed. After a failure nothing is moved any more: NotCommitted."""
        with self._moving:
            self._writer.check_failure()
            for segment in self._contents.sealed():
                try:
                    self._move(segment)
                except Exception as error:
                    self._writer.fail(error)
                    raise

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                self._seal_when_old()
                self.flush()
                self._writer.sealed.wait(timeout=min(1.0, self._limits.segment_age.total_seconds()))
                self._writer.sealed.clear()
        except Exception as error:
            _log.critical("a segment cannot be written to the usage table; start the process again", exc_info=error)

    def _seal_when_old(self) -> None:
        opened_at = self._contents.open_since()
        if opened_at is not None and time.monotonic() - opened_at >= self._limits.segment_age.total_seconds():
            self._writer.seal()

    def _move(self, segment: TailSegment) -> None:
        started = time.perf_counter()
        properties = self._properties()
        events = pl.concat([_complete(frame, properties) for frame in segment.frames]).sort(
            "subject", "time", "sequence"
        )
        self._table.write(events, segment.first_sequence, segment.last_sequence)
        self._contents.moved(segment, self._table.snapshot())
        self._disk.unlink(segment.path)
        _log.info(
            "usage table: %d events up to sequence %d in %.0f ms",
            events.height,
            segment.last_sequence,
            1000 * (time.perf_counter() - started),
        )


def _complete(frame: pl.DataFrame, properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    late = {name: kind for name, kind in properties.items() if property_column(name) not in frame.columns}
    return (lift(frame, late) if late else frame).select(stored_schema(properties).names())
