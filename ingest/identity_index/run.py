"""A sorted, immutable run of identities in a file. Little-endian; checksums are XXH3.

    header   4096 bytes: magic, format, scheme (of the secret), first and last sequence covered, number of identities,
             blocks and filter words, and at its end the XXH3-64 of all before
    blocks   4096 bytes each: 170 high halves, ascending over the run, 170 low halves, 170 fingerprints, 8 bytes of
             0, and the XXH3-64 of all before, seeded with the header's checksum plus the number of the block. The last
             block repeats its last identity to the end
    fences   the first high half of each block
    filter   words of 64 bits (filter.py)
    end      XXH3-128 of header, fences and filter

Fences and filter are read into memory at open, 4.05 bytes an identity. A block is read, and its checksum compared, when
the filter lets an identity through: with pread and not through a memory map, because mapped pages count as resident
and a failing disk would be a signal instead of an OSError.
"""

import os
import struct
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest, xxh3_128

from ingest.identity_index import filter as bits
from ingest.identity_index.records import Records, Words, concatenated
from rating.disk import Disk

BLOCK = 4096
ROWS = 170  # of a block
BLOCKS_PER_READ = 1024
SYNC_BYTES = 16 << 20  # a long write must not leave the journal's next sync much to wait for
_FORMAT = 1
_HEADER = struct.Struct("<8sIIQQQQQQQ")
_MAGIC = b"TALLYIDS"
_WORDS = BLOCK // 8


