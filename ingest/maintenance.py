"""Keep the usage table in good shape: merge its small files, and remove those that were merged.

No thread of its own: the thread that flushes calls it between two segments, so that only one thread ever commits. It
works in passes, each bounded, and rests in between. A crash in any of its steps changes no answer: before the commit of
a pass the merged files do not count, after it those that they replace do not.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ingest.compaction import MergeLimits, choose
from ingest.contents import Contents
from ingest.limits import IngestLimits
from ingest.usage_table import UsageTable
from rating.core.schema import PropertyType

_log = logging.getLogger(__name__)

VACUUM_SECONDS = 600.0  # between two looks for files that can be removed
VACUUMED_FILES_MAX = 1_000  # removed at one time: about a second


@dataclass
class Maintained:
    """What was done: passes, events that they rewrote, files that they replaced; files that were removed."""

    passes: int = 0
    events: int = 0
    merged_files: int = 0
    removed_files: int = 0


class Maintenance:
    """For one thread. `properties` gives all properties that were ever declared, as of now."""

    def __init__(
        self,
        table: UsageTable,
        contents: Contents,
        limits: IngestLimits,
        properties: Callable[[], Mapping[str, PropertyType]],
    ) -> None:
        self._table, self._contents, self._limits, self._properties = table, contents, limits, properties
        self._merge = MergeLimits(limits.merged_files, limits.merged_rows)
        self._rests_until = 0.0
        self._vacuum_at = 0.0

    def step(self, *, is_busy: bool) -> None:
        """One pass if it is time for one. When the log `is_busy` it waits, until there are far too many files."""
        now = time.monotonic()
        if now < self._rests_until or (is_busy and self._contents.table_files < self._limits.files_under_load):
            return
        self.merge_once()
        took = time.monotonic() - now
        self._rests_until = now + took / self._limits.maintenance_share
        if now >= self._vacuum_at:
            self._vacuum_at = now + VACUUM_SECONDS
            self._table.vacuum(retention_hours=self._limits.retention_hours, files_max=VACUUMED_FILES_MAX)

    def run(self) -> Maintained:
        """Everything there is to do, at once."""
        done = Maintained()
        while (merged := self.merge_once()) is not None:
            done.passes += 1
            done.events += merged[0]
            done.merged_files += merged[1]
        done.removed_files = self._table.vacuum(retention_hours=self._limits.retention_hours, files_max=1_000_000)
        return done

    def merge_once(self) -> tuple[int, int] | None:
        """One pass; the events and files that it rewrote, null when there is nothing to do."""
        properties = self._properties()
        snapshot = self._table.snapshot()
        paths = choose(snapshot.files, snapshot.late_files(properties.keys()), self._merge)
        if not paths:
            return None
        started = time.perf_counter()
        events = self._table.rewrite(paths, properties)
        self._contents.rewritten(self._table.snapshot())
        _log.info(
            "usage table: %d events in %d files merged in %.0f ms",
            events,
            len(paths),
            1000 * (time.perf_counter() - started),
        )
        return events, len(paths)
