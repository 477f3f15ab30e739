"""The levels of the index together, and the thread that moves identities down.

New identities go to a table in memory. A full table is set aside, written as a run by a thread of the index, and
dropped; that thread also merges runs. So whoever commits events never sorts, writes or merges, and a lookup of new
events touches memory only. A merge gives way to ingest while that is busy: it changes no answer, only what the next
lookups cost. What sets a bound to that is the number of runs, so a burst has the machine for itself and what is
sustained pays for its merges.

What cannot be written is tried again: meanwhile the tables stay in memory, and when there are `WAITING_MAX` of them,
lookups wait, so that memory stays bounded: while the disk is slow until it has caught up, while it is full not at all
(DiskFull: nobody is told more than that), and when it fails until that has lasted.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ingest.errors import DiskFull
from ingest.identity import BodyHash, IdentityHash
from ingest.identity_index import filter as bits
from ingest.identity_index.merge import due, merged
from ingest.identity_index.recent import RecentIdentities
from ingest.identity_index.records import Records, Words, in_order, pieces
from ingest.identity_index.run import Coverage, Run, RunDamaged, write_run
from rating.disk import Disk, is_full

RECENT_EVENTS = 1 << 20
WAITING_MAX = 8
WAIT_SECONDS = 30.0
RETRY_SECONDS = 1.0
RUNS_WHILE_BUSY_MAX = 14  # with more of them merges no longer give way: up to ten are there when all is merged
YIELD_SECONDS = 0.05  # between two looks whether ingest is still busy
_log = logging.getLogger(__name__)


class _Stopped(Exception):
    """The index is being closed: leave the merge at hand."""


class IdentityIndex:
    """Made by `open_index`. One thread looks up and adds: the one that commits."""

    def __init__(
        self,
        disk: Disk,
        directory: Path,
        seeds: tuple[int, int],
        scheme: tuple[int, int],
        runs: list[Run],
        recent_events: int = RECENT_EVENTS,
    ) -> None:
        self.seeds = seeds
        self._disk, self._directory, self._scheme, self._recent_events = disk, directory, scheme, recent_events
        self._recent = RecentIdentities(runs[-1].coverage.last_sequence + 1 if runs else 1, recent_events)
        self._waiting: tuple[RecentIdentities, ...] = ()  # full tables, oldest first, not yet written
        self._runs: tuple[Run, ...] = tuple(runs)  # by sequence
        self._needless: list[Path] = []  # files of runs that were merged
        self._changed = threading.Condition()
        self._is_stopping, self._is_idle = False, False
        self._failure: OSError | None = None
        self._is_busy: Callable[[], bool] = lambda: False
        self._thread = threading.Thread(target=self._work, name="identity-index", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        with self._changed:
            return sum(len(level) for level in self._all())

    @property
    def last_sequence(self) -> int:
        """The identities of all events up to this one are here."""
        return self._recent.last_sequence

    @property
    def memory_bytes(self) -> int:
        """What tables, fences and filters take; a merge takes as much as the filter that it makes on top."""
        with self._changed:
            return sum(level.memory_bytes for level in self._all())

    def lookup(self, identity: IdentityHash) -> tuple[np.ndarray, BodyHash]:
        """Whether each identity is known, and the fingerprint of its event (0 where it is not).

        Raises DiskFull when what is in memory finds no room on the disk, OSError when the disk fails, also when what is
        in memory could not be written for long.
        """
        asked = Records(*identity, np.zeros(len(identity[0]), np.int64))
        known, fingerprint = np.zeros(len(asked), bool), asked.fingerprint
        rows, left = np.arange(len(asked)), asked
        masks: Words | None = None
        for level in self._levels():
            if isinstance(level, RecentIdentities):
                found, values = level.find(left)
            else:
                masks = bits.first_masks(left.low) if masks is None else masks
                found, values = self._search(level, left, masks)
            if len(found):
                known[rows[found]] = True
                fingerprint[rows[found]] = values
                others = np.flatnonzero(~known[rows])
                rows, left, masks = rows[others], left[others], None if masks is None else masks[others]
        return known, fingerprint

    def add(self, identity: IdentityHash, fingerprint: BodyHash) -> None:
        """Remember the next events that were accepted, in order; none of them is known."""
        self.recover(Records(*identity, fingerprint), self.last_sequence + len(fingerprint))

    def recover(self, records: Records, last_sequence: int) -> None:
        """Remember the events after `self.last_sequence` up to `last_sequence`."""
        while len(records) > self._recent.room:
            fitting = self._recent.room
            self._recent.add(records[:fitting], last_sequence - len(records) + fitting)
            records = records[fitting:]
            self._set_aside()
        self._recent.add(records, last_sequence)

    def give_way(self, is_busy: Callable[[], bool]) -> None:
        """Merge only while this is false, as long as there are not too many runs."""
        self._is_busy = is_busy

    def settle(self) -> None:
        """Wait until everything that can be written and merged is. Raises the OSError that keeps it from that."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_idle or self._failure is not None)
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """End the thread. What is only in memory is read from usage table and journal at the next start."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _search(self, run: Run, asked: Records, masks: Words) -> tuple[np.ndarray, BodyHash]:
        try:
            return run.find(asked, masks)
        except RunDamaged as error:
            self._give_up(error)
            raise

    def _give_up(self, error: RunDamaged) -> None:
        """Remove the file of a damaged run: the next start makes it again. Until then its sound blocks serve."""
        _log.error("the index of identities is damaged", exc_info=error)
        for run in self._runs:
            if run.path.name == error.name:
                run.is_damaged = True
                self._disk.unlink(run.path)

    def _levels(self) -> tuple[RecentIdentities | Run, ...]:
        """Tables and runs, each identity in one of them; waits when too many tables wait to be written."""
        with self._changed:
            while len(self._waiting) >= WAITING_MAX:
                has_moved = self._changed.wait_for(self._has_room_or_is_full, WAIT_SECONDS)
                failure = self._failure
                if failure is not None and is_full(failure) and len(self._waiting) >= WAITING_MAX:
                    raise DiskFull(f"the index of identities finds no room: {failure.strerror}; send it again later")
                if failure is not None and not has_moved:
                    raise failure
            return self._all()

    def _has_room_or_is_full(self) -> bool:
        return len(self._waiting) < WAITING_MAX or (self._failure is not None and is_full(self._failure))

    def _all(self) -> tuple[RecentIdentities | Run, ...]:
        return (self._recent, *reversed(self._waiting), *reversed(self._runs))

    def _set_aside(self) -> None:
        with self._changed:
            self._waiting = (*self._waiting, self._recent)
            self._recent = RecentIdentities(self._recent.last_sequence + 1, self._recent_events)
            self._is_idle = False
            self._changed.notify_all()

    def _work(self) -> None:
        while not self._is_stopping:
            try:
                is_done = self._step()
                failure = None
            except _Stopped:
                return
            except OSError as error:
                _log.warning("the index of identities cannot be written; trying again", exc_info=error)
                is_done, failure = False, error
            with self._changed:
                self._failure = failure
                self._is_idle = is_done and not self._waiting
                self._changed.notify_all()
                if failure is not None:
                    self._changed.wait_for(lambda: self._is_stopping, RETRY_SECONDS)
                else:
                    self._changed.wait_for(lambda: self._is_stopping or not self._is_idle)

    def _step(self) -> bool:
        """Write the tables that wait, and merge once; true when there was nothing to merge."""
        self._write_waiting()
        self._remove_needless()
        runs = self._runs
        after_damage = max((at + 1 for at, run in enumerate(runs) if run.is_damaged), default=0)
        runs = runs[after_damage:]
        window = due([len(run) for run in runs], self._recent_events)
        if window is None:
            return True
        self._merge(runs[window])
        return False

    def _write_waiting(self) -> None:
        while self._waiting:
            table = self._waiting[0]
            coverage = Coverage(*self._scheme, table.first_sequence, table.last_sequence, len(table))
            run = write_run(self._disk, self._directory / coverage.name, coverage, pieces(in_order(table.records())))
            with self._changed:
                self._waiting, self._runs = self._waiting[1:], (*self._runs, run)
                self._changed.notify_all()

    def _merge(self, runs: tuple[Run, ...]) -> None:
        """Put one run in the place of `runs`; their files go after it. A crash in between leaves files that the new one
        covers: the next start removes them."""
        first, last = runs[0].coverage.first_sequence, runs[-1].coverage.last_sequence
        coverage = Coverage(*self._scheme, first, last, sum(map(len, runs)))
        try:
            run = write_run(self._disk, self._directory / coverage.name, coverage, self._pieces(runs))
        except RunDamaged as error:
            self._give_up(error)
            return
        with self._changed:
            at = self._runs.index(runs[0])
            self._runs = (*self._runs[:at], run, *self._runs[at + len(runs) :])
        self._needless += [old.path for old in runs]

    def _remove_needless(self) -> None:
        while self._needless:
            self._disk.unlink(self._needless[-1])
            self._needless.pop()

    def _pieces(self, runs: tuple[Run, ...]) -> Iterator[Records]:
        """The rows of a merge; between them the tables that wait are written, for they hold up those who commit."""
        for piece in merged(runs):
            self._yield_to_ingest()
            yield piece

    def _yield_to_ingest(self) -> None:
        """Write the tables that wait, and return when a merge may go on. Raises _Stopped."""
        self._write_waiting()
        while not self._is_stopping and self._is_busy() and len(self._runs) <= RUNS_WHILE_BUSY_MAX:
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopping or bool(self._waiting), YIELD_SECONDS)
            self._write_waiting()
        if self._is_stopping:
            raise _Stopped
