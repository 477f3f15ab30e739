"""What a segment writer leaves on the disk: record by record, without room, and on a disk that fails."""

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from ingest.errors import DiskFull
from ingest.journal import NO_DIGEST, SegmentWriter, read_segment, segment_paths
from rating.disk import AppendFile, Disk, SyncFailed
from tests.ingest.events import RecordingDisk, open_files

LONG = pl.DataFrame({"id": [str(number) for number in range(1_000)]})
SHORT = pl.DataFrame({"id": ["a", "b"]})
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class NarrowDisk(Disk):
    """The real disk. With `room`, an append writes so many bytes and raises `error`; a `refusal` is that to create."""

    room: int | None = None
    error: OSError = FULL
    refusal: OSError | None = None

    def create(self, path: Path) -> AppendFile:
        if self.refusal is not None:
            raise self.refusal
        file = super().create(path)
        append = file.append

        def limited(pieces: Sequence[bytes | memoryview]) -> None:
            content = b"".join(bytes(piece) for piece in pieces)
            append([content if self.room is None else content[: self.room]])
            if self.room is not None:
                raise self.error

        file.append = limited  # type: ignore[method-assign]  # this is the disk
        return file


def test_a_segment_is_named_for_its_first_event(tmp_path: Path) -> None:
    for first in (1_000, 9, 12):
        SegmentWriter(Disk(), tmp_path, first, NO_DIGEST).close()
    (tmp_path / "losses.json").touch()
    names = [f"{first:020d}.segment" for first in (9, 12, 1_000)]
    assert [path.name for path in segment_paths(tmp_path)] == names


def test_records_come_back_as_they_were_appended(tmp_path: Path) -> None:
    """A short one behind a long one, too: what is left of the long one in memory is not written."""
    writer = SegmentWriter(Disk(), tmp_path, 5, b"before" + bytes(10))
    assert (writer.size, writer.digest) == (48, b"before" + bytes(10))
    first = 5
    for events in (LONG, SHORT, LONG, SHORT[:0], SHORT):
        writer.append(events, first)
        first += events.height
        assert writer.size == writer.path.stat().st_size
    segment = read_segment(writer.path)
    assert segment.fault is None
    assert [(one.first_sequence, one.events) for one in segment.records] == [
        (5, 1_000),
        (1_005, 2),
        (1_007, 1_000),
        (2_007, 0),
        (2_007, 2),
    ]
    for one, events in zip(segment.records, (LONG, SHORT, LONG, SHORT[:0], SHORT), strict=True):
        assert one.frame().equals(events)
    assert (writer.digest, writer.size) == (segment.digest, segment.end)
    writer.close()


def test_a_segment_is_durable_before_its_first_record(tmp_path: Path) -> None:
    disk = RecordingDisk()
    writer = SegmentWriter(disk, tmp_path, 1, NO_DIGEST)
    steps = ["create", "append", "sync", "sync_directory"]
    assert [step for step, _ in disk.calls] == steps
    writer.append(SHORT, 1)
    assert [step for step, _ in disk.calls] == [*steps, "append"]
    writer.sync()
    assert [step for step, _ in disk.calls] == [*steps, "append", "sync"]
    writer.close()


@pytest.mark.parametrize("room", [0, 1, 71, 72, 200])
def test_a_record_without_room_leaves_nothing_and_the_next_one_follows(tmp_path: Path, room: int) -> None:
    disk = NarrowDisk()
    writer = SegmentWriter(disk, tmp_path, 1, NO_DIGEST)
    writer.append(SHORT, 1)
    before, digest = writer.path.read_bytes(), writer.digest
    disk.room = room
    what = re.escape(f"{writer.path} cannot be written, No space left on device; send it again after a moment")
    with pytest.raises(DiskFull, match=what):
        writer.append(LONG, 3)
    assert (writer.path.read_bytes(), writer.size, writer.digest) == (before, len(before), digest)
    disk.room = None
    writer.append(SHORT, 3)
    segment = read_segment(writer.path)
    assert (segment.fault, segment.last_sequence, segment.end) == (None, 4, writer.size)
    writer.close()


def test_a_full_disk_without_a_text_is_told_by_its_number(tmp_path: Path) -> None:
    disk = NarrowDisk()
    writer = SegmentWriter(disk, tmp_path, 1, NO_DIGEST)
    disk.room, disk.error = 0, OSError("full")
    disk.error.errno = errno.EDQUOT
    with pytest.raises(DiskFull, match="cannot be written, full; send"):
        writer.append(SHORT, 1)
    writer.close()


OTHERS = [OSError(errno.EIO, "injected"), SyncFailed(errno.ENOSPC, "injected")]


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_any_other_error_comes_as_it_is_and_cuts_nothing(tmp_path: Path, error: OSError) -> None:
    disk = NarrowDisk()
    writer = SegmentWriter(disk, tmp_path, 1, NO_DIGEST)
    disk.room, disk.error = 20, error
    with pytest.raises(OSError, match="injected") as raised:
        writer.append(SHORT, 1)
    assert raised.value is error
    assert writer.size == writer.path.stat().st_size == 48 + 20
    writer.close()


def test_a_segment_whose_header_finds_no_room_is_not_there(tmp_path: Path) -> None:
    disk = NarrowDisk()
    disk.room = 20
    with pytest.raises(DiskFull, match=r"00000000000000000001\.segment cannot be written"):
        SegmentWriter(disk, tmp_path, 1, NO_DIGEST)
    assert (list(tmp_path.iterdir()), open_files(tmp_path)) == ([], [])
    disk.room = None
    SegmentWriter(disk, tmp_path, 1, NO_DIGEST).close()


@pytest.mark.parametrize(
    ("refusal", "raised", "what"),
    [
        pytest.param(FULL, DiskFull, "a journal segment in .* cannot be written", id="no room for its name"),
        pytest.param(FileExistsError(errno.EEXIST, "taken"), FileExistsError, "taken", id="its name is taken"),
    ],
)
def test_a_segment_that_cannot_be_created_says_why(
    tmp_path: Path, refusal: OSError, raised: type[Exception], what: str
) -> None:
    disk = NarrowDisk()
    disk.refusal = refusal
    with pytest.raises(raised, match=what):
        SegmentWriter(disk, tmp_path, 1, NO_DIGEST)
