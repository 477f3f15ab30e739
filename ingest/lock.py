"""One process owns a data directory; the second is told which one does."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from ingest.errors import DataDirectoryLocked
from rating.disk import Disk, Lock

LOCK_FILE = "lock"


def lock_directory(disk: Disk, directory: Path, holder: Mapping[str, str]) -> Lock:
    """Own `directory` until the lock is released or this process dies. Raises DataDirectoryLocked."""
    path = directory / LOCK_FILE
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
