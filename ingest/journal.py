"""The journal: what was accepted, in order, until the usage table has it. The format is documented in docs/journal.md.

A segment is a header and records. Each record is the Arrow IPC stream of the events of one group, framed with length,
sequence, checksums and the digest of the record before it. This module writes and reads segments; its callers decide
when to sync, seal and delete, ingest/recovery.py decides what a fault means at start.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import polars as pl
import xxhash

from ingest.errors import DiskFull
from rating.disk import AppendFile, Disk, is_full

SUFFIX = ".segment"
FORMAT = 1
_SEGMENT_MAGIC, _RECORD_MAGIC = b"TALLYSEG", b"TREC"
_SEGMENT = struct.Struct("<8s I I Q 16s Q")  # magic, format, reserved, first sequence, digest before; header checksum
_RECORD = struct.Struct(
    "<4s I Q Q Q 16s 16s Q"
)  # magic, reserved, body bytes, first sequence, events, digest before, digest; header checksum
NO_DIGEST = bytes(16)


@dataclass(frozen=True)
class Record:
    """One group of events; `offset` is where its frame begins in the file, `end` where the next one does."""

    offset: int
    end: int
    first_sequence: int
    events: int
    digest_before: bytes
    digest: bytes
    body: memoryview

    @property
    def last_sequence(self) -> int:
        """The sequence of its last event."""
        return self.first_sequence + self.events - 1

    def frame(self) -> pl.DataFrame:
        """The events, as they were stored."""
        return pl.read_ipc_stream(io.BytesIO(self.body))


@dataclass(frozen=True)
class Fault:
    """Where a segment stops being what was written."""

    offset: int
    what: str


@dataclass(frozen=True)
class Segment:
    """What could be read of a segment: the records before `fault`, all of them where it is null."""

    path: Path
    first_sequence: int
    digest_before: bytes
    records: tuple[Record, ...]
    fault: Fault | None

    @property
    def last_sequence(self) -> int:
        """The sequence of its last whole record; before its first when it has none."""
        return self.records[-1].last_sequence if self.records else self.first_sequence - 1

    @property
    def digest(self) -> bytes:
        """The digest that the next record names."""
        return self.records[-1].digest if self.records else self.digest_before

    @property
    def end(self) -> int:
        """The size of its valid part."""
        return self.records[-1].end if self.records else _SEGMENT.size


class SegmentWriter:
    """A new segment. Its header and its name are durable when it has been made; records are after `sync`.

    Raises DiskFull when there is no room; then the segment is as it was before, or not there. After any other OSError
    it must not be used again.
    """

    def __init__(self, disk: Disk, directory: Path, first_sequence: int, digest_before: bytes) -> None:
        self.path = directory / f"{first_sequence:020d}{SUFFIX}"
        self.digest = digest_before
        self._content = io.BytesIO()  # used again for each record: fresh memory costs more than what is put into it
        self._disk = disk
        with _no_room(f"a journal segment in {directory}"):
            self._file: AppendFile = disk.create(self.path)
        try:
            with _no_room(str(self.path)):
                self._file.append([segment_header(first_sequence, digest_before)])
        except DiskFull:
            self._file.close()
            disk.unlink(self.path)
            raise
        self._file.sync()
        disk.sync_directory(directory)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.size

    def append(self, events: pl.DataFrame, first_sequence: int) -> None:
        """Append one record; it is not durable yet."""
        self._content.seek(0)
        events.write_ipc_stream(self._content)
        with self._content.getbuffer() as written, written[: self._content.tell()] as body:
            self._append(body, first_sequence, events.height)

    def _append(self, body: memoryview, first_sequence: int, events: int) -> None:
        head, digest = record_head(body, first_sequence, events, self.digest)
        whole = self._file.size
        try:
            with _no_room(str(self.path)):
                self._file.append([head, body])
        except DiskFull:
            self._disk.truncate(self.path, whole)
            self._file.size = whole
            self._content = io.BytesIO()  # the error may hold on to a part of the old one
            raise
        self.digest = digest

    def sync(self) -> None:
        """Make every record durable that was appended."""
        self._file.sync()

    def close(self) -> None:
        """Close the file; what was not synced stays so."""
        self._file.close()


@contextmanager
def _no_room(what: str) -> Iterator[None]:
    """Turn the OSErrors of a full disk into DiskFull."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise DiskFull(f"{what} cannot be written, {error.strerror or error}; send it again after a moment") from error


def segment_header(first_sequence: int, digest_before: bytes) -> bytes:
    """The bytes that a segment begins with."""
    return _with_checksum(_SEGMENT, _SEGMENT_MAGIC, FORMAT, 0, first_sequence, digest_before)


def record_head(
    body: bytes | memoryview, first_sequence: int, events: int, digest_before: bytes
) -> tuple[bytes, bytes]:
    """What comes before the body of a record, and the digest that the next record names."""
    fields = (_RECORD_MAGIC, 0, len(body), first_sequence, events, digest_before)
    digest = _digest(fields, body)
    return _with_checksum(_RECORD, *fields, digest), digest


def segment_paths(directory: Path) -> list[Path]:
    """The segments in a journal directory, oldest first."""
    return sorted(directory.glob(f"*{SUFFIX}"))


