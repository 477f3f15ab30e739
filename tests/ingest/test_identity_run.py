"""One run of identities by itself: the documented bytes, what is found and read, what is damaged, how it is written."""

import os
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xxhash

from ingest.identity_index import filter as bits
from ingest.identity_index.records import Records, in_order
from ingest.identity_index.run import Coverage, Run, RunDamaged, open_run, write_run
from rating.disk import Disk
from tests.ingest.events import RecordingDisk, open_files
from tests.ingest.identities import random_records

BLOCK, ROWS = 4096, 170  # the documented sizes, written again here
HEADER = "<8sIIQQQQQQQ"


def write(directory: Path, records: Records, parts: list[Records] | None = None, disk: Disk | None = None) -> Run:
    coverage = Coverage(3, 4, 11, 10 + len(records), len(records))
    return write_run(disk or Disk(), directory / coverage.name, coverage, [records] if parts is None else parts)


def find(run: Run, records: Records) -> tuple[list[int], list[int]]:
    rows, fingerprints = run.find(records, bits.first_masks(records.low))
    return rows.tolist(), fingerprints.tolist()


def sorted_records(count: int, seed: int) -> Records:
    return in_order(random_records(count, seed))


@pytest.mark.parametrize(("count", "blocks"), [(0, 0), (1, 1), (169, 1), (170, 1), (171, 2), (340, 2), (341, 3)])
def test_a_block_has_170_identities(count: int, blocks: int) -> None:
    assert Coverage(0, 0, 1, 9, count).blocks == blocks


