"""One call of the disk fails, or is the last one before a power cut: for every call of a workload that has every step.

What must hold each time: what was acknowledged is there once, what is there was sent, and after a resend of everything
each event is there once.
"""

import errno
import hashlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pytest

from ingest.errors import IngestError, JournalDamaged
from ingest.limits import IngestLimits
from ingest.log import UsageLog
from tests.ingest.corrections import correct, replacement, void
from tests.ingest.events import event, open_log, post, stored
from tests.ingest.simulated_disk import Fault, SimulatedDisk

CALLS_MAX = 400
MERGE_WHEN_ASKED = IngestLimits(merged_files=2, retention_hours=0, maintenance_share=1e-9)
CORRECTIONS = {"void-1": void(1), "2b": replacement(2, "2b")}
STRICT = ("synced", "synced")
CRASHES = (STRICT, ("all", "synced"), ("synced", "all"), ("all", "all"), ("all", "half"))


@dataclass
class Story:
    """What a client has sent, and what it was told is kept."""

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    corrections_sent: set[str] = field(default_factory=set)
    corrections_acknowledged: set[str] = field(default_factory=set)

    def copy(self) -> "Story":
        """What is known now; what follows does not change it."""
        return replace(self, **{each.name: set(getattr(self, each.name)) for each in fields(self)})

    def post(self, log: UsageLog, *keys: int) -> None:
        """Send a batch over two days, and take the answer's word for it."""
        self.sent.update(map(str, keys))
        verdict = post(
            log, [event(key, subject=f"s{key % 3}", time=f"2026-10-{14 + key % 2}T00:00:00Z") for key in keys]
        )
        assert verdict.accepted + verdict.duplicate == len(keys), verdict
        self.acknowledged.update(map(str, keys))

    def correct(self, log: UsageLog, *keys: str) -> None:
        """Send some of CORRECTIONS in one body."""
        self.corrections_sent.update(keys)
        verdict = correct(log, [CORRECTIONS[key] for key in keys])
        assert verdict.accepted + verdict.duplicate == len(keys), verdict
        self.corrections_acknowledged.update(keys)


def work(directory: Path, story: Story) -> None:
    """Open, post, flush into a new table, correct, post, resend, close; open again with a tail, declare, flush, merge
    the files of the table, remove the merged ones, post."""
    log = open_log(directory)
    try:
        story.post(log, 1, 2, 3)
        log.flush()
        story.correct(log, "void-1", "2b")
        story.post(log, 4, 5)
        story.post(log, 4, 6)
    finally:
        log.close()
    log = open_log(directory, properties={"tokens": "number"}, limits=MERGE_WHEN_ASKED)
    try:
        story.post(log, 7, 1)
        log.declare({"tokens": "number", "region": "string"})
        story.post(log, 8)
        log.flush()
        log.maintain()
        story.post(log, 9, 10)
    finally:
        log.close()


def check(directory: Path, story: Story, *, resend: bool = True) -> None:
    """Open what is left and compare; with `resend`, send everything again too."""
    log = open_log(directory)
    try:
        numbers = stored(log).select("subject", "subject_number").unique()
        assert all(column.is_unique().all() for column in numbers), f"one subject, one number: {numbers}"
        applied = _check_corrections(log, story)
        keys = stored(log)["id"].to_list()
        assert len(keys) == len(set(keys)), f"counted twice: {keys}"
        counted = set(keys) - applied.keys() | set(applied.values())
        assert story.acknowledged <= counted <= story.sent, f"{story} but {keys}"
        if resend:
            if story.sent:
                story.post(log, *map(int, story.sent))
            if story.corrections_sent:
                story.correct(log, *sorted(story.corrections_sent))
            applied = _check_corrections(log, story)
            rows, hidden = stored(log), log.view().corrected.hidden.to_list()
            assert sorted(set(rows["id"]) - applied.keys()) == sorted(story.sent - set(applied.values()))
            events = len(story.sent) + len(story.corrections_sent)
            assert sorted([*rows["sequence"], *hidden]) == list(range(1, events + 1))
    finally:
        log.close()


def _check_corrections(log: UsageLog, story: Story) -> dict[str, str]:
    """The corrections that the log has, and the event of each."""
    rows = log.view().corrected.rows
    applied = {key: str(CORRECTIONS[key]["corrects"]["id"]) for key in rows["id"]}
    assert len(applied) == rows.height, "corrected twice"
    assert story.corrections_acknowledged <= applied.keys() <= story.corrections_sent, f"{story} but {applied}"
    keys = set(stored(log)["id"])
    assert keys.isdisjoint(applied.values()), f"{applied} but {keys}"
    assert keys & CORRECTIONS.keys() == applied.keys() & {"2b"}, f"{applied} but {keys}"
    return applied


def run_with(directory: Path, fault: Fault | None) -> tuple[SimulatedDisk, Story]:
    """The workload on a disk with a fault, then a start on what the page cache shows, with a healthy disk."""
    directory.mkdir()
    disk, story = SimulatedDisk(directory), Story()
    disk.fault = fault
    with disk.watching():
        try:
            work(directory / "data", story)
        except (IngestError, OSError) as error:
            if fault is None or isinstance(error, JournalDamaged):
                raise
        struck = len(disk.calls)
        disk.fault = None
        if fault is not None and struck >= fault.at:
            check(directory / "data", story)
        del disk.calls[struck:]
    return disk, story


