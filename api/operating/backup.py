"""A folder of backups: every file once, by its content, and a manifest for each backup.

folder/files/<BLAKE2b-256 of the content>   never changed
folder/backups/<when>-<last sequence>.json  what belongs to one backup: its commit point, written last

A second backup copies what is new. A process that ends in the middle leaves files that no manifest names; those of
earlier backups are not touched.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rating.disk import AppendFile, Disk, Lock

FORMAT = 1
FILES, BACKUPS, LOCK_FILE = "files", "backups", "lock"
PIECE_BYTES = 1 << 20
INCOMING = "incoming.tmp"

Advance = Callable[[int], None]
"""Told how many bytes more are done."""


class BackupError(Exception):
    """A backup cannot be made or used; the message says why, and what to do."""


@dataclass(frozen=True)
class SourceFile:
    """The first `size` bytes at `source`, which belong at `path` in a data directory."""

    path: str
    source: Path
    size: int


@dataclass(frozen=True)
class KeptFile:
    """A file of a backup. `modified` (nanoseconds) and `inode` are those that it was copied from: as long as they and
    the size are the same, it is not read again."""

    path: str
    size: int
    digest: str
    modified: int
    inode: int


@dataclass(frozen=True)
class Backup:
    """One manifest."""

    name: str
    taken_at: datetime
    last_sequence: int
    has_database: bool
    release: str
    files: tuple[KeptFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Copied:
    """What one backup added to the folder."""

    backup: Backup
    copied_files: int
    copied_bytes: int


class BackupFolder:
    """A folder of backups; one process at a time writes into it."""

    def __init__(self, directory: Path, *, disk: Disk) -> None:
        self.directory, self._disk = directory, disk
        self._files, self._backups = directory / FILES, directory / BACKUPS

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make what is missing, and keep others out while the block runs. Raises BackupError."""
        if self.directory.exists() and not self._backups.is_dir() and any(self.directory.iterdir()):
            raise BackupError(f"{self.directory} holds something else than backups; say an empty folder")
        for directory in (self._files, self._backups):
            self._disk.make_directory(directory)
        with self._locked():
            self._disk.unlink(self._files / INCOMING)
            yield

    def names(self) -> list[str]:
        """The backups in it, oldest first."""
        return sorted(path.stem for path in self._backups.glob("*.json"))

    def read(self, name: str | None = None) -> Backup:
        """A backup by name, or the newest. Raises BackupError."""
        names = self.names()
        if not names or name not in (None, *names):
            there = f"; there are {', '.join(names)}" if names else ""
            raise BackupError(f"there is no backup {name or ''} in {self.directory}{there}".replace("  ", " "))
        return _parsed(self._backups / f"{name or names[-1]}.json")

    def file(self, kept: KeptFile) -> Path:
        """Where the content of a file is."""
        return self._files / kept.digest

    def add(
        self,
        sources: Sequence[SourceFile],
        *,
        taken_at: datetime,
        last_sequence: int,
        has_database: bool,
        release: str,
        advance: Advance = lambda _: None,
    ) -> Copied:
        """Copy what is not there yet, then name all of it. Durable on return; `opened` is held."""
        before = self._before()
        kept: list[KeptFile] = []
        copied = copied_bytes = 0
        for source in sources:
            file, is_new = self._keep(source, before.get(source.path), advance)
            kept.append(file)
            copied, copied_bytes = copied + is_new, copied_bytes + is_new * file.size
        name = f"{taken_at:%Y%m%dT%H%M%S%fZ}-{last_sequence:020d}"
        backup = Backup(name, taken_at, last_sequence, has_database, release, tuple(kept))
        self._disk.publish(self._backups / f"{name}.json", [_written(backup)])
        return Copied(backup, copied, copied_bytes)

    def keep_newest(self, count: int) -> list[str]:
        """Remove all backups but the newest `count`, and the files that only they had; their names.
        `opened` is held."""
        removed = self.names()[:-count]
        for name in removed:
            self._disk.unlink(self._backups / f"{name}.json")
        needed = {file.digest for name in self.names() for file in self.read(name).files}
        for path in self._files.iterdir():
            if path.name not in needed:
                self._disk.unlink(path)
        return removed

    def _before(self) -> dict[str, KeptFile]:
        """The files of the newest backup that can be read."""
        for name in reversed(self.names()):
            try:
                return {file.path: file for file in self.read(name).files}
            except BackupError:
                continue
        return {}

    def _keep(self, source: SourceFile, before: KeptFile | None, advance: Advance) -> tuple[KeptFile, bool]:
        """The file as it is kept now, and whether it was copied."""
        found = source.source.stat()
        same = (source.size, found.st_mtime_ns, found.st_ino)
        if before and (before.size, before.modified, before.inode) == same and self._has(before):
            advance(source.size)
            return before, False
        digest, is_new = self._copy(source, advance)
        return KeptFile(source.path, source.size, digest, found.st_mtime_ns, found.st_ino), is_new

    def _has(self, kept: KeptFile) -> bool:
        path = self.file(kept)
        return path.is_file() and path.stat().st_size == kept.size

    def _copy(self, source: SourceFile, advance: Advance) -> tuple[str, bool]:
        incoming = self._files / INCOMING
        written = self._disk.create(incoming)
        try:
            digest = copy(source.source, source.size, written, advance)
            written.sync()
        finally:
            written.close()
        target = self._files / digest
        if target.is_file() and target.stat().st_size == source.size:
            self._disk.unlink(incoming)
            return digest, False
        self._disk.rename(incoming, target)
        return digest, True

    def _locked(self) -> Lock:
        try:
            return self._disk.lock(self.directory / LOCK_FILE)
        except BlockingIOError:
            raise BackupError(f"another process writes into {self.directory}; try again when it has ended") from None


def copy(source: Path, size: int, target: AppendFile | None, advance: Advance) -> str:
    """Copy the first `size` bytes to where there is a target, and say their digest. Raises BackupError when there are
    fewer."""
    digest, left = blake2b(digest_size=32), size
    with source.open("rb") as read:
        while left:
            piece = read.read(min(PIECE_BYTES, left))
            if not piece:
                raise BackupError(f"{source} is {left} bytes shorter than it was written")
            digest.update(piece)
            if target is not None:
                target.append([piece])
            left -= len(piece)
            advance(len(piece))
    return digest.hexdigest()


def _written(backup: Backup) -> bytes:
    content = {
        "taken_at": backup.taken_at.isoformat(),
        "last_sequence": backup.last_sequence,
        "has_database": backup.has_database,
        "release": backup.release,
        "files": [vars(file) for file in backup.files],
    }
    return json.dumps({"format": FORMAT, "digest": _digest(content), "backup": content}).encode()


def _parsed(path: Path) -> Backup:
    try:
        document = json.loads(path.read_bytes())
        version, content = int(document["format"]), document["backup"]
        if version > FORMAT:
            raise BackupError(
                f"{path} is of format {version}, and this release reads up to {FORMAT}: use the release that wrote it "
                "or a later one"
            )
        if document["digest"] != _digest(content):
            raise BackupError(f"{path} is damaged: it is not as it was written. Use another backup")
        files = tuple(KeptFile(**file) for file in content["files"])
        at = datetime.fromisoformat(content["taken_at"])
        return Backup(path.stem, at, content["last_sequence"], content["has_database"], content["release"], files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{path} is damaged: it cannot be read ({error}). Use another backup") from error


def _digest(content: Mapping[str, Any]) -> str:
    return blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=32).hexdigest()