@pytest.mark.parametrize("count", [1, 170, 400])
def test_the_format_is_as_documented(tmp_path: Path, count: int) -> None:
    records, blocks = sorted_records(count, 21), -(-count // ROWS)
    content = write(tmp_path, records).path.read_bytes()
    words = bits.empty_filter(count)
    bits.set_bits(words, records.high, records.low)
    fields = (b"TALLYIDS", 1, 0, 3, 4, 11, 10 + count, count, blocks, len(words))
    assert struct.unpack_from(HEADER, content) == fields
    assert not any(content[struct.calcsize(HEADER) : BLOCK - 8])
    (check,) = struct.unpack_from("<Q", content, BLOCK - 8)
    assert check == xxhash.xxh3_64_intdigest(content[: BLOCK - 8])
    columns = (records.high, records.low, records.fingerprint.view(np.uint64))
    for number in range(blocks):
        block = content[BLOCK * (1 + number) : BLOCK * (2 + number)]
        of_block = [column[number * ROWS : (number + 1) * ROWS].tolist() for column in columns]
        repeated = [values + values[-1:] * (ROWS - len(values)) for values in of_block]
        *halves_and_fingerprints, zeros, checksum = struct.unpack("<512Q", block)
        assert (halves_and_fingerprints, zeros) == ([*repeated[0], *repeated[1], *repeated[2]], 0)
        assert checksum == xxhash.xxh3_64_intdigest(block[:-8], seed=(check + number) % 2**64)
    tail = records.high[::ROWS].tobytes() + words.tobytes()
    assert content[BLOCK * (1 + blocks) :] == tail + xxhash.xxh3_128_digest(content[:BLOCK] + tail)


def test_the_name_says_what_is_covered() -> None:
    assert Coverage(1, 2, 7, 1234, 5).name == "00000000000000000007-00000000000000001234.run"


@pytest.mark.parametrize("count", [1, 170, 171, 3_000])
def test_what_was_written_is_found_and_read_again(tmp_path: Path, count: int) -> None:
    records = sorted_records(count, 22)
    write(tmp_path, records)
    run = open_run(tmp_path / Coverage(3, 4, 11, 10 + count, count).name)
    assert (len(run), run.coverage) == (count, Coverage(3, 4, 11, 10 + count, count))
    assert not run.is_damaged
    order = np.random.default_rng(1).permutation(count)
    rows, fingerprints = find(run, records[order])
    assert sorted(rows) == list(range(count))
    assert fingerprints == records.fingerprint[order][rows].tolist()
    blocks = run.coverage.blocks
    for first, end in [(0, blocks), (0, 1), (blocks - 1, blocks), (blocks // 2, blocks), (0, 0), (blocks, blocks)]:
        read, expected = run.read(first, end), records[first * ROWS : end * ROWS]
        assert read.high.tolist() == expected.high.tolist()
        assert read.low.tolist() == expected.low.tolist()
        assert read.fingerprint.tolist() == expected.fingerprint.tolist()


def test_memory_is_8_bytes_a_block_and_the_filter(tmp_path: Path) -> None:
    run = write(tmp_path, sorted_records(1_000, 23))
    assert run.memory_bytes == 8 * 6 + 8 * bits.word_count(1_000)


LAST_BIT = np.uint64(1 << 63)  # of the low half: no filter looks at it


@pytest.mark.parametrize("same", [1, 2, ROWS - 1, ROWS, 3 * ROWS + 5])
@pytest.mark.parametrize("before", [0, 1, ROWS])
def test_strangers_that_the_filter_lets_through_are_not_found(tmp_path: Path, same: int, before: int) -> None:
    """With a high half that `same` identities share, from the first of the run on or after others."""
    high = np.concatenate([np.arange(before, dtype=np.uint64), np.full(same, 1 << 32, np.uint64)])
    records = Records(high, np.arange(before + same, dtype=np.uint64), np.arange(before + same) - 5)
    run = write(tmp_path, records)
    rows, fingerprints = find(run, records)
    assert sorted(rows) == list(range(len(records)))
    assert fingerprints == [row - 5 for row in rows]
    for one in range(len(records)):
        assert find(run, records[one : one + 1]) == ([0], [one - 5])
    strangers = Records(records.high, records.low ^ LAST_BIT, records.fingerprint)
    assert len(bits.passing(run._words, strangers.high, strangers.low, bits.first_masks(strangers.low))) == len(records)
    assert find(run, strangers) == ([], [])


def test_strangers_below_the_first_and_above_the_last_are_not_found(tmp_path: Path) -> None:
    records = Records(np.array([9, 9, 10], np.uint64), np.array([5, 6, 7], np.uint64), np.array([1, 2, 3]))
    run = write(tmp_path, records)
    near = Records(np.array([8, 10, 11, 9, 9], np.uint64), np.array([5, 5, 7, 6, 7], np.uint64), np.zeros(5, np.int64))
    assert len(bits.passing(run._words, near.high, near.low, bits.first_masks(near.low))) == 5
    assert find(run, near) == ([3], [2])


def test_asking_for_nothing_and_in_an_empty_run(tmp_path: Path) -> None:
    some = sorted_records(300, 24)
    empty = write(tmp_path, some[:0], parts=[])
    assert (len(empty), empty.coverage.blocks, find(empty, some)) == (0, 0, ([], []))
    assert len(empty.read(0, 0)) == 0
    assert find(open_run(empty.path), some) == ([], [])
    assert find(write(tmp_path, some), some[:0]) == ([], [])


PARTS = {
    "in one part": [0, 400],
    "by a row": list(range(401)),
    "with empty parts": [0, 0, 170, 170, 400, 400],
    "within blocks": [0, 100, 200, 399, 400],
}


@pytest.mark.parametrize("edges", PARTS.values(), ids=PARTS.keys())
def test_the_parts_that_rows_come_in_change_no_byte(tmp_path: Path, edges: list[int]) -> None:
    records = sorted_records(400, 25)
    whole = write(tmp_path, records).path.read_bytes()
    (tmp_path / "parts").mkdir()
    run = write(tmp_path / "parts", records, [records[first:end] for first, end in pairwise(edges)])
    assert run.path.read_bytes() == whole
    assert sorted(find(run, records)[0]) == list(range(400))


def with_bytes(path: Path, at: int, content: bytes) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + content + whole[at + len(content) :])


def resealed(path: Path, magic: bytes, version: int) -> None:
    """Another header, whose checksum fits."""
    header = magic + struct.pack("<I", version) + path.read_bytes()[12 : BLOCK - 8]
    with_bytes(path, 0, header + struct.pack("<Q", xxhash.xxh3_64_intdigest(header)))


def short_but_fitting(path: Path) -> None:
    path.write_bytes(bytes(20) + struct.pack("<Q", xxhash.xxh3_64_intdigest(bytes(20))))


HEADERS = {
    "empty": lambda path: path.write_bytes(b""),
    "short": lambda path: path.write_bytes(path.read_bytes()[: BLOCK - 1]),
    "short, with a checksum that fits": short_but_fitting,
    "its magic with ones": lambda path: with_bytes(path, 0, b"\xff"),
    "its count with ones": lambda path: with_bytes(path, 48, b"\xff\xff"),
    "its empty part with ones": lambda path: with_bytes(path, 2_000, b"\xff"),
    "its checksum all zeros": lambda path: with_bytes(path, BLOCK - 8, bytes(8)),
    "its checksum all ones": lambda path: with_bytes(path, BLOCK - 8, b"\xff" * 8),
}
FORMATS = {
    "format 0": lambda path: resealed(path, b"TALLYIDS", 0),
    "format 2": lambda path: resealed(path, b"TALLYIDS", 2),
    "another magic, before ours": lambda path: resealed(path, b"TALLYIDR", 1),
    "another magic, behind ours": lambda path: resealed(path, b"TALLYIDT", 1),
}
LENGTHS = {
    "a byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a byte long": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "the header alone": lambda path: path.write_bytes(path.read_bytes()[:BLOCK]),
}
TAILS = {
    "the first fence": lambda path: with_bytes(path, 4 * BLOCK, b"\xff" * 8),
    "the last word of the filter": lambda path: with_bytes(path, path.stat().st_size - 24, b"\xff" * 8),
    "its digest all zeros": lambda path: with_bytes(path, path.stat().st_size - 16, bytes(16)),
    "its digest all ones": lambda path: with_bytes(path, path.stat().st_size - 16, b"\xff" * 16),
}
DAMAGES = [
    pytest.param(damage, what, id=f"{what}: {name}")
    for what, damages in {
        "the header does not fit its checksum": HEADERS,
        "it is not a run of format 1": FORMATS,
        "it has not the length that its header says": LENGTHS,
        "fences or filter do not fit their checksum": TAILS,
    }.items()
    for name, damage in damages.items()
]


@pytest.mark.parametrize(("damage", "what"), DAMAGES)
def test_what_is_wrong_outside_the_blocks_is_told_at_open(
    tmp_path: Path, damage: Callable[[Path], object], what: str
) -> None:
    path = write(tmp_path, sorted_records(400, 26)).path
    damage(path)
    with pytest.raises(RunDamaged) as refused:
        open_run(path)
    assert str(refused.value) == f"{path.name}: {what}"
    assert refused.value.name == path.name


CHECKSUMS = [pytest.param(bytes(8), id="zeros"), pytest.param(b"\xff" * 8, id="ones")]


@pytest.mark.parametrize("checksum", CHECKSUMS)
@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_block_that_does_not_fit_its_checksum_is_named(tmp_path: Path, block: int, checksum: bytes) -> None:
    records = sorted_records(400, 27)
    run = write(tmp_path, records)
    with_bytes(run.path, BLOCK * (2 + block) - 8, checksum)
    what = f"{run.path.name}: block {block} does not fit its checksum; it is made again from the usage table"
    for first, end in [(0, 3), (block, 3), (block, block + 1)]:
        with pytest.raises(RunDamaged, match=what):
            run.read(first, end)
    with pytest.raises(RunDamaged, match=what):
        find(run, records)
    assert len(run.read(0, block)) == ROWS * block
    sound = records[np.flatnonzero(np.arange(400) // ROWS != block)]
    assert len(find(run, sound)[0]) == len(sound)


@pytest.mark.parametrize(("size", "block"), [(BLOCK, 0), (2 * BLOCK - 1, 0), (2 * BLOCK, 1), (3 * BLOCK + 100, 2)])
def test_a_file_that_is_cut_while_it_is_open_names_the_block(tmp_path: Path, size: int, block: int) -> None:
    run = write(tmp_path, sorted_records(400, 28))
    os.truncate(run.path, size)
    with pytest.raises(RunDamaged, match=f"it ends within block {block}; it is made again"):
        run.read(0, 3)
    with pytest.raises(RunDamaged, match=f"it ends within block {block}; it is made again"):
        run.read(block, 3)


def test_a_run_is_read_after_its_file_was_unlinked_and_closed_with_it(tmp_path: Path) -> None:
    records = sorted_records(400, 29)
    run = write(tmp_path, records)
    run.path.unlink()
    assert sorted(find(run, records)[0]) == list(range(400))
    assert len(open_files(tmp_path)) == 1
    del run
    assert not open_files(tmp_path)


@pytest.mark.parametrize("came", [1, 3])
def test_a_run_of_more_or_fewer_blocks_than_announced_is_a_bug_and_leaves_nothing(tmp_path: Path, came: int) -> None:
    coverage, block = Coverage(3, 4, 1, 340, 340), sorted_records(170, 30)
    with pytest.raises(AssertionError, match=f"{came} blocks came, 2 were announced"):
        write_run(Disk(), tmp_path / coverage.name, coverage, [block] * came)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["create", "append", "sync", "rename"])
def test_a_disk_that_fails_leaves_no_run(tmp_path: Path, step: str) -> None:
    disk = RecordingDisk()
    disk.failing[step] = 1
    with pytest.raises(OSError, match=f"injected at {step}"):
        write(tmp_path, sorted_records(400, 31), disk=disk)
    assert [path.suffix for path in tmp_path.iterdir()] == ([".tmp"] if step == "rename" else [])
    disk.failing.clear()
    write(tmp_path, sorted_records(400, 32), disk=disk)  # over what a crash has left
    assert [path.suffix for path in tmp_path.iterdir()] == [".run"]


def test_a_run_has_its_name_when_it_is_whole_and_synced(tmp_path: Path) -> None:
    disk = RecordingDisk()
    name = write(tmp_path, sorted_records(100, 33), disk=disk).path.name
    assert disk.calls == [
        ("create", f"{name}.tmp"),
        *[("append", f"{name}.tmp")] * 3,
        ("sync", f"{name}.tmp"),
        ("rename", name),
        ("sync_directory", tmp_path.name),
    ]


@pytest.mark.parametrize(("blocks", "parts"), [(256, 16), (300, 14)], ids=["exactly", "and a bit"])
def test_a_long_write_is_synced_every_16_mebibytes(tmp_path: Path, blocks: int, parts: int) -> None:
    """4,096 blocks of 4 KiB are 16 MiB: 16 parts of 256 blocks, and less than 14 of 300."""
    part = blocks * ROWS
    high = np.arange((2 * parts + 1) * part, dtype=np.uint64)
    records, disk = Records(high, high, high.view(np.int64)), RecordingDisk()
    write(tmp_path, records, [records[at : at + part] for at in range(0, len(records), part)], disk)
    steps = [step for step, _ in disk.calls if step in ("append", "sync")]
    assert steps == ["append"] * (1 + parts) + ["sync"] + ["append"] * parts + ["sync"] + ["append"] * 2 + ["sync"]
