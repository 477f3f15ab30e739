"""A data directory from a backup: every file is checked against its digest, and nothing opens the directory before all
are there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from api.operating.backup import Advance, Backup, BackupError, BackupFolder, KeptFile, copy
from api.operating.snapshots import DATABASE
from ingest.lock import LOCK_FILE, UNFINISHED
from rating.disk import AppendFile, Disk

SECRET_MODE = 0o600  # of the database: it holds the secrets that webhooks are signed with


def check(folder: BackupFolder, backup: Backup, advance: Advance = lambda _: None) -> None:
    """Read every file of a backup. Raises BackupError that names the first one that is not as it was written."""
    for file in backup.files:
        _checked_copy(folder, file, None, advance)


def restore(folder: BackupFolder, backup: Backup, data: Path, disk: Disk, advance: Advance = lambda _: None) -> None:
    """Make the data directory `data` of a backup, durably. What is broken off is begun anew by the next call; until
    one has ended nothing else opens the directory.

    Raises BackupError when the directory is not empty, or a file of the backup is damaged: nothing is left then.
    """
    if data.exists() and not _may_be_used(data):
        raise BackupError(f"{data} is not empty: move it away, or say another --data")
    disk.make_directory(data)
    with _owned(disk, data):
        disk.publish(data / UNFINISHED, [b""])
        _clear(disk, data)
        try:
            _restore_all(folder, backup, data, disk, advance)
        except BackupError:
            _clear(disk, data)
            disk.unlink(data / UNFINISHED)
            raise
        disk.unlink(data / UNFINISHED)


def _restore_all(folder: BackupFolder, backup: Backup, data: Path, disk: Disk, advance: Advance) -> None:
    for file in backup.files:
        target = _place(data, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        written = disk.create(target)
        try:
            if file.path == DATABASE:
                target.chmod(SECRET_MODE)
            _checked_copy(folder, file, written, advance)
            written.sync()
        finally:
            written.close()
    for directory, _, _ in os.walk(data):
        disk.sync_directory(Path(directory))


def _checked_copy(folder: BackupFolder, file: KeptFile, target: AppendFile | None, advance: Advance) -> None:
    source = folder.file(file)
    try:
        digest = copy(source, file.size, target, advance)
    except FileNotFoundError:
        raise BackupError(f"{source} ({file.path}) is missing: use another backup") from None
    if digest != file.digest or source.stat().st_size != file.size:
        raise BackupError(f"{source} ({file.path}) is damaged: it is not as it was written. Use another backup")


def _place(data: Path, file: KeptFile) -> Path:
    path = PurePosixPath(file.path)
    if path.is_absolute() or ".." in path.parts:
        raise BackupError(f"{file.path} leads out of a data directory: this is no backup of ours")
    return data / path


def _may_be_used(data: Path) -> bool:
    return (data / UNFINISHED).exists() or {path.name for path in data.iterdir()} <= {LOCK_FILE, f"{UNFINISHED}.tmp"}


@contextmanager
def _owned(disk: Disk, data: Path) -> Iterator[None]:
    try:
        lock = disk.lock(data / LOCK_FILE)
    except BlockingIOError:
        raise BackupError(f"{data} is in use by another process") from None
    with lock:
        yield


def _clear(disk: Disk, data: Path) -> None:
    """Remove all that another restore has left."""
    for path in data.iterdir():
        if path.is_dir() and not path.is_symlink():
            disk.remove_tree(path)
        elif path.name not in (LOCK_FILE, UNFINISHED):
            disk.unlink(path)
