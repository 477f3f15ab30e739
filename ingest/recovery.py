"""Bring the journal into a state to go on from, after any end of the process before (RELIABILITY R4).

Only the last segment may end in a torn record. It is cut there, and what is valid is copied into a new, synced file
before anything is served: what the page cache shows after a failed fsync may never have reached the disk. What is
wrong anywhere else was written whole once and has changed since: then nothing is started.
"""

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from ingest.errors import JournalDamaged
from ingest.journal import Segment, is_torn, read_segment, segment_paths
from ingest.losses import Loss, is_lost, read_losses
from rating.disk import Disk

_log = logging.getLogger(__name__)


def recover_journal(disk: Disk, directory: Path, stored_sequence: int) -> list[Segment]:
    """The segments that the usage table does not have yet (it has all up to `stored_sequence`), each whole and durable.

    Removes the segments that the table has. Raises JournalDamaged, before anything is changed.
    """
    disk.make_directory(directory)
    paths = segment_paths(directory)
    segments = [read_segment(path) for path in paths]
    for fault in faults(segments, stored_sequence, read_losses(directory)):
        raise fault
    for leftover in directory.glob("*.tmp"):
        disk.unlink(leftover)
    if segments and (last := segments[-1]).last_sequence > stored_sequence:
        segments[-1] = _rewrite(disk, last)
    for segment in segments:
        if segment.last_sequence <= stored_sequence or not segment.records:
            disk.unlink(segment.path)
    return [segment for segment in segments if segment.records and segment.last_sequence > stored_sequence]


def faults(segments: list[Segment], stored_sequence: int, losses: Sequence[Loss]) -> list[JournalDamaged]:
    """Everything that keeps a journal from being recovered: damage, and gaps that no repair has listed."""
    found = [
        JournalDamaged(str(segment.path), segment.fault.offset, segment.fault.what)
        for segment in segments
        if segment.fault and (segment is not segments[-1] or not is_torn(segment))
    ]
    readable = [segment for segment in segments if not (segment.fault and segment.fault.offset == 0)]
    for segment in readable:
        if segment.path.stem != f"{segment.first_sequence:020d}":
            what = f"it begins with event {segment.first_sequence}, which is not what its name says"
            found.append(JournalDamaged(str(segment.path), 0, what))
    for before, segment in pairwise(readable):
        gap = (before.last_sequence + 1, segment.first_sequence - 1)
        follows = gap[0] > gap[1] or is_lost(losses, *gap)
        if segment.digest_before != before.digest or not follows or segment.first_sequence <= before.last_sequence:
            found.append(JournalDamaged(str(before.path), before.end, f"{segment.path.name} does not follow it"))
    first = readable[0].first_sequence if readable else 0
    if first > stored_sequence + 1 and not is_lost(losses, stored_sequence + 1, first - 1):
        missing = f"events {stored_sequence + 1} to {first - 1} are neither here nor in the usage table"
        found.append(JournalDamaged(str(readable[0].path), 0, missing))
    return found


def _rewrite(disk: Disk, segment: Segment) -> Segment:
    """Copy the valid part into a new synced file of the same name."""
    content = segment.path.read_bytes()
    if segment.fault:
        lost = len(content) - segment.end
        _log.warning(
            "%s: cut a torn tail of %d bytes at offset %d (%s); its events were never acknowledged",
            segment.path.name,
            lost,
            segment.end,
            segment.fault.what,
        )
    disk.publish(segment.path, [content[: segment.end]])
    return read_segment(segment.path)