def faults(call: str, at: int, *, all_of_them: bool) -> Iterator[Fault]:
    """The ways in which a call can fail; without `all_of_them` each call once, and each third from then on."""
    is_write = call.startswith("write")
    for code in (errno.EIO, errno.ENOSPC) if is_write or all_of_them else (errno.EIO,):
        yield Fault(at, code)
        if all_of_them or (at % 3 == 0 and not is_write):
            yield Fault(at, code, for_ever=True)
    if is_write:
        for written in (0.0, 0.5, 1.0) if all_of_them else (0.5,):
            yield Fault(at, errno.ENOSPC, written=written)


def fail_every_call(scratch: Path, *, all_of_them: bool) -> int:
    """Number of failures tried. After each, a power cut too: what was acknowledged after the failure counts as well."""
    calls = run_with(scratch / "whole", None)[0].calls
    assert 40 < len(calls) < CALLS_MAX
    assert any(call.startswith("unlink") and call.endswith(".parquet") for call in calls), "no file was merged"
    tried = 0
    for at, call in enumerate(calls, 1):
        for fault in faults(call, at, all_of_them=all_of_them):
            disk, story = run_with(scratch / f"{tried}", fault)
            try:
                disk.crash(scratch / "cut", *STRICT)
                check_in(scratch / "cut", story)
            except BaseException as error:
                error.add_note(f"{fault}, {call}")
                raise
            shutil.rmtree(scratch / f"{tried}")
            shutil.rmtree(scratch / "cut")
            tried += 1
    return tried


def check_in(directory: Path, story: Story) -> None:
    """Check what a power cut left in `directory`."""
    with SimulatedDisk(directory).watching():
        check(directory / "data", story.copy())


@dataclass(frozen=True)
class State:
    """What a power cut behind `call` left in `directory`, and what the client knew then."""

    directory: Path
    story: Story
    call: str


def crash_after_every_call(
    root: Path, act: Callable[[], None], story: Story, images: Path, drawn: int, chance: random.Random
) -> list[State]:
    """The different states that a power cut may leave behind each call of `act` in `root`; `drawn` at random each."""
    disk = SimulatedDisk(root)
    seen: set[bytes] = set()
    states: list[State] = []

    def cut() -> None:
        modes: list[tuple[str, str, random.Random | None]] = [(*crash, None) for crash in CRASHES]
        for names, contents, draw in modes + [(*STRICT, chance)] * drawn:
            target = images / f"{len(states)}"
            disk.crash(target, names, contents, draw)
            known = story.copy()
            digest = _digest(target, known)
            if digest in seen:
                shutil.rmtree(target)
            else:
                seen.add(digest)
                states.append(State(target, known, disk.calls[-1]))

    images.mkdir()
    disk.after_call = cut
    with disk.watching():
        act()
    return states


def _digest(directory: Path, story: Story) -> bytes:
    digest = hashlib.blake2b(repr([sorted(getattr(story, each.name)) for each in fields(story)]).encode())
    for path in sorted(directory.rglob("*")):
        content = path.read_bytes() if path.is_file() and path.name != "lock" else b""
        digest.update(f"{path.relative_to(directory)} {len(content)} ".encode() + content)
    return digest.digest()


def recover_from_every_state(scratch: Path, *, drawn: int, nested_each: int, seed: int) -> tuple[int, int]:
    """Number of states that recovery was tried on, and of those that a power cut during recovery left.

    Every `nested_each`-th state has its recovery cut after each call, too.
    """
    print(f"seed {seed}")
    chance, story = random.Random(seed), Story()
    (scratch / "root").mkdir()
    states = crash_after_every_call(
        scratch / "root", lambda: work(scratch / "root" / "data", story), story, scratch / "images", drawn, chance
    )
    nested = 0
    for number, state in enumerate(states):
        try:
            if number % nested_each == 0:
                nested += recover_from_cut_recovery(scratch / f"nested-{number}", state, chance)
            check_in(state.directory, state.story)
        except BaseException as error:
            error.add_note(f"state {number}, a power cut behind {state.call}")
            raise
        shutil.rmtree(state.directory)
    return len(states), nested


def recover_from_cut_recovery(scratch: Path, state: State, chance: random.Random) -> int:
    """Recover a copy of `state`, cut that after each call, and recover from that."""
    shutil.copytree(state.directory, scratch / "root")
    again = crash_after_every_call(
        scratch / "root",
        lambda: check(scratch / "root" / "data", state.story, resend=False),
        state.story,
        scratch / "images",
        0,
        chance,
    )
    for cut in again:
        check_in(cut.directory, state.story)
    shutil.rmtree(scratch)
    return len(again)


def test_every_call_fails_once_and_for_ever(tmp_path: Path) -> None:
    print(f"{fail_every_call(tmp_path, all_of_them=False)} failures")


def test_a_power_cut_behind_every_call_and_behind_every_call_of_its_recovery(tmp_path: Path) -> None:
    states, nested = recover_from_every_state(tmp_path, drawn=3, nested_each=30, seed=1)
    print(f"{states} states, {nested} of a recovery")
    assert states > 60


@pytest.mark.long
def test_every_call_fails_in_every_way(tmp_path: Path) -> None:
    print(f"{fail_every_call(tmp_path, all_of_them=True)} failures")


@pytest.mark.long
def test_many_power_cuts(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED", random.randrange(2**32)))
    states, nested = recover_from_every_state(tmp_path, drawn=20, nested_each=3, seed=seed)
    print(f"{states} states, {nested} of a recovery")
