"""The one module that changes files: create, append, sync, publish, rename, unlink, truncate, lock (RELIABILITY R1).

Everything that must survive a power cut goes through a `Disk`, so that a test can record its calls, make one of them
fail, or put a simulated disk in its place. Reading is free: a reader may open a file by itself.

A name is durable only when its directory was synced after it was made: `publish`, `make_directory` and `unlink` do that
themselves, `create` leaves it to the caller, who writes a header first. Every method lets OSError through: the caller
decides whether the process may go on (R4). A sync that failed is a SyncFailed: what it was asked to keep may be lost
although a second sync would succeed, so nobody may go on from there.
"""

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeGuard

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class SyncFailed(OSError):
    """The kernel could not make something durable; what the page cache shows of it proves nothing any more."""


def is_full(error: BaseException) -> TypeGuard[OSError]:
    """Whether a step failed for want of room, before anything was made durable: it may be tried again later."""
    return isinstance(error, OSError) and not isinstance(error, SyncFailed) and error.errno in _FULL


class AppendFile:
    """A file opened for appending. `size` is what was handed to the kernel; only `sync` makes it durable."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor

    def append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write `pieces` one behind the other; short writes are continued, so it is all or an OSError.

        After an OSError a part of them may be there: `size` says how much.
        """
        waiting = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
        while waiting:
            written = os.writev(self._descriptor, waiting)
            self.size += written
            waiting = _rest(waiting, written)

    def sync(self) -> None:
        """Make what was appended durable (data and length, not the directory entry)."""
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise SyncFailed(error.errno, error.strerror, str(self.path)) from error

    def close(self) -> None:
        """Close without syncing."""
        os.close(self._descriptor)


class Lock:
    """An exclusive lock on a file until `release` or the death of the process (flock: a dead owner never blocks)."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    def describe(self, holder: bytes) -> None:
        """Leave `holder` in the file, for whoever is refused."""
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, holder, 0)

    def release(self) -> None:
        """Let the next one in; nothing happens when it was released before."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Disk:
    """The real disk. One method is one step that can fail or be the last one before a power cut."""

    def create(self, path: Path) -> AppendFile:
        """A new file for appending; FileExistsError when the name is taken. The name is not durable yet."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        return AppendFile(path, os.open(path, flags, 0o640))

    def publish(self, path: Path, pieces: Sequence[bytes | memoryview]) -> None:
        """Put a whole file at `path`, replacing what was there: after a crash it is the old one or the new one."""
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.unlink(missing_ok=True)
        file = self.create(temporary)
        try:
            file.append(pieces)
            file.sync()
        finally:
            file.close()
        self.rename(temporary, path)

    def rename(self, source: Path, target: Path) -> None:
        """Give a synced file its name, durably; both are in one directory."""
        os.rename(source, target)
        self.sync_directory(target.parent)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, which is not durable: it keeps the content when the first is removed or replaced.
        Both are on one file system."""
        os.link(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a file, durably; nothing happens when it is gone already."""
        path.unlink(missing_ok=True)
        self.sync_directory(path.parent)

    def remove_tree(self, directory: Path) -> None:
        """Remove a directory with all that is in it, durably; after a crash some of it may be left: remove it again."""
        for folder, _, names in os.walk(directory, topdown=False):
            for name in names:
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)
        self.sync_directory(directory.parent)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to `size` bytes, durably."""
        os.truncate(path, size)
        self.sync_file(path)

    def make_directory(self, path: Path) -> None:
        """Make a directory and what is missing above it, durably. The nearest one that is there may be what a process
        left that ended before it was synced: its name is made durable too."""
        steps = (path, *path.parents)
        existing = next(step for step in steps if step.exists())
        if os.access(existing.parent, os.R_OK):
            self.sync_directory(existing.parent)
        for step in reversed(steps[: steps.index(existing)]):
            step.mkdir(exist_ok=True)
            self.sync_directory(step.parent)

    def sync_file(self, path: Path) -> None:
        """Make the content of a file durable that another library wrote."""
        self._sync(path, os.O_RDONLY)

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        self._sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def lock(self, path: Path) -> Lock:
        """Take the lock at `path` or raise BlockingIOError at once when another owner holds it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return Lock(path, descriptor)

    def _sync(self, path: Path, flags: int) -> None:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise SyncFailed(error.errno, error.strerror, str(path)) from error
        finally:
            os.close(descriptor)


def _rest(pieces: list[memoryview], written: int) -> list[memoryview]:
    """What of `pieces` is left after the first `written` bytes."""
    for position, piece in enumerate(pieces):
        if written < len(piece):
            return [piece[written:], *pieces[position + 1 :]]
        written -= len(piece)
    return []
