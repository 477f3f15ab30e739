"""A full disk, and one that fails: what is answered, what is kept, and that a full one mends itself."""

import errno
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ingest.errors import CommitUnknown, DiskFull, NotCommitted, Overloaded
from ingest.journal import NO_DIGEST, SegmentWriter, read_segment, segment_paths
from ingest.limits import IngestLimits
from ingest.log import UsageLog
from rating import delta
from rating.disk import AppendFile, Disk, SyncFailed, is_full
from tests.ingest.events import SMALL_SEGMENTS, codes, event, open_log, post, stored


class FullDisk(Disk):
    """The real disk, with `room` for so many bytes more; null is no limit. What does not fit is written in part.

    `failing` steps raise their error instead.
    """

    def __init__(self) -> None:
        self.room: int | None = None
        self.failing: dict[str, OSError] = {}

    def step(self, name: str) -> None:
        if name in self.failing:
            raise self.failing[name]

    def create(self, path: Path) -> AppendFile:
        self.step("create")
        file = super().create(path)
        append, sync = file.append, file.sync

        def limited(pieces: Sequence[bytes | memoryview]) -> None:
            self.step("append")
            content = b"".join(bytes(piece) for piece in pieces)
            fitting = content if self.room is None else content[: self.room]
            append([fitting])
            if self.room is not None:
                self.room -= len(fitting)
            if len(fitting) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        def failing_sync() -> None:
            self.step("sync")
            sync()

        file.append, file.sync = limited, failing_sync  # type: ignore[method-assign]  # this is the disk
        return file

    def rename(self, source: Path, target: Path) -> None:
        self.step("rename")
        super().rename(source, target)


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> float:
    """How long it took until `holds`."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds
        time.sleep(0.01)
    return time.monotonic() - started


def takes(log: UsageLog, key: object) -> bool:
    try:
        return post(log, [event(key)]).accepted == 1
    except (DiskFull, Overloaded):
        return False


@pytest.mark.parametrize("room", [0, 1, 47, 48, 60, 120, 500])
def test_a_full_disk_refuses_keeps_nothing_and_mends_itself(tmp_path: Path, room: int) -> None:
    disk = FullDisk()
    log = open_log(tmp_path, disk=disk)
    disk.room = room
    with pytest.raises(DiskFull) as refused:
        post(log, [event("lost")])
    assert refused.value.retry_after_seconds == 1
    with pytest.raises(DiskFull):
        log.submit(b"[]", "application/json")
    assert stored(log).height == 0
    disk.room = None
    assert wait_until(lambda: takes(log, "first")) < 2
    assert codes(post(log, [event("first"), event("lost")])) == ["duplicate"]
    log.close()
    assert [read_segment(path).fault for path in segment_paths(tmp_path / "journal")] == [None]
    log = open_log(tmp_path)
    assert stored(log)["id"].to_list() == ["first", "lost"]
    log.close()


def test_the_torn_tail_of_a_full_disk_is_cut_before_anything_follows(tmp_path: Path) -> None:
    disk = FullDisk()
    log = open_log(tmp_path, disk=disk)
    post(log, [event(1)])
    (path,) = segment_paths(tmp_path / "journal")
    whole = path.read_bytes()
    disk.room = 300
    with pytest.raises(DiskFull):
        post(log, [event(2)])
    assert path.read_bytes() == whole
    disk.room = None
    wait_until(lambda: takes(log, 3))
    assert [record.first_sequence for record in read_segment(path).records] == [1, 2]
    log.close()


def test_no_room_for_a_name_is_a_full_disk_too(tmp_path: Path) -> None:
    disk = FullDisk()
    log = open_log(tmp_path, disk=disk)
    disk.failing["create"] = OSError(errno.ENOSPC, "no inodes")
    with pytest.raises(DiskFull):
        post(log, [event(1)])
    disk.failing.clear()
    assert wait_until(lambda: takes(log, 1)) < 2
    log.close()


def test_a_cut_that_fails_ends_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tail of the failed append may be there: nothing may follow it."""
    disk = FullDisk()
    log = open_log(tmp_path, disk=disk)
    post(log, [event(1)])

    def fails(path: Path, size: int) -> None:
        raise SyncFailed(errno.EIO, "injected", str(path))

    monkeypatch.setattr(disk, "truncate", fails)
    disk.room = 100
    with pytest.raises(CommitUnknown):
        post(log, [event(2)])
    disk.room = None
    with pytest.raises(NotCommitted):
        post(log, [event(3)])
    assert log.status()["failure"] is not None
    log.close()
    log = open_log(tmp_path)
    assert stored(log)["id"].to_list() == ["1"]
    log.close()


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("append", OSError(errno.EIO, "injected")),
        ("sync", SyncFailed(errno.EIO, "injected")),
        ("sync", SyncFailed(errno.ENOSPC, "injected")),
    ],
)
def test_any_other_failure_ends_acceptance_for_the_process(tmp_path: Path, step: str, error: OSError) -> None:
    disk = FullDisk()
    log = open_log(tmp_path, disk=disk)
    post(log, [event(1)])
    disk.failing[step] = error
    with pytest.raises(CommitUnknown, match="same event ids"):
        post(log, [event(2)])
    disk.failing.clear()
    with pytest.raises(NotCommitted):
        post(log, [event(1)])
    log.close()