class RunDamaged(OSError):
    """A run file, `name`, is not what was written. A cache: the next start makes it again from the usage table."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}")
        self.name = name


@dataclass(frozen=True)
class Coverage:
    """What a run is about: the `count` identities of the events from `first_sequence` to `last_sequence`, hashed under
    the secret that `scheme_high` and `scheme_low` name."""

    scheme_high: int
    scheme_low: int
    first_sequence: int
    last_sequence: int
    count: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.first_sequence:020d}-{self.last_sequence:020d}.run"

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return -(-self.count // ROWS)


class Run:
    """Open for reading until nobody holds it any more; its file may be unlinked before."""

    def __init__(self, path: Path, coverage: Coverage, check: int, fences: Words, words: Words) -> None:
        self.path, self.coverage = path, coverage
        self.is_damaged = False
        self.fences = fences
        self._words, self._check = words, check
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def __len__(self) -> int:
        return self.coverage.count

    @property
    def memory_bytes(self) -> int:
        """What fences and filter take."""
        return self.fences.nbytes + self._words.nbytes

    def find(self, records: Records, first_masks: Words) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
        """Which rows of `records` are here (their fingerprints are not looked at), and the fingerprints they have.

        `first_masks` are those of the filter. Raises RunDamaged, and OSError when the disk fails.
        """
        rows = bits.passing(self._words, records.high, records.low, first_masks)
        if not len(rows):
            return rows, np.zeros(0, np.int64)
        rows = rows[np.argsort(records.high[rows])]
        found = [self._search(records, rows[at : at + BLOCKS_PER_READ]) for at in range(0, len(rows), BLOCKS_PER_READ)]
        return np.concatenate([rows for rows, _ in found]), np.concatenate([values for _, values in found])

    def read(self, first_block: int, end_block: int) -> Records:
        """The identities of these blocks. Raises RunDamaged."""
        content = np.empty((end_block - first_block, _WORDS), np.uint64)
        if len(content):
            self._read_into(content, first_block)
        rows = slice(0, min(end_block * ROWS, len(self)) - first_block * ROWS)
        high, low, fingerprint = (content[:, at : at + ROWS].reshape(-1)[rows] for at in (0, ROWS, 2 * ROWS))
        return Records(high, low, fingerprint.view(np.int64))

    def _search(
        self, records: Records, rows: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
        """What `find` says of `rows`, ascending by high half. More than one round only where a high half of several
        identities begins a block: they can be in the block before, too."""
        found, values = [rows[:0]], [np.zeros(0, np.int64)]
        blocks = np.searchsorted(self.fences, records.high[rows], side="right") - 1
        rows, blocks = rows[blocks >= 0], blocks[blocks >= 0]
        while len(rows):
            wanted, place = np.unique(blocks, return_inverse=True)
            content = self._blocks(wanted)
            is_same = content[place, :ROWS] == records.high[rows, None]
            is_same &= content[place, ROWS : 2 * ROWS] == records.low[rows, None]
            is_here = is_same.any(axis=1)
            found.append(rows[is_here])
            columns = 2 * ROWS + is_same[is_here].argmax(axis=1)
            values.append(content[place[is_here], columns].view(np.int64))
            more = ~is_here & (blocks > 0) & (self.fences[blocks] == records.high[rows])
            rows, blocks = rows[more], blocks[more] - 1
        return np.concatenate(found), np.concatenate(values)

    def _blocks(self, wanted: npt.NDArray[np.intp]) -> Words:
        content = np.empty((len(wanted), _WORDS), np.uint64)
        for place, block in enumerate(wanted.tolist()):
            self._read_into(content[place : place + 1], block)
        return content

    def _read_into(self, content: Words, first_block: int) -> None:
        """Fill `content` with the blocks from `first_block` on, and compare their checksums."""
        buffer = content.data.cast("B")
        done = os.preadv(self._descriptor, [buffer], BLOCK * (1 + first_block))
        if done < len(buffer):
            raise self._damage(f"it ends within block {first_block + done // BLOCK}")
        for place, expected in enumerate(content[:, -1].tolist()):
            seed = (self._check + first_block + place) % 2**64
            if xxh3_64_intdigest(buffer[place * BLOCK : (place + 1) * BLOCK - 8], seed=seed) != expected:
                raise self._damage(f"block {first_block + place} does not fit its checksum")

    def _damage(self, what: str) -> RunDamaged:
        return RunDamaged(self.path.name, f"{what}; it is made again from the usage table at the next start")


def open_run(path: Path) -> Run:
    """The run at `path`, its blocks unread. Raises RunDamaged when header, fences, filter or length are wrong."""
    with path.open("rb") as file:
        header = file.read(BLOCK)
        coverage, words_count = _parse(path, header)
        tail_at = BLOCK * (1 + coverage.blocks)
        tail_bytes = 8 * (coverage.blocks + words_count)
        if os.fstat(file.fileno()).st_size != tail_at + tail_bytes + 16:
            raise RunDamaged(path.name, "it has not the length that its header says")
        file.seek(tail_at)
        tail = np.fromfile(file, np.uint64, tail_bytes // 8)
        digest = file.read(16)
    if _digest(header, tail) != digest:
        raise RunDamaged(path.name, "fences or filter do not fit their checksum")
    return Run(path, coverage, _check_of(header), tail[: coverage.blocks], tail[coverage.blocks :])


def write_run(disk: Disk, path: Path, coverage: Coverage, parts: Iterable[Records]) -> Run:
    """Write `parts`, ascending by high half over all of them, durably; they are `coverage.count` rows in all.

    A crash leaves nothing, or a file that ends in .tmp, or the whole run.
    """
    header = _header(coverage)
    fences, words = np.empty(coverage.blocks, np.uint64), bits.empty_filter(coverage.count)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    file = disk.create(temporary)
    try:
        file.append([header])
        block, unsynced = 0, 0
        for rows in _whole_blocks(parts):
            content = _content(rows, block, _check_of(header))
            fences[block : block + len(content)] = content[:, 0]
            bits.set_bits(words, rows.high, rows.low)
            file.append([content.data])
            block, unsynced = block + len(content), unsynced + content.nbytes
            if unsynced >= SYNC_BYTES:
                file.sync()
                unsynced = 0
        assert block == coverage.blocks, f"{block} blocks came, {coverage.blocks} were announced"
        tail = np.concatenate([fences, words])
        file.append([tail.data, _digest(header, tail)])
        file.sync()
    except BaseException:
        file.close()
        with suppress(OSError):  # it may be large, and the disk full
            disk.unlink(temporary)
        raise
    file.close()
    disk.rename(temporary, path)
    return Run(path, coverage, _check_of(header), tail[: coverage.blocks], tail[coverage.blocks :])


def _whole_blocks(parts: Iterable[Records]) -> Iterator[Records]:
    """The same rows, cut so that only the last piece ends within a block."""
    rest: list[Records] = []
    for part in parts:
        rows = concatenated([*rest, part])
        whole = len(rows) // ROWS * ROWS
        if whole:
            yield rows[:whole]
        rest = [rows[whole:]]
    if rest and len(rest[0]):
        yield rest[0]


def _content(rows: Records, first_block: int, check: int) -> Words:
    """The blocks of `rows`, with checksums."""
    blocks = -(-len(rows) // ROWS)
    content = np.zeros((blocks, _WORDS), np.uint64)
    columns = (rows.high, rows.low, rows.fingerprint.view(np.uint64))
    for at, column in zip((0, ROWS, 2 * ROWS), columns, strict=True):
        padded = np.pad(column, (0, blocks * ROWS - len(rows)), mode="edge")
        content[:, at : at + ROWS] = padded.reshape(blocks, ROWS)
    buffer = content.data.cast("B")
    content[:, -1] = [
        xxh3_64_intdigest(buffer[at * BLOCK : (at + 1) * BLOCK - 8], seed=(check + first_block + at) % 2**64)
        for at in range(blocks)
    ]
    return content


def _header(coverage: Coverage) -> bytes:
    fields = (*astuple(coverage), coverage.blocks, bits.word_count(coverage.count))
    content = _HEADER.pack(_MAGIC, _FORMAT, 0, *fields).ljust(BLOCK - 8, b"\0")
    return content + xxh3_64_intdigest(content).to_bytes(8, "little")


def _parse(path: Path, header: bytes) -> tuple[Coverage, int]:
    if len(header) != BLOCK or xxh3_64_intdigest(header[:-8]) != _check_of(header):
        raise RunDamaged(path.name, "the header does not fit its checksum")
    magic, version, _, *fields, _, words = _HEADER.unpack_from(header)
    if (magic, version) != (_MAGIC, _FORMAT):
        raise RunDamaged(path.name, f"it is not a run of format {_FORMAT}")
    return Coverage(*fields), words


def _check_of(header: bytes) -> int:
    return int.from_bytes(header[-8:], "little")


def _digest(header: bytes, tail: Words) -> bytes:
    digest = xxh3_128(header)
    digest.update(tail.data)
    return digest.digest()
