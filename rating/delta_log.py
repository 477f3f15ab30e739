"""The log of a Delta table on a disk that may fail: which entries and checkpoints are durable, which may go.

delta-rs syncs none of them. An entry is trusted when this module's caller has synced it; at opening only the newest one
can be unsynced. A checkpoint is a cache over the entries since the checkpoint before it, so the newest is dropped when
it may be torn; entries go only when two durable checkpoints come after them.
"""

import json
from pathlib import Path

from deltalake import DeltaTable

from rating.disk import Disk

LAST_CHECKPOINT = "_last_checkpoint"


def recover_log(disk: Disk, directory: Path) -> None:
    """Leave only durable, whole entries in the log of the table in `directory`.

    The newest entry is rewritten into a new synced file, or removed when it is empty or torn: its commit had not
    returned then. The newest checkpoint is removed where the entries that it sums up are still there.
    """
    log = directory / "_delta_log"
    for leftover in log.glob("*.tmp"):
        disk.unlink(leftover)
    entries = _entries(log)
    _drop_newest_checkpoint(disk, log, entries)
    if not entries:
        return
    newest = entries[max(entries)]
    content = newest.read_bytes()
    if _is_whole(content):
        disk.publish(newest, [content])
    else:
        disk.unlink(newest)


def newest_whole_version(directory: Path) -> int | None:
    """The version that opening will find, null when there is none. Changes nothing."""
    entries = _entries(directory / "_delta_log")
    if not entries:
        return None
    newest = max(entries)
    if _is_whole(entries[newest].read_bytes()):
        return newest
    return newest - 1 if newest > 0 else None


def write_checkpoint(disk: Disk, log: Path, table: DeltaTable) -> None:
    """Sum up the log at the table's version, durably; then remove the entries that two checkpoints make needless."""
    table.create_checkpoint()
    for path in [*log.glob(f"{table.version():020d}.checkpoint*"), log / LAST_CHECKPOINT]:
        disk.sync_file(path)
    disk.sync_directory(log)
    _remove_old(disk, log)


def _remove_old(disk: Disk, log: Path) -> None:
    """Keep the two newest checkpoints and the entries from the older of them on: opening may drop the newer."""
    checkpoints = _checkpoints(log)
    if len(checkpoints) < 2:
        return
    base = sorted(checkpoints)[-2]
    needless = [path for version, path in checkpoints.items() if version < base]
    needless += [path for version, path in sorted(_entries(log).items()) if version < base]
    for path in needless:
        disk.unlink(path)


def _drop_newest_checkpoint(disk: Disk, log: Path, entries: dict[int, Path]) -> None:
    """A crash may have left it torn. It stays where it is the only thing that knows the entries before it: these were
    removed after it had been synced."""
    if (log / LAST_CHECKPOINT).exists():
        disk.unlink(log / LAST_CHECKPOINT)
    checkpoints = _checkpoints(log)
    if not checkpoints:
        return
    *older, newest = sorted(checkpoints)
    since = older[-1] + 1 if older else 0
    if all(version in entries for version in range(since, newest + 1)):
        disk.unlink(checkpoints[newest])


def _entries(log: Path) -> dict[int, Path]:
    return {int(path.stem): path for path in log.glob("*.json") if path.stem.isdigit()}


def _checkpoints(log: Path) -> dict[int, Path]:
    """Checkpoints in one file, as this module has them written."""
    return {int(path.name[:20]): path for path in log.glob("*.checkpoint.parquet") if path.name[:20].isdigit()}


def _is_whole(entry: bytes) -> bool:
    """Whether a log entry has an action on each of its lines; delta-rs takes an empty one for a commit of nothing."""
    try:
        return bool(entry) and all(isinstance(json.loads(line), dict) for line in entry.splitlines())
    except ValueError:
        return False
