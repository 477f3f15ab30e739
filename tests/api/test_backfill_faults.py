"""One call of the disk fails, or is the last before a power cut, while a backfill is opened, loaded, committed and
reverted.

What must hold each time: the backfill counts whole or not at all, as its record says; what was answered is so; what was
staged and acknowledged is there; and the step that was cut short can be taken again. The database lies on another disk:
it answers for itself, and is taken as it is at the moment of the fault.
"""

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.backfills import BackfillService
from ingest.backfill_range import BackfillRange
from ingest.errors import IngestError, JournalDamaged
from ingest.log import UsageLog
from rating.disk import Disk
from store import Store, open_store
from tests.ingest.events import NOW, event, open_log, post, stored
from tests.ingest.simulated_disk import Fault, SimulatedDisk

RANGE = BackfillRange(datetime(2026, 10, 14, tzinfo=UTC), datetime(2026, 10, 15, tzinfo=UTC))
INSIDE, OUTSIDE = "2026-10-14T06:00:00Z", "2026-10-15T06:00:00Z"
OWN = [event("a", time=INSIDE), event("b", time=INSIDE), event("c", time=OUTSIDE)]
STAGED = [event("a", time=INSIDE, data={"tokens": 7}), event("n", time=INSIDE, data={"tokens": 8})]
BEFORE = {("a", 5), ("b", 5), ("c", 5)}
AFTER = {("a", 7), ("n", 8), ("c", 5)}


@dataclass(frozen=True)
class Told:
    """What the caller was answered so far; `key` is that of the backfill."""

    posted: bool = False
    key: str | None = None
    loaded: bool = False
    committed: bool = False
    reverting: bool = False
    reverted: bool = False


class Story:
    def __init__(self) -> None:
        self.told = Told()

    def now(self, **more: object) -> None:
        self.told = replace(self.told, **more)  # type: ignore[arg-type] # of the fields above


@contextmanager
def running(directory: Path, database: Path) -> Iterator[tuple[UsageLog, Store, BackfillService]]:
    log = open_log(directory)
    try:
        store = open_store(f"sqlite:///{database}")
        try:
            service = BackfillService(
                store, log, directory, lambda: NOW, open_max=2, disk=Disk(), on_changed=lambda: None
            )
            try:
                yield log, store, service
            finally:
                service.close()
        finally:
            store.close()
    finally:
        log.close()


def work(directory: Path, database: Path, story: Story) -> None:
    with running(directory, database) as (log, _, service):
        assert post(log, OWN).accepted == len(OWN)
        story.now(posted=True)
        key = service.open(RANGE).id
        story.now(key=key)
        assert post(service.staged(key), STAGED).accepted == len(STAGED)
        story.now(loaded=True)
        service.commit(key)
        story.now(committed=True)
    with running(directory, database) as (_, _, service):
        story.now(reverting=True)
        service.revert(key)
        story.now(reverted=True)


def counted(log: UsageLog) -> set[tuple[str, int]]:
    events = stored(log)
    assert events["id"].is_unique().all()
    return {(key, int(tokens)) for key, tokens in events.select("id", "data_tokens").iter_rows()}


def check(directory: Path, database: Path, told: Told) -> None:
    """Open what is left, compare it with what was told, and finish the work."""
    with running(directory, database) as (log, store, service):
        if not told.posted:
            assert post(log, OWN).total == len(OWN)
        if told.key is None:
            for record in store.backfills.in_states(["open"]):
                service.drop(record.id)
            assert counted(log) == BEFORE
            return
        record = store.backfills.get(told.key)
        assert service.failure(told.key) is None
        assert not told.committed or record.state != "open"
        assert told.reverting or record.state != "reverted"
        assert not told.reverted or record.state == "reverted"
        assert counted(log) == (AFTER if record.state == "committed" else BEFORE)
        if record.state == "open":
            again = post(service.staged(told.key), STAGED)
            assert again.duplicate == len(STAGED) or not told.loaded
            service.commit(told.key)
            assert counted(log) == AFTER
            assert post(log, [*OWN, *STAGED]).duplicate == len([*OWN, *STAGED])
        if record.state != "reverted":
            service.revert(told.key)
        assert counted(log) == BEFORE


def run_with(scratch: Path, fault: Fault | None) -> SimulatedDisk:
    """The workload on a disk with a fault; what is left is checked as the page cache shows it and after a power cut."""
    (scratch / "disk").mkdir(parents=True)
    disk, story = SimulatedDisk(scratch / "disk"), Story()
    disk.fault = fault
    with disk.watching():
        try:
            work(scratch / "disk" / "data", scratch / "db", story)
        except (IngestError, OSError) as error:
            if fault is None or isinstance(error, JournalDamaged):
                raise
    disk.crash(scratch / "cut", "synced", "synced")
    copy_database(scratch / "db", scratch / "db-cut")
    disk.fault = None
    for place, database in (("disk", "db"), ("cut", "db-cut")):
        check(scratch / place / "data", scratch / database, story.told)
    return disk


def copy_database(source: Path, target: Path) -> None:
    if not source.exists():
        return
    with sqlite3.connect(source) as read, sqlite3.connect(target) as write:
        read.backup(write)
    read.close()
    write.close()


def fail_calls(scratch: Path, *, every: int) -> int:
    calls = run_with(scratch / "whole", None).calls
    tried = 0
    for at in range(1, len(calls) + 1, every):
        for code in (errno.EIO, errno.ENOSPC):
            try:
                run_with(scratch / f"{tried}", Fault(at, code))
            except BaseException as error:
                error.add_note(f"call {at}, {calls[at - 1]}, fails with {errno.errorcode[code]}")
                raise
            shutil.rmtree(scratch / f"{tried}")
            tried += 1
    return tried


def cut_power(scratch: Path, *, every: int) -> int:
    """Cut the power behind every n-th call: what is synced is there, and nothing else, or all of it."""
    scratch.joinpath("disk").mkdir(parents=True)
    disk, story = SimulatedDisk(scratch / "disk"), Story()
    states: list[tuple[Path, Path, Told, str]] = []

    def cut() -> None:
        if len(disk.calls) % every:
            return
        for mode in ("synced", "all"):
            place = scratch / f"{len(states)}"
            place.mkdir()
            disk.crash(place / "disk", mode, mode)
            told = None
            while told is not story.told:  # the call may be one of another thread: what is told goes with the record
                told = story.told
                copy_database(scratch / "db", place / "db")
            states.append((place / "disk" / "data", place / "db", told, disk.calls[-1]))

    disk.after_call = cut
    with disk.watching():
        work(scratch / "disk" / "data", scratch / "db", story)
    for directory, database, told, call in states:
        try:
            check(directory, database, told)
        except BaseException as error:
            error.add_note(f"a power cut behind {call}, {told}")
            raise
    return len(states)


def test_some_calls_fail(tmp_path: Path) -> None:
    assert fail_calls(tmp_path, every=31) > 8


def test_the_power_is_cut_behind_some_calls(tmp_path: Path) -> None:
    assert cut_power(tmp_path, every=17) > 12


@pytest.mark.long
def test_every_call_fails(tmp_path: Path) -> None:
    print(f"{fail_calls(tmp_path, every=1)} failures")


@pytest.mark.long
def test_the_power_is_cut_behind_every_call(tmp_path: Path) -> None:
    print(f"{cut_power(tmp_path, every=1)} states")