def test_only_a_step_that_made_nothing_durable_is_taken_for_a_full_disk() -> None:
    assert is_full(OSError(errno.ENOSPC, "x"))
    assert is_full(OSError(errno.EDQUOT, "x"))
    assert not is_full(OSError(errno.EIO, "x"))
    assert not is_full(SyncFailed(errno.ENOSPC, "x"))


@pytest.mark.parametrize("step", ["append", "create", "rename"])
def test_flushing_waits_for_room_while_ingest_goes_on(
    tmp_path: Path, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk()
    log = open_log(tmp_path, disk=disk, limits=IngestLimits(segment_bytes=1 << 20, sealed_segments=2))
    post(log, [event(1)])
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    disk.failing[step] = full
    with caplog.at_level(logging.ERROR), pytest.raises(DiskFull):
        log.flush()
    del disk.failing[step]
    post(log, [event(2)])
    disk.failing[step] = full
    with pytest.raises(DiskFull):
        log.flush()
    with pytest.raises(DiskFull, match="the usage table cannot be written"):
        post(log, [event(3)])
    assert stored(log)["id"].to_list() == ["1", "2"]
    disk.failing.clear()
    assert wait_until(lambda: takes(log, 3), 5) < 3
    log.flush()
    assert stored(log)["sequence"].to_list() == [1, 2, 3]
    assert log.status()["failure"] is None
    log.close()


def test_a_commit_of_the_table_that_finds_no_room_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What delta-rs says of a full disk has no number; seen with deltalake 1.6.6 on a tmpfs."""
    log = open_log(tmp_path)
    post(log, [event(1)])
    table = log._table._table
    commit = table._commit

    def fails(*arguments: object) -> None:
        monkeypatch.setattr(table, "_commit", commit)
        with delta._full_disk_has_its_number():
            raise OSError("Generic LocalFileSystem error: No space left on device (os error 28)")

    monkeypatch.setattr(table, "_commit", fails)
    with pytest.raises(DiskFull):
        log.flush()
    log.flush()
    assert (log.status()["table_last_sequence"], log.status()["failure"]) == (1, None)
    assert stored(log)["sequence"].to_list() == [1]
    log.close()


def test_a_segment_that_could_not_be_deleted_goes_before_the_next(tmp_path: Path) -> None:
    disk = FullDisk()
    log = open_log(tmp_path, disk=disk, limits=SMALL_SEGMENTS)
    post(log, [event(1)])
    unlink, refused = disk.unlink, OSError(errno.ENOSPC, "no room to copy a directory")

    def fails(path: Path) -> None:
        if path.suffix == ".segment":
            raise refused
        unlink(path)

    disk.unlink = fails  # type: ignore[method-assign]  # this is the disk
    with pytest.raises(DiskFull):
        log.flush()
    disk.unlink = unlink  # type: ignore[method-assign]
    post(log, [event(2)])
    log.flush()
    assert segment_paths(tmp_path / "journal") == []
    assert stored(log)["sequence"].to_list() == [1, 2]
    log.close()


def test_a_new_segment_without_room_leaves_no_file(tmp_path: Path) -> None:
    disk = FullDisk()
    disk.room = 20
    with pytest.raises(DiskFull):
        SegmentWriter(disk, tmp_path, 1, NO_DIGEST)
    assert list(tmp_path.iterdir()) == []
    disk.room = None
    SegmentWriter(disk, tmp_path, 1, NO_DIGEST).close()
