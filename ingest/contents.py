"""What the log holds at this moment: a table snapshot and, behind it, the events that only the journal has.

One lock guards both, so that a reader sees each event once while segments move from the one to the other.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ingest.backfill_shown import ShownBackfill
from ingest.correction_state import Corrected, corrected_in
from ingest.usage_table import TableSnapshot


@dataclass
class TailSegment:
    """The events of a journal segment that the table does not have yet, one frame a record."""

    path: Path
    first_sequence: int
    last_sequence: int
    frames: list[pl.DataFrame] = field(default_factory=list)
    opened_at: float = field(default_factory=time.monotonic)
    is_sealed: bool = False


@dataclass(frozen=True)
class View:
    """A consistent state; nothing in it changes."""

    table: TableSnapshot
    frames: tuple[pl.DataFrame, ...]
    last_sequence: int
    corrected: Corrected
    backfills: tuple[ShownBackfill, ...] = ()  # that are committed, in the order of their commits


class Contents:
    """For several threads: one appends, one moves segments to the table, any may look."""

    def __init__(self, table: TableSnapshot, recovered: Iterable[TailSegment]) -> None:
        self._lock = threading.Lock()
        self._table = table
        self._segments = list(recovered)
        self._backfills: tuple[ShownBackfill, ...] = ()
        self._corrected = corrected_in(table, (frame for segment in self._segments for frame in segment.frames))
        self._last_sequence = max([table.last_sequence, *(segment.last_sequence for segment in self._segments)])

    @property
    def last_sequence(self) -> int:
        """The sequence of the newest accepted event; 0 when there is none."""
        return self._last_sequence

    @property
    def backfills(self) -> tuple[ShownBackfill, ...]:
        """The committed backfills, in the order of their commits."""
        return self._backfills

    def show(self, backfills: Iterable[ShownBackfill]) -> None:
        """From now on these are the committed backfills."""
        shown = tuple(sorted(backfills, key=lambda backfill: backfill.number))
        with self._lock:
            self._backfills = shown

    def append(self, path: Path, events: pl.DataFrame, *, are_corrections: bool = False) -> None:
        """Add events that are durable in the segment at `path`; what they correct is hidden in the same step."""
        with self._lock:
            if not self._segments or self._segments[-1].is_sealed:
                self._segments.append(TailSegment(path, self._last_sequence + 1, self._last_sequence))
            assert self._segments[-1].path == path
            self._segments[-1].frames.append(events)
            self._last_sequence += events.height
            if are_corrections:
                self._corrected = self._corrected.with_more(events)
            self._segments[-1].last_sequence = self._last_sequence

    def seal(self) -> None:
        """Let the open segment, if there is one, go to the table."""
        with self._lock:
            if self._segments:
                self._segments[-1].is_sealed = True

    def sealed(self) -> list[TailSegment]:
        """The segments that can go to the table, oldest first."""
        with self._lock:
            return [segment for segment in self._segments if segment.is_sealed]

    def open_since(self) -> float | None:
        """When the open segment was begun (monotonic seconds); null when there is none."""
        with self._lock:
            open_segment = self._segments[-1] if self._segments and not self._segments[-1].is_sealed else None
            return None if open_segment is None else open_segment.opened_at

    def moved(self, segment: TailSegment, table: TableSnapshot) -> None:
        """From now on the table (as of `table`) answers for the events of `segment`."""
        with self._lock:
            assert self._segments[0] is segment
            del self._segments[0]
            self._table = table

    def rewritten(self, table: TableSnapshot) -> None:
        """The table (as of `table`) holds the same events in other files."""
        with self._lock:
            assert table.last_sequence == self._table.last_sequence
            self._table = table

    @property
    def table_files(self) -> int:
        """The number of files of the table."""
        return self._table.files.height

    def view(self) -> View:
        """The state as of now."""
        with self._lock:
            frames = tuple(frame for segment in self._segments for frame in segment.frames)
            return View(self._table, frames, self._last_sequence, self._corrected, self._backfills)