def read_segment(path: Path) -> Segment:
    """Read a segment up to its end or its first fault. Never raises for what is in the file."""
    content = memoryview(path.read_bytes())
    if len(content) < _SEGMENT.size or not _checks(_SEGMENT, content[: _SEGMENT.size]):
        return Segment(path, 0, NO_DIGEST, (), Fault(0, "the segment header is not whole"))
    magic, version, _, first_sequence, digest_before, _ = _SEGMENT.unpack_from(content)
    if magic != _SEGMENT_MAGIC or version != FORMAT:
        what = f"a header of format {version}; this version reads format {FORMAT}, so start the one that wrote it"
        return Segment(path, 0, NO_DIGEST, (), Fault(0, what))
    records: list[Record] = []
    fault = None
    for item in _records(content, first_sequence, digest_before):
        if isinstance(item, Fault):
            fault = item
        else:
            records.append(item)
    return Segment(path, first_sequence, digest_before, tuple(records), fault)


def whole_records(path: Path) -> list[Record]:
    """Every whole record of a file, in front of damage and behind it, whatever the chain says."""
    content = memoryview(path.read_bytes())
    records: list[Record] = []
    for place in _magic_places(content, 0):
        if not records or place >= records[-1].end:
            item = _record_at(content, place)
            if isinstance(item, Record):
                records.append(item)
    return records


def is_torn(segment: Segment) -> bool:
    """Whether the fault of a segment is one that a crash leaves behind at its end, rather than damage.

    A crash loses the end of the file, or sectors of what was never synced, which then read as zeros. So it is torn when
    the rest is a part of one record, or has a sector of zeros. It is damage when a whole record is there, be it one out
    of order, and when the header is whole and of another format: what it is the header of was acknowledged.
    """
    assert segment.fault is not None
    content = memoryview(segment.path.read_bytes())
    start = segment.fault.offset
    if any(_whole_record_at(content, place) for place in _magic_places(content, start)):
        return False
    header = _SEGMENT if start == 0 else _RECORD
    rest = content[start:]
    if len(rest) < header.size:
        return True
    if _checks(header, rest[: header.size]):
        if start == 0:
            return False
        if len(rest) < _RECORD.size + _RECORD.unpack_from(rest)[2]:
            return True
    return _has_lost_sector(content, start)


SECTOR = 512


def _has_lost_sector(content: memoryview, start: int) -> bool:
    """Whether a sector (or the part of it behind `start`) holds nothing but zeros."""
    edges = [start, *range(start - start % SECTOR + SECTOR, len(content), SECTOR), len(content)]
    return any(not any(content[left:right]) for left, right in pairwise(edges))


def _records(content: memoryview, first_sequence: int, digest_before: bytes) -> Iterator[Record | Fault]:
    offset, sequence, before = _SEGMENT.size, first_sequence, digest_before
    while offset < len(content):
        item = _record_at(content, offset)
        if isinstance(item, Record) and (item.first_sequence != sequence or item.digest_before != before):
            item = Fault(
                offset, f"a record out of order: it begins at sequence {item.first_sequence}, expected {sequence}"
            )
        yield item
        if isinstance(item, Fault):
            return
        offset, sequence, before = item.end, item.last_sequence + 1, item.digest


def _record_at(content: memoryview, offset: int) -> Record | Fault:
    head = content[offset : offset + _RECORD.size]
    if len(head) < _RECORD.size or not _checks(_RECORD, head):
        return Fault(offset, "a record header is not whole")
    magic, reserved, size, first_sequence, events, before, digest, _ = _RECORD.unpack(head)
    body = content[offset + _RECORD.size : offset + _RECORD.size + size]
    if magic != _RECORD_MAGIC or len(body) < size:
        return Fault(offset, f"a record of {size} bytes is not whole")
    if _digest((magic, reserved, size, first_sequence, events, before), body) != digest:
        return Fault(offset, "a record does not have the digest that it was written with")
    return Record(offset, offset + _RECORD.size + size, first_sequence, events, before, digest, body)


def _whole_record_at(content: memoryview, offset: int) -> bool:
    return isinstance(_record_at(content, offset), Record)


def _magic_places(content: memoryview, start: int) -> Iterator[int]:
    data = bytes(content)
    place = data.find(_RECORD_MAGIC, start)
    while place >= 0:
        yield place
        place = data.find(_RECORD_MAGIC, place + 1)


def _digest(fields: tuple[object, ...], body: bytes | memoryview) -> bytes:
    """XXH3-128 of a record's header fields and its body."""
    hasher = xxhash.xxh3_128(struct.pack("<4s I Q Q Q 16s", *fields))
    hasher.update(body)
    return hasher.digest()


def _with_checksum(layout: struct.Struct, *fields: object) -> bytes:
    """A header, closed with the XXH3-64 of what is before it."""
    head = layout.pack(*fields, 0)[:-8]
    return head + struct.pack("<Q", xxhash.xxh3_64_intdigest(head))


def _checks(layout: struct.Struct, head: memoryview) -> bool:
    checksum: int = struct.unpack("<Q", head[layout.size - 8 : layout.size])[0]
    return xxhash.xxh3_64_intdigest(head[: layout.size - 8]) == checksum
