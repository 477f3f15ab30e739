"""Open the index of a data directory: take the runs that can be used, make what they lack.

Only headers, fences and filters are read. The index is a cache (RELIABILITY R5): whatever is missing, torn, damaged or
made under another secret is made again from the usage table; identities that came after the last run are added from
table and journal.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ingest.identity import hash_identities
from ingest.identity_index.index import RECENT_EVENTS, IdentityIndex
from ingest.identity_index.merge import merged
from ingest.identity_index.records import Records, concatenated, in_order, pieces
from ingest.identity_index.run import Coverage, Run, RunDamaged, open_run, write_run
from ingest.identity_index.secret import load_secret, scheme_of
from ingest.schema import FINGERPRINT
from ingest.usage_table import UsageTable
from rating.disk import Disk

REBUILD_EVENTS = 1 << 22  # identities in memory while a run is made again
_NO_EVENTS = pl.DataFrame(schema={"source": pl.String, "id": pl.String, FINGERPRINT: pl.Int64, "sequence": pl.Int64})
_log = logging.getLogger(__name__)


def open_index(
    disk: Disk,
    directory: Path,
    table: UsageTable,
    tail: Sequence[pl.DataFrame],
    recent_events: int = RECENT_EVENTS,
    rebuild_events: int = REBUILD_EVENTS,
) -> IdentityIndex:
    """The index in `directory` (made when absent) of the events in `table` and, after them, in `tail`."""
    disk.make_directory(directory)
    for leftover in (*directory.glob("*.tmp"), *directory.glob("*.part")):
        disk.unlink(leftover)
    seeds = load_secret(disk, directory)
    opening = _Opening(disk, directory, table, seeds, scheme_of(seeds), rebuild_events)
    last_sequence = max([table.last_sequence, *(_last_sequence(frame) for frame in tail)])
    runs = opening.runs(last_sequence, recent_events)
    index = IdentityIndex(disk, directory, seeds, opening.scheme, runs, recent_events)
    try:
        if index.last_sequence < table.last_sequence:
            index.recover(opening.newest(index.last_sequence + 1), table.last_sequence)
        for frame in tail:
            if (last := _last_sequence(frame)) > index.last_sequence:
                index.recover(opening.hashed(frame.filter(pl.col("sequence") > index.last_sequence)), last)
    except BaseException:
        index.close()
        raise
    return index


def open_runs(disk: Disk, directory: Path, table: UsageTable, seeds: tuple[int, int]) -> list[Run]:
    """The identities of all events of a `table` that will not change, as runs under the secret of another index; made
    from the table where `directory` does not have them."""
    disk.make_directory(directory)
    for leftover in (*directory.glob("*.tmp"), *directory.glob("*.part")):
        disk.unlink(leftover)
    return _Opening(disk, directory, table, seeds, scheme_of(seeds), REBUILD_EVENTS).runs(table.last_sequence, 0)


def forget(disk: Disk, directory: Path) -> None:
    """Remove the runs in `directory`, so that the next start makes them again: for events that the log has lost."""
    for path in directory.glob("*.run"):
        disk.unlink(path)


@dataclass(frozen=True)
class _Opening:
    disk: Disk
    directory: Path
    table: UsageTable
    seeds: tuple[int, int]
    scheme: tuple[int, int]
    rebuild_events: int

    def runs(self, last_sequence: int, recent_events: int) -> list[Run]:
        """Runs by sequence, from the first event on and without a gap, up to so near the end of the table that what is
        left is not worth a run."""
        runs: list[Run] = []
        covered = 0
        for run in self._usable(last_sequence):
            if run.coverage.first_sequence > covered + 1:
                if run.coverage.first_sequence > self.table.last_sequence + 1:
                    self._drop(run.path, "what is before it is missing, and not all in the usage table yet")
                    continue
                runs.append(self._made_again(covered + 1, run.coverage.first_sequence - 1))
            runs.append(run)
            covered = run.coverage.last_sequence
        if self.table.last_sequence - covered > recent_events:
            runs.append(self._made_again(covered + 1, self.table.last_sequence))
        return runs

    def newest(self, first_sequence: int) -> Records:
        """The identities of the table's events from `first_sequence` on, in order."""
        frames = [*self.table.identities(first_sequence, self.table.last_sequence)]
        return self.hashed(pl.concat(frames or [_NO_EVENTS]).sort("sequence"))

    def hashed(self, events: pl.DataFrame) -> Records:
        """The identities of stored events."""
        return Records(*hash_identities(events, self.seeds), events[FINGERPRINT].to_numpy())

    def _usable(self, last_sequence: int) -> list[Run]:
        """The runs that are whole as far as can be seen, ours, and not covered by another; removes all others."""
        usable: list[Run] = []
        for path in sorted(self.directory.glob("*.run"), key=_place):
            try:
                run = open_run(path)
            except (RunDamaged, FileNotFoundError) as error:
                self._drop(path, str(error))
                continue
            coverage = run.coverage
            covered = usable[-1].coverage.last_sequence if usable else 0
            if path.name != coverage.name or (coverage.scheme_high, coverage.scheme_low) != self.scheme:
                self._drop(path, "it is of another data directory or secret, or a library hashes in another way")
            elif coverage.last_sequence > last_sequence:
                self._drop(path, f"it goes beyond the last event, {last_sequence}")
            elif coverage.last_sequence <= covered:
                self.disk.unlink(path)  # merged; the process ended before it was removed
            elif coverage.first_sequence <= covered:
                self._drop(path, "it overlaps with another")
            else:
                usable.append(run)
        return usable

    def _made_again(self, first_sequence: int, last_sequence: int) -> Run:
        """The run of these events, all in the table, which may have them in any order: sorted parts, then merged."""
        _log.warning("identities of the events %d to %d: read from the usage table", first_sequence, last_sequence)
        parts: list[Run] = []
        for number, records in enumerate(self._batches(first_sequence, last_sequence)):
            coverage = Coverage(*self.scheme, first_sequence, last_sequence, len(records))
            path = self.directory / f"{first_sequence:020d}-{number}.part"
            parts.append(write_run(self.disk, path, coverage, pieces(in_order(records))))
        coverage = Coverage(*self.scheme, first_sequence, last_sequence, sum(len(part) for part in parts))
        run = write_run(self.disk, self.directory / coverage.name, coverage, merged(parts) if parts else ())
        for part in parts:
            self.disk.unlink(part.path)
        return run

    def _batches(self, first_sequence: int, last_sequence: int) -> Iterator[Records]:
        waiting: list[Records] = []
        for frame in self.table.identities(first_sequence, last_sequence):
            waiting.append(self.hashed(frame))
            if sum(len(records) for records in waiting) >= self.rebuild_events:
                yield concatenated(waiting)
                waiting = []
        if waiting:
            yield concatenated(waiting)

    def _drop(self, path: Path, why: str) -> None:
        _log.warning("%s is not used: %s; what it held is read from the usage table", path.name, why)
        with suppress(FileNotFoundError):
            self.disk.unlink(path)


def _place(path: Path) -> tuple[str, int]:
    """By first sequence, and of those that begin together the longest first."""
    first, _, last = path.stem.partition("-")
    return first, -int(last) if last.isdigit() else 0


def _last_sequence(frame: pl.DataFrame) -> int:
    return int(frame["sequence"][-1]) if frame.height else 0
