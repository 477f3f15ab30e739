"""Save what is whole in a damaged journal, and list what is lost.

Every whole record is kept, also behind damage, with its events and sequences as they were; only the chain of digests is
made anew. The files that change are copied to <data directory>/damaged first, and the losses are listed before the
journal is changed: a repair that is cut short can be made again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from ingest.identity_index import forget
from ingest.journal import (
    SUFFIX,
    Record,
    is_torn,
    read_segment,
    record_head,
    segment_header,
    segment_paths,
    whole_records,
)
from ingest.losses import Loss, read_losses, write_losses
from ingest.usage_table import UsageTable
from rating.disk import Disk


@dataclass(frozen=True)
class DamagedRange:
    """Bytes of a segment that belong to no whole record."""

    file: str
    offset: int
    bytes: int


@dataclass(frozen=True)
class Repair:
    """What was done. `copies` are the files as they were, `damaged` what of them could not be read. `broken_links` are
    the first sequences of saved records that do not name the one before them although no event is lost in between."""

    saved_records: int
    saved_events: int
    losses: tuple[Loss, ...]
    damaged: tuple[DamagedRange, ...]
    broken_links: tuple[int, ...]
    copies: tuple[str, ...]
    written: tuple[str, ...]


def repair_log(disk: Disk, directory: Path, *, now: datetime) -> Repair:
    """Repair the journal of a data directory. The caller owns its lock."""
    forget(disk, directory / "identities")  # it knows the events that are lost: sent again, they must be new
    stored = UsageTable(directory / "usage", disk=disk).last_sequence
    aside = directory / "damaged" / now.strftime("%Y%m%dt%H%M%S.%fz")
    return repair_journal(disk, directory / "journal", stored, aside)


def repair_journal(disk: Disk, journal: Path, stored_sequence: int, aside: Path) -> Repair:
    """Make `journal` one that recovery takes; the usage table has all events up to `stored_sequence`.

    The files that change are copied into `aside`, a directory that is not there yet. The caller owns the lock.
    """
    paths = segment_paths(journal)
    found = {path: whole_records(path) for path in paths}
    kept = _in_order(found, stored_sequence)
    losses = _losses(kept, stored_sequence)
    if paths and _ends_in_damage(paths[-1], found[paths[-1]]):
        losses.append(Loss((kept[-1][1].last_sequence if kept else stored_sequence) + 1, None))
    wanted = {journal / f"{first:020d}{SUFFIX}": content for first, content in _contents(kept)}
    changed = [path for path in paths if path.read_bytes() != wanted.get(path)]
    if changed:
        _copy(disk, changed, aside)
    listed = read_losses(journal)
    if not set(losses) <= set(listed):
        write_losses(disk, journal, [*listed, *losses])
    _put(disk, paths, wanted)
    return Repair(
        len(kept),
        sum(record.events for _, record in kept),
        tuple(losses),
        tuple(damage for path in changed for damage in _damage(path.name, found[path], aside / path.name)),
        tuple(_broken_links(kept)),
        tuple(str(aside / path.name) for path in changed),
        tuple(str(path) for path in wanted),
    )


Kept = list[tuple[Path, Record]]


def _in_order(found: dict[Path, list[Record]], stored_sequence: int) -> Kept:
    """The records behind the table by sequence, each sequence once: a repair cut short leaves some of them twice."""
    records = [(path, record) for path in found for record in found[path]]
    kept: Kept = []
    last = stored_sequence
    for path, record in sorted(records, key=lambda item: (item[1].first_sequence, item[0])):
        if record.first_sequence > last:
            kept.append((path, record))
            last = record.last_sequence
    return kept


def _losses(kept: Kept, stored_sequence: int) -> list[Loss]:
    losses: list[Loss] = []
    last = stored_sequence
    for _, record in kept:
        if record.first_sequence > last + 1:
            losses.append(Loss(last + 1, record.first_sequence - 1))
        last = record.last_sequence
    return losses


def _broken_links(kept: Kept) -> Iterable[int]:
    for (_, before), (_, record) in pairwise(kept):
        if record.first_sequence == before.last_sequence + 1 and record.digest_before != before.digest:
            yield record.first_sequence


def _ends_in_damage(path: Path, records: Sequence[Record]) -> bool:
    """Whether something acknowledged may be lost at the end: not by a tear, which recovery cuts."""
    if path.stat().st_size <= (records[-1].end if records else 0):
        return False
    segment = read_segment(path)
    return segment.fault is not None and not is_torn(segment)


def _contents(kept: Kept) -> Iterable[tuple[int, bytes]]:
    """The new segments: first sequence and content, one for each file and each run without a gap."""
    digest = kept[0][1].digest_before if kept else b""
    run: list[bytes] = []
    first = last = 0
    before: Path | None = None
    for path, record in kept:
        if path != before or record.first_sequence != last + 1:
            if run:
                yield first, b"".join(run)
            run, first = [segment_header(record.first_sequence, digest)], record.first_sequence
        head, digest = record_head(record.body, record.first_sequence, record.events, digest)
        run += [head, bytes(record.body)]
        before, last = path, record.last_sequence
    if run:
        yield first, b"".join(run)


def _copy(disk: Disk, paths: Iterable[Path], aside: Path) -> None:
    disk.make_directory(aside)
    for path in paths:
        disk.publish(aside / path.name, [path.read_bytes()])


def _put(disk: Disk, paths: Iterable[Path], wanted: dict[Path, bytes]) -> None:
    """New names first: each record is in one file at least at any time."""
    for path, content in sorted(wanted.items(), key=lambda item: item[0].exists()):
        if not path.exists() or path.read_bytes() != content:
            disk.publish(path, [content])
    for path in paths:
        if path not in wanted:
            disk.unlink(path)


def _damage(name: str, records: Sequence[Record], copy: Path) -> Iterable[DamagedRange]:
    """The bytes between the whole records of a file, its header left out when it is one."""
    size = copy.stat().st_size
    segment = read_segment(copy)
    end = 0 if segment.fault and segment.fault.offset == 0 else len(segment_header(0, bytes(16)))
    for record in records:
        if record.offset > end:
            yield DamagedRange(name, end, record.offset - end)
        end = record.end
    if size > end:
        yield DamagedRange(name, end, size - end)
