"""A damaged journal: found at every byte, refused, and repaired to everything that is whole."""

import json
import shutil
from pathlib import Path

import pytest

from ingest.errors import JournalDamaged
from ingest.journal import NO_DIGEST, Record, SegmentWriter, read_segment, segment_paths
from ingest.losses import Loss, read_losses
from ingest.recovery import faults
from ingest.repair import Repair, repair_journal
from ingest.verification import verify_journal, verify_table
from rating.disk import Disk
from tests.ingest.events import RecordingDisk, event, open_log, post, stored


class QuickDisk(Disk):
    """The real disk without its syncs: for thousands of repairs."""

    def sync_directory(self, path: Path) -> None:
        return

    def sync_file(self, path: Path) -> None:
        return


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A data directory whose one segment has four records: of 2, 1, 2 and 1 events."""
    log = open_log(tmp_path / "origin")
    for keys in ([1, 2], [3], [4, 5], [6]):
        post(log, [event(key) for key in keys])
    log.close()
    return tmp_path / "origin"


def the_segment(directory: Path) -> Path:
    (path,) = segment_paths(directory / "journal")
    return path


def records_of(directory: Path) -> tuple[Record, ...]:
    return read_segment(the_segment(directory)).records


def damaged(origin: Path, content: bytes, name: str = "damaged") -> Path:
    directory = origin.parent / name
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "journal").mkdir(parents=True)
    (directory / "journal" / the_segment(origin).name).write_bytes(content)
    return directory


def repaired(directory: Path, disk: Disk | None = None, stored_sequence: int = 0) -> Repair:
    aside = directory / "damaged" / "now"
    shutil.rmtree(aside, ignore_errors=True)
    return repair_journal(disk or Disk(), directory / "journal", stored_sequence, aside)


def sequences_after_start(directory: Path) -> list[int]:
    log = open_log(directory)
    try:
        return stored(log)["sequence"].to_list()
    finally:
        log.close()


def flipped(content: bytes, offset: int, bit: int = 0x20) -> bytes:
    return content[:offset] + bytes([content[offset] ^ bit]) + content[offset + 1 :]


def test_a_flip_at_every_byte_of_a_record_is_found_and_costs_that_record_alone(origin: Path) -> None:
    content, records = the_segment(origin).read_bytes(), records_of(origin)
    second = records[1]
    directory, disk = damaged(origin, content), QuickDisk()
    path = the_segment(directory)
    for offset in range(second.offset, second.end):
        path.write_bytes(flipped(content, offset, 1 << offset % 8))
        found = read_segment(path)
        assert found.fault is not None
        assert (found.fault.offset, found.records) == (second.offset, records[:1])
        assert faults([found], 0, [])
        if offset < second.offset + 72 or offset % 11 == 0:  # each byte of the head, some of the body: for time
            done = repaired(directory, disk)
            assert (done.saved_records, done.saved_events, done.losses) == (3, 5, (Loss(3, 3),))
            assert not verify_journal(directory).problems
            shutil.rmtree(directory / "journal")
            (directory / "journal").mkdir()
    path.write_bytes(flipped(content, second.end - 1))
    repaired(directory)
    assert sequences_after_start(directory) == [1, 2, 4, 5, 6]


def test_a_truncation_at_every_byte_keeps_the_records_before_it(origin: Path) -> None:
    content, records = the_segment(origin).read_bytes(), records_of(origin)
    directory = damaged(origin, content)
    path = the_segment(directory)
    for size in range(records[1].offset, records[1].end):
        path.write_bytes(content[:size])
        assert read_segment(path).records == records[:1]
        assert not verify_journal(directory).problems  # a tear: the start cuts it
    assert sequences_after_start(directory) == [1, 2]


def test_a_start_refuses_until_the_repair_and_names_it(origin: Path) -> None:
    content = the_segment(origin).read_bytes()
    directory = damaged(origin, flipped(content, records_of(origin)[1].offset + 100))
    with pytest.raises(JournalDamaged, match=rf"offset \d+.*doctor --repair --data {directory}"):
        open_log(directory)
    done = repaired(directory)
    (copy,) = done.copies
    assert Path(copy).read_bytes() == flipped(content, records_of(origin)[1].offset + 100)
    (damage,) = done.damaged
    assert (damage.offset, damage.bytes) == (
        records_of(origin)[1].offset,
        records_of(origin)[1].end - records_of(origin)[1].offset,
    )
    assert sequences_after_start(directory) == [1, 2, 4, 5, 6]
    log = open_log(directory)
    assert post(log, [event(1), event(3), event(6)]).accepted == 1  # event 3 was lost: it is new
    log.flush()
    assert stored(log)["sequence"].to_list() == [1, 2, 4, 5, 6, 7]
    log.close()
    report = verify_table(directory)
    assert report is not None
    assert (report.events, report.last_sequence, report.problems) == (6, 7, ())


def test_damage_in_a_header_costs_no_event(origin: Path) -> None:
    content = the_segment(origin).read_bytes()
    directory = damaged(origin, flipped(content, 20))
    with pytest.raises(JournalDamaged):
        open_log(directory)
    assert (repaired(directory).losses, sequences_after_start(directory)) == ((), [1, 2, 3, 4, 5, 6])


def test_damage_at_the_very_end_is_a_loss_of_unknown_size(origin: Path) -> None:
    content, last = the_segment(origin).read_bytes(), records_of(origin)[-1]
    directory = damaged(origin, flipped(content, last.end - 10))
    with pytest.raises(JournalDamaged):
        open_log(directory)
    assert repaired(directory).losses == (Loss(6, None),)
    assert sequences_after_start(directory) == [1, 2, 3, 4, 5]


@pytest.fixture
def segments(tmp_path: Path, origin: Path) -> Path:
    """The records of `origin` in a segment each."""
    directory = tmp_path / "several"
    (directory / "journal").mkdir(parents=True)
    digest = NO_DIGEST
    for record in records_of(origin):
        writer = SegmentWriter(Disk(), directory / "journal", record.first_sequence, digest)
        writer.append(record.frame(), record.first_sequence)
        writer.sync()
        writer.close()
        digest = writer.digest
    return directory


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_missing_segment_is_a_listed_loss(segments: Path, gone: int) -> None:
    paths = segment_paths(segments / "journal")
    first, last = [(1, 2), (3, 3), (4, 5)][gone]
    paths[gone].unlink()
    with pytest.raises(JournalDamaged):
        open_log(segments)
    assert repaired(segments).losses == (Loss(first, last),)
    assert read_losses(segments / "journal") == [Loss(first, last)]
    assert sequences_after_start(segments) == [key for key in range(1, 7) if not first <= key <= last]


def test_every_segment_can_be_damaged_at_once(segments: Path) -> None:
    for path in segment_paths(segments / "journal")[:3]:
        path.write_bytes(flipped(path.read_bytes(), 200))
    done = repaired(segments)
    assert (done.losses, done.saved_events, len(done.damaged)) == ((Loss(1, 5),), 1, 3)
    assert sequences_after_start(segments) == [6]


def test_what_the_table_has_is_not_lost(segments: Path) -> None:
    path = segment_paths(segments / "journal")[0]
    path.write_bytes(flipped(path.read_bytes(), 200))
    assert repaired(segments, stored_sequence=2).losses == ()


def test_a_record_of_another_journal_is_told(segments: Path, origin: Path) -> None:
    path = segment_paths(segments / "journal")[2]
    other = open_log(origin.parent / "other")
    post(other, [event(key) for key in "abc"])
    post(other, [event(key) for key in "de"])
    other.close()
    (foreign,) = segment_paths(origin.parent / "other" / "journal")
    path.write_bytes(foreign.read_bytes())
    assert repaired(segments).broken_links == (4, 6)


def test_a_repair_of_what_is_sound_changes_nothing(segments: Path) -> None:
    before = {path: path.read_bytes() for path in segment_paths(segments / "journal")}
    done = repaired(segments)
    assert (done.losses, done.copies, done.saved_events) == ((), (), 6)
    assert {path: path.read_bytes() for path in segment_paths(segments / "journal")} == before
    assert not (segments / "damaged").exists()


@pytest.mark.parametrize("step", ["create", "append", "sync", "rename", "sync_directory", "unlink"])
def test_a_repair_that_is_cut_short_can_be_made_again(segments: Path, step: str) -> None:
    originals = {path: path.read_bytes() for path in segment_paths(segments / "journal")}
    broken = next(iter(originals))
    for number in range(1, 40):
        shutil.rmtree(segments / "journal")
        (segments / "journal").mkdir()
        for path, content in originals.items():
            path.write_bytes(flipped(content, 200) if path == broken else content)
        disk = RecordingDisk()
        disk.failing[step] = number
        try:
            repaired(segments, disk)
        except OSError:
            repaired(segments)
            assert read_losses(segments / "journal") == [Loss(1, 2)]
            assert not verify_journal(segments).problems
        else:
            assert sequences_after_start(segments) == [3, 4, 5, 6]
            return
    raise AssertionError(f"{step} was still called at the {number}th time")


def test_losses_are_readable_by_anyone(segments: Path) -> None:
    segment_paths(segments / "journal")[0].unlink()
    repaired(segments)
    listed = json.loads((segments / "journal" / "losses.json").read_text())
    assert listed == [{"first_sequence": 1, "last_sequence": 2}]


def test_rot_in_a_file_of_the_table_is_named(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(key) for key in range(5)])
    log.flush()
    log.close()
    report = verify_table(tmp_path)
    assert report is not None
    assert report.problems == ()
    (path,) = (tmp_path / "usage").rglob("*.parquet")
    content = path.read_bytes()
    for broken, what in [
        (flipped(content, len(content) // 2), "content that it was written with"),
        (content[:-1], "bytes instead of"),
        (None, "is gone"),
    ]:
        path.unlink() if broken is None else path.write_bytes(broken)
        found = verify_table(tmp_path)
        assert found is not None
        assert any(what in problem and str(path) in problem for problem in found.problems)
