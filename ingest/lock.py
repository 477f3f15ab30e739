"""One process owns a data directory; the second is told which one does."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from ingest.errors import DataDirectoryLocked, WorkUnfinished
from rating.disk import Disk, Lock

LOCK_FILE = "lock"
UNFINISHED = "restoring"  # a file that is there while a backup is restored into the directory
ERASING = "erasing"  # and one while a subject is erased


def lock_directory(disk: Disk, directory: Path, holder: Mapping[str, str]) -> Lock:
    """Own `directory` until the lock is released or this process dies.

    Raises DataDirectoryLocked and WorkUnfinished.
    """
    path = directory / LOCK_FILE
    if (directory / UNFINISHED).exists():
        raise WorkUnfinished(f"the restore into {directory} was not finished: run the same `tallystick restore` again")
    if (directory / ERASING).exists():
        raise WorkUnfinished(
            f"the erasure of a subject in {directory} was not finished: run the same `tallystick subjects erase` again"
        )
    try:
        lock = disk.lock(path)
    except BlockingIOError:
        raise DataDirectoryLocked(str(directory), read_holder(path)) from None
    try:
        lock.describe(json.dumps({"pid": str(os.getpid()), **holder}).encode())
    except OSError:
        lock.release()
        raise
    return lock


def read_holder(path: Path) -> dict[str, str]:
    """What the owner of a lock left about itself; empty when it has not yet."""
    try:
        holder = json.loads(path.read_bytes() or b"{}")
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in holder.items()} if isinstance(holder, dict) else {}
