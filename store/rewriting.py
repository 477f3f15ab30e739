"""What a SQLite file holds after an unclean end is copied into a new, synced file before it is trusted.

After a failed sync a process reads from the page cache what the disk never took, and so does the next one: it would
show records that the next power cut takes away (RELIABILITY fact 3). A clean end leaves a mark beside the file; without
the mark the next start copies the database page by page, syncs the copy, and puts it in the place of the old one.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from rating.disk import Disk

_log = logging.getLogger(__name__)


def rewrite_after_unclean_end(path: Path, disk: Disk) -> None:
    """Make durable what can be read from the database at `path`; nothing to do after a clean end. Takes the mark away:
    from now on the database is in use."""
    mark = _mark(path)
    if mark.exists():
        disk.unlink(mark)
        return
    copy = path.with_name(f"{path.name}.rewritten")
    disk.unlink(copy)
    with closing(sqlite3.connect(path)) as found, closing(sqlite3.connect(copy)) as written:
        copy.chmod(path.stat().st_mode)  # it may hold secrets
        found.backup(written)
    disk.sync_file(copy)
    disk.rename(copy, path)
    _log.info("%s was not closed in order: what it held is synced again", path)
    for suffix in ("-wal", "-shm"):  # their pages are in the copy; to replay them over it would change nothing
        disk.unlink(path.with_name(path.name + suffix))


def mark_clean_end(path: Path, disk: Disk) -> None:
    """Say that every sync of the database at `path` succeeded, and that nobody uses it any more."""
    disk.publish(_mark(path), [b"closed in order\n"])


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}.clean")
