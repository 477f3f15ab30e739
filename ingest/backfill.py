"""The directory of one backfill: staged events in a log of its own, then a table that does not change any more.

backfills/<id>/...                   a usage log (ingest/log.py); after the commit only its table is read
backfills/<id>/resolution-*.parquet  written with the commit: which events hide behind it, and which do not count

Whether a backfill is open or committed is not known here: that is recorded in the relational store.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ingest.backfill_range import BackfillRange, only_within
from ingest.backfill_resolution import Resolution, load, resolve, resolved_until_now, save
from ingest.backfill_shown import ShownBackfill
from ingest.contents import View
from ingest.errors import BackfillDamaged
from ingest.identity_index import open_runs
from ingest.log import UsageLog
from ingest.usage_table import UsageTable
from rating.core.schema import PropertyType
from rating.disk import Disk

DIRECTORY = "backfills"


@dataclass(frozen=True)
class BackfillPlace:
    """Where the events of a backfill are, and what it replaces of the main `log`."""

    id: str
    directory: Path
    range: BackfillRange
    opened_sequence: int
    log: UsageLog
    disk: Disk

    def open(self, *, properties: Mapping[str, PropertyType], now: Callable[[], datetime]) -> UsageLog:
        """The log of the staged events, made when it is not there. It takes events of the range only.

        Raises as UsageLog.open.
        """
        limits = replace(self.log.limits, subject_buckets=self.log.subject_buckets)
        return UsageLog.open(
            self.directory,
            properties=properties,
            now=now,
            limits=limits,
            disk=self.disk,
            sift=lambda candidates: only_within(candidates, self.range),
            keeper=self.log.keeper,
            backfill=self.id,
        )

    def candidate(self, staged: UsageLog, number: int) -> ShownBackfill:
        """The backfill as it would be shown if it was committed now, before it is resolved."""
        view = staged.view()
        return ShownBackfill(self.id, number, self.range, self.opened_sequence, view.table, view.frames)

    def finished(self, number: int, events: int) -> ShownBackfill:
        """The backfill whose log has ended with so many `events`, all in its table. Raises BackfillDamaged."""
        table = UsageTable(self.directory / "usage", disk=self.disk, buckets=self.log.subject_buckets)
        snapshot = table.snapshot()
        found = (snapshot.last_sequence, int(snapshot.files["rows"].sum()))
        if found != (events, events):
            raise BackfillDamaged(self.directory, f"its table has {found[1]} events, and {events} were committed")
        missing = [path for path in snapshot.files["path"] if not Path(path).is_file()]
        if missing:
            raise BackfillDamaged(self.directory, f"{len(missing)} files of its table are gone, such as {missing[0]}")
        runs = open_runs(self.disk, self.directory / "identities", table, self.log.seeds)
        return ShownBackfill(self.id, number, self.range, self.opened_sequence, snapshot, runs=tuple(runs))

    def committed(self, number: int, events: int) -> ShownBackfill:
        """The backfill as it was committed. Raises BackfillDamaged."""
        if not self.directory.is_dir():
            raise BackfillDamaged(self.directory, "its directory is gone")
        return load(self.directory).applied(self.finished(number, events))

    def resolve(self, backfill: ShownBackfill) -> Resolution:
        """What of it counts, as of now."""
        return resolve(backfill, self.log.knows, self.log.view)

    def commit(self, backfill: ShownBackfill, record: Callable[[], None]) -> None:
        """Show a finished backfill from now on, recorded durably by `record`. Ingest waits for as long as that takes.

        What raises leaves it as it was.
        """
        resolution = self.resolve(backfill)
        with self.log.paused():
            view = self.log.view()
            resolution = resolved_until_now(backfill, resolution, view)
            save(self.disk, self.directory, resolution)
            record()
            self.log.show([*view.backfills, resolution.applied(backfill)])

    def revert(self, record: Callable[[], None]) -> None:
        """Do not show it from now on, recorded durably by `record`."""
        with self.log.paused():
            record()
            self.log.show(backfill for backfill in self.log.view().backfills if backfill.id != self.id)

    def remove(self) -> None:
        """Remove the staged events. Durable on return."""
        if self.directory.exists():
            self.disk.remove_tree(self.directory)


def with_candidate(view: View, backfill: ShownBackfill) -> View:
    """The state as it would be with this backfill committed last."""
    return replace(view, backfills=(*view.backfills, backfill))
