"""What a reader makes of the bytes of a segment: whole, cut, foreign, out of order, torn by a crash or damaged."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import xxhash

from ingest.errors import JournalDamaged
from ingest.journal import (
    NO_DIGEST,
    Fault,
    Record,
    Segment,
    is_torn,
    read_segment,
    record_head,
    segment_header,
    segment_paths,
    whole_records,
)
from tests.ingest.events import event, open_log, post

HEADER, HEAD, SECTOR = 48, 72, 512  # the documented sizes, written again here
FIRST, BEFORE = 7, b"b" * 16
BODIES = ((b"one" * 50, 2), (b"two", 1), (b"three" * 400, 3))
"""The bodies of three records, with their numbers of events; a reader does not look into them."""


class Written(NamedTuple):
    """The bytes of a record, and its digest."""

    content: bytes
    digest: bytes


def sealed(head: bytes) -> bytes:
    return head + struct.pack("<Q", xxhash.xxh3_64_intdigest(head))


def header(magic: bytes = b"TALLYSEG", version: int = 1) -> bytes:
    return sealed(struct.pack("<8sIIQ16s", magic, version, 0, FIRST, BEFORE))


def record(body: bytes, first: int, events: int, before: bytes, magic: bytes = b"TREC") -> Written:
    fields = struct.pack("<4sIQQQ16s", magic, 0, len(body), first, events, before)
    digest = xxhash.xxh3_128_digest(fields + body)
    return Written(sealed(fields + digest) + body, digest)


def chained() -> Iterator[Written]:
    first, before = FIRST, BEFORE
    for body, events in BODIES:
        written = record(body, first, events, before)
        yield written
        first, before = first + events, written.digest


RECORDS = tuple(chained())
ONE, TWO, THREE = (written.content for written in RECORDS)
WHOLE = header() + ONE + TWO + THREE
LAST = len(WHOLE) - len(THREE)


def put(directory: Path, content: bytes) -> Path:
    path = directory / "probe.segment"
    path.write_bytes(content)
    return path


def changed(content: bytes, at: int, by: bytes) -> bytes:
    return content[:at] + by + content[at + len(by) :]


def test_the_bytes_are_as_documented() -> None:
    assert segment_header(FIRST, BEFORE) == header()
    first, before = FIRST, BEFORE
    for (body, events), written in zip(BODIES, RECORDS, strict=True):
        head, digest = record_head(body, first, events, before)
        assert (head + body, digest) == written
        first, before = first + events, digest


def test_every_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = put(tmp_path, WHOLE)
    edges = [HEADER, HEADER + len(ONE), HEADER + len(ONE + TWO), len(WHOLE)]
    firsts, befores = [7, 9, 10], [BEFORE, RECORDS[0].digest, RECORDS[1].digest]
    expected = tuple(
        Record(edges[n], edges[n + 1], firsts[n], events, befores[n], RECORDS[n].digest, memoryview(body))
        for n, (body, events) in enumerate(BODIES)
    )
    segment = read_segment(path)
    assert segment == Segment(path, FIRST, BEFORE, expected, None)
    assert [one.last_sequence for one in segment.records] == [8, 9, 12]
    assert (segment.last_sequence, segment.digest, segment.end) == (12, RECORDS[2].digest, len(WHOLE))
    assert whole_records(path) == list(expected)


def test_a_header_without_records_is_a_whole_segment(tmp_path: Path) -> None:
    path = put(tmp_path, header())
    segment = read_segment(path)
    assert segment == Segment(path, FIRST, BEFORE, (), None)
    assert (segment.last_sequence, segment.digest, segment.end) == (6, BEFORE, 48)


NOT_WHOLE = "the segment header is not whole"
OTHER_FORMAT = "a header of format {}; this version reads format 1, so start the one that wrote it"
HEADERS = {
    "empty": (b"", NOT_WHOLE),
    "47 bytes": (WHOLE[:47], NOT_WHOLE),
    "a byte changed": (changed(WHOLE, 20, b"\x01"), NOT_WHOLE),
    "its checksum zeros": (changed(WHOLE, 40, bytes(8)), NOT_WHOLE),
    "its checksum ones": (changed(WHOLE, 40, b"\xff" * 8), NOT_WHOLE),
    "format 0": (header(version=0) + ONE, OTHER_FORMAT.format(0)),
    "format 2": (header(version=2) + ONE, OTHER_FORMAT.format(2)),
    "a magic before ours": (header(magic=b"TALLYSEF"), OTHER_FORMAT.format(1)),
    "a magic behind ours": (header(magic=b"TALLYSEH"), OTHER_FORMAT.format(1)),
}


@pytest.mark.parametrize(("content", "what"), HEADERS.values(), ids=HEADERS.keys())
def test_nothing_is_read_behind_a_header_that_is_not_ours(tmp_path: Path, content: bytes, what: str) -> None:
    path = put(tmp_path, content)
    assert read_segment(path) == Segment(path, 0, NO_DIGEST, (), Fault(0, what))


NO_HEAD, NO_RECORD = "a record header is not whole", "a record of 2000 bytes is not whole"
NO_FIT = "a record does not have the digest that it was written with"
BODY, LINK = BODIES[2][0], RECORDS[1].digest
LAST_RECORDS = {
    "a byte of it": (THREE[:1], NO_HEAD),
    "a head without its last byte": (THREE[:71], NO_HEAD),
    "a head": (THREE[:72], NO_RECORD),
    "a body without its last byte": (THREE[:-1], NO_RECORD),
    "its checksum zeros": (changed(THREE, 64, bytes(8)), NO_HEAD),
    "its checksum ones": (changed(THREE, 64, b"\xff" * 8), NO_HEAD),
    "a body of zeros": (THREE[:72] + bytes(2000), NO_FIT),
    "its digest zeros": (sealed(THREE[:48] + bytes(16)) + BODY, NO_FIT),
    "its digest ones": (sealed(THREE[:48] + b"\xff" * 16) + BODY, NO_FIT),
    "a magic before ours": (record(BODY, 10, 3, LINK, b"TREB").content, NO_RECORD),
    "a magic behind ours": (record(BODY, 10, 3, LINK, b"TRED").content, NO_RECORD),
    "a sequence again": (
        record(BODY, 9, 3, LINK).content,
        "a record out of order: it begins at sequence 9, expected 10",
    ),
    "a sequence too far": (
        record(BODY, 11, 3, LINK).content,
        "a record out of order: it begins at sequence 11, expected 10",
    ),
    "a digest before below": (
        record(BODY, 10, 3, bytes(16)).content,
        "a record out of order: it begins at sequence 10, expected 10",
    ),
    "a digest before above": (
        record(BODY, 10, 3, b"\xff" * 16).content,
        "a record out of order: it begins at sequence 10, expected 10",
    ),
}


@pytest.mark.parametrize(("last", "what"), LAST_RECORDS.values(), ids=LAST_RECORDS.keys())
def test_reading_ends_where_the_last_record_is_not_what_was_written(tmp_path: Path, last: bytes, what: str) -> None:
    whole, segment = read_segment(put(tmp_path, WHOLE)), read_segment(put(tmp_path, WHOLE[:LAST] + last))
    assert segment.records == whole.records[:2]
    assert segment.fault == Fault(LAST, what)
    assert (segment.last_sequence, segment.digest, segment.end) == (9, LINK, LAST)


def test_nothing_is_read_behind_a_fault(tmp_path: Path) -> None:
    segment = read_segment(put(tmp_path, changed(WHOLE, HEADER + HEAD, b"\x00")))
    assert (segment.records, segment.fault) == ((), Fault(HEADER, NO_FIT))


WITHIN = record(ONE + TWO, FIRST, 4, BEFORE).content
FOUND = {
    "behind a header": (WHOLE, [HEADER, HEADER + len(ONE), LAST]),
    "at the very beginning": (TWO + THREE, [0, len(TWO)]),
    "behind damage": (changed(WHOLE, HEADER + HEAD, b"\x00"), [HEADER + len(ONE), LAST]),
    "around damage": (changed(WHOLE, HEADER + len(ONE) + HEAD, b"\x00"), [HEADER, LAST]),
    "behind half a magic": (b"TRTREC" + TWO, [6]),
    "in front of a tear": (WHOLE[:-1], [HEADER, HEADER + len(ONE)]),
    "not within another": (WITHIN + TWO, [0, len(WITHIN)]),
    "not within the second": (TWO + WITHIN, [0, len(TWO)]),
    "within one that is damaged": (changed(WITHIN, 50, b"\x00"), [HEAD, HEAD + len(ONE)]),
    "nowhere": (b"", []),
}


@pytest.mark.parametrize(("content", "places"), FOUND.values(), ids=FOUND.keys())
def test_every_whole_record_of_a_file_is_found(tmp_path: Path, content: bytes, places: list[int]) -> None:
    assert [one.offset for one in whole_records(put(tmp_path, content))] == places


def without_zeros(size: int) -> bytes:
    return b"\x01" * size


FILLER = record(without_zeros(2 * SECTOR - HEADER - HEAD), FIRST, 1, BEFORE)
SHORT = record(without_zeros(136), FIRST + 1, 1, FILLER.digest)
FRONT = header() + FILLER.content
"""Its end is that of the second sector of the file."""
LONG = record(without_zeros(2000), FIRST + 1, 1, FILLER.digest).content
ALIGNED = FRONT + LONG
"""The last record is from byte 1024 to 3096: four sectors, and 24 bytes of a fifth."""
WITHIN_SECTOR = FRONT + SHORT.content + record(without_zeros(2000), FIRST + 2, 1, SHORT.digest).content
"""The last record begins at byte 1232."""


def lost(content: bytes, first: int, end: int) -> bytes:
    """With these bytes never written, so that they read as zeros; the rest of them all is not zero."""
    return changed(content, first, bytes(end - first))


FLIPPED = changed(header(), 20, b"\x01")
ZEROS = record(bytes(2000), FIRST + 9, 1, FILLER.digest).content
TORN = {
    "one byte of a record": FRONT + LONG[:1],
    "a head without its last byte": FRONT + LONG[:71],
    "a head": FRONT + LONG[:72],
    "a body without its last byte": FRONT + LONG[:-1],
    "the sector of its head lost": lost(ALIGNED, 1024, 1536),
    "a sector within lost": lost(ALIGNED, 1536, 2048),
    "the last whole sector lost": lost(ALIGNED, 2560, 3072),
    "the rest in the last sector lost": lost(ALIGNED, 3072, 3096),
    "all but its head lost": lost(ALIGNED, 1096, 3096),
    "all of it lost": lost(ALIGNED, 1024, 3096),
    "the part lost of the sector in which it begins": lost(WITHIN_SECTOR, 1232, 1536),
    "the sector lost behind that in which it begins": lost(WITHIN_SECTOR, 1536, 2048),
    "nothing": b"",
    "half a header": WHOLE[:47],
    "a header of zeros": bytes(48),
}
DAMAGED = {
    "a byte less than a sector lost": lost(ALIGNED, 1536, 2047),
    "a sector's bytes lost, of two sectors": lost(ALIGNED, 1537, 2049),
    "a byte less than the rest lost": lost(ALIGNED, 3072, 3095),
    "the beginning without its first byte lost": lost(WITHIN_SECTOR, 1233, 1536),
    "the beginning without its last byte lost": lost(WITHIN_SECTOR, 1232, 1535),
    "a sector's bytes lost from 512 behind its beginning on": lost(WITHIN_SECTOR, 1744, 2256),
    "a byte changed in its head": changed(ALIGNED, 1044, b"\xff"),
    "a byte changed in its body": changed(ALIGNED, 1124, b"\xff"),
    "a byte changed in its body, before one that is torn": changed(ALIGNED, 1124, b"\xff") + TWO[:-1],
    "a magic that is not ours": FRONT + record(without_zeros(2000), 8, 1, FILLER.digest, b"TRED").content,
    "a sector lost, and a whole record behind it": lost(ALIGNED, 1536, 2048) + TWO,
    "a head, and a whole record a byte behind it": FRONT + LONG[:HEAD] + b"\x01" + TWO,
    "a whole record out of order": FRONT + record(without_zeros(2000), 9, 1, FILLER.digest).content,
    "a whole record out of order, with zeros": FRONT + ZEROS,
    "a header with a byte changed": FLIPPED,
    "a header with a byte changed, before a record": FLIPPED + ZEROS,
    "a header of another format": header(version=2),
    "a header of another format, before a sector of zeros": header(version=2) + bytes(1024),
}
ENDS = [pytest.param(content, True, id=f"torn: {name}") for name, content in TORN.items()] + [
    pytest.param(content, False, id=f"damaged: {name}") for name, content in DAMAGED.items()
]


@pytest.mark.parametrize(("content", "expected"), ENDS)
def test_a_tear_is_told_from_damage(tmp_path: Path, content: bytes, expected: bool) -> None:
    segment = read_segment(put(tmp_path, content))
    assert segment.fault is not None
    assert is_torn(segment) == expected


def test_a_journal_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Its events were acknowledged; that a sector of them is zeros makes it no tear."""
    log = open_log(tmp_path)
    post(log, [event(1)])
    log.close()
    (path,) = segment_paths(tmp_path / "journal")
    later = sealed(changed(path.read_bytes()[:40], 8, struct.pack("<I", 2))) + bytes(2048)
    path.write_bytes(later)
    with pytest.raises(JournalDamaged, match=OTHER_FORMAT.format(2)):
        open_log(tmp_path)
    assert path.read_bytes() == later
