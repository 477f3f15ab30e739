"""Segments on disk: the documented bytes, torn tails at every byte, flipped bytes everywhere, order of syncs."""

import logging
import shutil
import struct
from pathlib import Path

import pyarrow as pa
import pytest
import xxhash

from ingest.errors import JournalDamaged
from ingest.journal import NO_DIGEST, SegmentWriter, read_segment
from ingest.log import UsageLog
from rating.disk import Disk
from tests.ingest.events import PROPERTIES, RecordingDisk, event, json_body, open_log, post, stored


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A data directory whose one segment has three records: of 2, 1 and 2 events."""
    log = open_log(tmp_path / "origin")
    for keys in ([1, 2], [3], [4, 5]):
        post(log, [event(key) for key in keys])
    log.close()
    return tmp_path / "origin"


def segment_of(directory: Path) -> Path:
    (path,) = (directory / "journal").iterdir()
    return path


def copy(journal: Path, name: str, content: bytes) -> Path:
    directory = journal.parent / name
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "journal").mkdir(parents=True)
    (directory / "journal" / segment_of(journal).name).write_bytes(content)
    return directory


def ids_after_start(directory: Path) -> list[str]:
    log = open_log(directory)
    try:
        return stored(log)["id"].to_list()
    finally:
        log.close()


def test_the_format_is_as_documented(journal: Path) -> None:
    content = segment_of(journal).read_bytes()
    magic, version, reserved, first, before, checksum = struct.unpack_from("<8sIIQ16sQ", content)
    assert (magic, version, reserved, first, before) == (b"TALLYSEG", 1, 0, 1, NO_DIGEST)
    assert checksum == xxhash.xxh3_64_intdigest(content[:40])
    offset, sequence, digest_before = 48, 1, before
    for events in (2, 1, 2):
        head = struct.unpack_from("<4sIQQQ16s16sQ", content, offset)
        body = content[offset + 72 : offset + 72 + head[2]]
        assert head[:6] == (b"TREC", 0, len(body), sequence, events, digest_before)
        assert head[6] == xxhash.xxh3_128_digest(content[offset : offset + 48] + body)
        assert head[7] == xxhash.xxh3_64_intdigest(content[offset : offset + 64])
        table = pa.ipc.open_stream(body).read_all()
        assert table["sequence"].to_pylist() == list(range(sequence, sequence + events))
        offset, sequence, digest_before = offset + 72 + len(body), sequence + events, head[6]
    assert offset == len(content)


def test_a_torn_tail_is_cut_at_every_byte_of_the_last_record(journal: Path) -> None:
    content = segment_of(journal).read_bytes()
    segment = read_segment(segment_of(journal))
    last = segment.records[-1]
    for size in range(last.offset, last.end, 7):
        (journal.parent / "probe").write_bytes(content[:size])
        probe = read_segment(journal.parent / "probe")
        assert probe.records == segment.records[:-1]
    for size in (last.offset, last.offset + 1, last.offset + 71, last.offset + 72, last.end - 1):
        assert ids_after_start(copy(journal, "torn", content[:size])) == ["1", "2", "3"]


def test_a_cut_is_logged_and_the_lost_event_is_new_again(journal: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = copy(journal, "torn", segment_of(journal).read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        log = open_log(directory)
    assert "cut a torn tail" in caplog.text
    assert post(log, [event(3), event(4), event(5)]).accepted == 2
    assert stored(log)["sequence"].to_list() == [1, 2, 3, 4, 5]
    log.close()


@pytest.mark.parametrize("size", range(0, 48, 5))
def test_a_segment_without_a_whole_header_was_never_acknowledged(journal: Path, size: int) -> None:
    assert ids_after_start(copy(journal, "torn", segment_of(journal).read_bytes()[:size])) == []


def test_a_last_record_with_a_lost_sector_is_torn(journal: Path) -> None:
    content = bytearray(segment_of(journal).read_bytes())
    last = read_segment(segment_of(journal)).records[-1]
    sector = (last.offset + 72) // 512 * 512 + 512
    assert sector + 512 < last.end
    content[sector : sector + 512] = bytes(512)
    assert ids_after_start(copy(journal, "torn", bytes(content))) == ["1", "2", "3"]


def test_a_flipped_byte_in_the_middle_stops_the_start_and_names_file_and_offset(journal: Path) -> None:
    content = segment_of(journal).read_bytes()
    records = read_segment(segment_of(journal)).records
    for offset in [
        *range(0, 48, 3),
        *range(records[0].offset, records[0].offset + 72),
        *range(150, records[1].end, 331),
    ]:
        damaged = bytearray(content)
        damaged[offset] ^= 0x20
        directory = copy(journal, "damaged", bytes(damaged))
        start = max((record.offset for record in records if record.offset <= offset), default=0)
        with pytest.raises(JournalDamaged) as refused:
            open_log(directory)
        assert (Path(refused.value.path), refused.value.offset) == (segment_of(directory), start)
        assert segment_of(directory).read_bytes() == damaged


def two_segments(journal: Path, directory: Path) -> list[Path]:
    """A data directory with the records of `journal` in two segments."""
    (directory / "journal").mkdir(parents=True)
    frames = [record.frame() for record in read_segment(segment_of(journal)).records]
    first = SegmentWriter(Disk(), directory / "journal", 1, NO_DIGEST)
    first.append(frames[0], 1)
    second = SegmentWriter(Disk(), directory / "journal", 3, first.digest)
    second.append(frames[1], 3)
    for segment in (first, second):
        segment.sync()
        segment.close()
    return [first.path, second.path]


def test_segments_are_read_in_order(journal: Path, tmp_path: Path) -> None:
    two_segments(journal, tmp_path / "two")
    assert ids_after_start(tmp_path / "two") == ["1", "2", "3"]


def test_a_missing_segment_stops_the_start(journal: Path, tmp_path: Path) -> None:
    first, _ = two_segments(journal, tmp_path / "two")
    first.unlink()
    with pytest.raises(JournalDamaged, match="events 1 to 2 are neither here nor in the usage table"):
        open_log(tmp_path / "two")


@pytest.mark.parametrize("size", [20, 48, 60, -1])
def test_only_the_last_segment_may_be_torn(journal: Path, tmp_path: Path, size: int) -> None:
    first, _ = two_segments(journal, tmp_path / "two")
    first.write_bytes(first.read_bytes()[:size])
    with pytest.raises(JournalDamaged):
        open_log(tmp_path / "two")


def test_segments_of_another_journal_do_not_fit(journal: Path) -> None:
    SegmentWriter(Disk(), journal / "journal", 6, b"x" * 16).close()
    with pytest.raises(JournalDamaged, match="does not follow it"):
        open_log(journal)


def test_the_start_goes_on_from_a_rewritten_and_synced_copy(journal: Path) -> None:
    disk = RecordingDisk()
    name = segment_of(journal).name
    log = open_log(journal, disk=disk)
    steps = [step for step in disk.calls if step[1].startswith(name) or step == ("sync_directory", "journal")]
    assert steps[:5] == [
        ("create", f"{name}.tmp"),
        ("append", f"{name}.tmp"),
        ("sync", f"{name}.tmp"),
        ("rename", name),
        ("sync_directory", "journal"),
    ]
    log.close()


def test_each_acknowledgement_follows_a_sync_of_its_record(tmp_path: Path) -> None:
    disk = RecordingDisk()
    log = UsageLog.open(tmp_path, properties=PROPERTIES, disk=disk)
    for key in range(3):
        del disk.calls[:]
        future = log.submit(json_body(event(key)), "application/json")
        future.result(30)
        steps = [step for step, name in disk.calls if name.endswith(".segment") or name == "journal"]
        new_segment = ["create", "append", "sync", "sync_directory"] if key == 0 else []
        assert steps == [*new_segment, "append", "sync"]
    del disk.calls[:]
    assert post(log, [event(0)]).duplicate == 1
    assert disk.calls == []
    log.close()


def test_a_segment_is_deleted_after_the_table_is_durable(tmp_path: Path) -> None:
    disk = RecordingDisk()
    log = open_log(tmp_path, disk=disk)
    post(log, [event(1)])
    del disk.calls[:]
    log.flush()
    names = [f"{step} {name}" for step, name in disk.calls]
    parquet = next(name for name in names if name.startswith("rename") and name.endswith(".parquet"))
    order = [
        parquet.replace("rename", "sync") + ".tmp",
        parquet,
        "sync_directory bucket=__HIVE_DEFAULT_PARTITION__",
        "sync 00000000000000000001.json",
        "sync_directory _delta_log",
        "unlink 00000000000000000001.segment",
    ]
    places = [len(names) - 1 - names[::-1].index(step) for step in order]
    assert places == sorted(places)
    log.close()
