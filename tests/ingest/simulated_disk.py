"""A disk that counts the calls that change files, fails one of them, and knows what a power cut would leave.

The files are real, in a directory; the calls of the operating system that change them are intercepted there, so that
what rating/disk.py makes of an error is tested too. What libraries write by themselves (delta-rs: its log entries) is
not counted, and is taken as never synced until someone syncs it.

What is durable: the content of a file as of its last sync, and the names in a directory as of the directory's last
sync. A file whose sync has failed keeps what it had before, whatever later syncs of it say (RELIABILITY fact 3).
"""

import errno
import os
import random
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_OPENED = ("fsync", "fdatasync", "write", "writev", "pwrite", "ftruncate")
_NAMED = ("open", "rename", "replace", "unlink", "remove", "mkdir", "rmdir", "truncate")
_SYNCS = ("fsync", "fdatasync")  # noted here; really doing it would only take time
_WRITES = ("write", "writev", "pwrite")
_CONTENTS, _NAMES = ("synced", "all", "half"), ("synced", "all")


@dataclass(frozen=True)
class Fault:
    """Call number `at` (from 1 on) fails with `code`, and all behind it when it is `for_ever`.

    With `written`, a write puts this share of its bytes on the disk before it fails.
    """

    at: int
    code: int = errno.EIO
    for_ever: bool = False
    written: float | None = None

    def hits(self, call: int) -> bool:
        """Whether this call fails."""
        return call == self.at or (self.for_ever and call > self.at)


@dataclass(eq=False)
class _File:
    """One file or directory. `last` is what it held when its last name went; `durable` is what a power cut leaves."""

    durable: bytes = b""
    last: bytes | None = None
    names: dict[str, "_File"] = field(default_factory=dict)
    is_directory: bool = False
    is_poisoned: bool = False


class SimulatedDisk:
    """What happens in `root` while it is `watching`; what is there before is durable. `calls` are the calls so far."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []
        self.fault: Fault | None = None
        self.after_call: Callable[[], None] | None = None
        self._one_at_a_time = threading.RLock()
        self._files: dict[int, _File] = {}
        self._top = self._settled(root)

    @contextmanager
    def watching(self) -> Iterator["SimulatedDisk"]:
        """Intercept the calls of this process until the end of the block."""
        real = {name: getattr(os, name) for name in (*_OPENED, *_NAMED)}
        for name, call in real.items():
            setattr(os, name, self._intercepting(name, call))
        try:
            yield self
        finally:
            for name, call in real.items():
                setattr(os, name, call)

    def crash(self, target: Path, names: str, contents: str, chance: random.Random | None = None) -> None:
        """Put what a power cut would leave at this moment into the new directory `target`.

        Names that are not synced: `synced` none, `all` each; contents: `synced` none, `all`, `half`. With `chance` it
        is drawn anew for each directory and file.
        """
        self._build(self._top, self.root, target, names, contents, chance)

    def _intercepting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def intercepted(*arguments: Any, **more: Any) -> Any:
            path = self._touched(name, arguments)
            if path is None:
                return call(*arguments, **more)
            with self._one_at_a_time:
                self.calls.append(f"{name} {path.name}")
                if self.fault is not None and self.fault.hits(len(self.calls)):
                    self._fail(name, path, arguments, self.fault)
                self._before(name, path, arguments)
                result = None if name in _SYNCS else call(*arguments, **more)
                self._note(name, path)
                if self.after_call is not None:
                    self.after_call()
                return result

        return intercepted

    def _touched(self, name: str, arguments: tuple[Any, ...]) -> Path | None:
        """The file below `root` that a call changes or syncs; null when it does not."""
        if name in _OPENED or isinstance(arguments[0], int):
            path = Path(os.readlink(f"/proc/self/fd/{arguments[0]}"))
        else:
            path = Path(os.fsdecode(arguments[0]))
        if name == "open" and (not arguments[1] & os.O_CREAT or path.exists()):
            return None
        return path if path.is_relative_to(self.root) else None

    def _fail(self, name: str, path: Path, arguments: tuple[Any, ...], fault: Fault) -> None:
        if name in _WRITES and fault.written is not None:
            content = b"".join(arguments[1]) if name == "writev" else bytes(arguments[1])
            os.lseek(arguments[0], 0, os.SEEK_END)
            _write_all(arguments[0], content[: int(len(content) * fault.written)])
        if name in _SYNCS and path.is_file():
            self._file(path).is_poisoned = True
        raise OSError(fault.code, f"injected at call {len(self.calls)}, {name}", str(path))

    def _before(self, name: str, path: Path, arguments: tuple[Any, ...]) -> None:
        """Keep what a name stands for before the call takes it away."""
        gone = Path(arguments[1]) if name in ("rename", "replace") else path if name in ("unlink", "remove") else None
        if gone is not None and gone.exists():
            self._file(gone).last = gone.read_bytes()
            del self._files[gone.stat().st_ino]

    def _note(self, name: str, path: Path) -> None:
        """Remember what a call has made durable."""
        if name in _SYNCS:
            file = self._file(path)
            if path.is_dir():
                file.names = {entry.name: self._file(entry) for entry in path.iterdir()}
            elif not file.is_poisoned:
                file.durable = path.read_bytes()

    def _settled(self, path: Path) -> _File:
        file = self._file(path)
        if path.is_dir():
            file.names = {entry.name: self._settled(entry) for entry in path.iterdir()}
        else:
            file.durable = path.read_bytes()
        return file

    def _file(self, path: Path) -> _File:
        found = path.stat()
        return self._files.setdefault(found.st_ino, _File(is_directory=stat.S_ISDIR(found.st_mode)))

    def _build(
        self, file: _File, live: Path | None, target: Path, names: str, contents: str, chance: random.Random | None
    ) -> None:
        now = {entry.name: self._file(entry) for entry in sorted(live.iterdir())} if live and live.is_dir() else {}
        mode = chance.choice(_NAMES) if chance else names
        target.mkdir()
        for name, entry in (now if mode == "all" else file.names).items():
            path = self._path_of(entry)
            if entry.is_directory:
                self._build(entry, path, target / name, names, contents, chance)
            else:
                how = chance.choice(_CONTENTS) if chance else contents
                target.joinpath(name).write_bytes(_content(entry, path, how))

    def _path_of(self, file: _File) -> Path | None:
        """Where a file is now; null when it is nowhere."""
        for path in (self.root, *self.root.rglob("*")):
            if self._files.get(path.stat().st_ino) is file:
                return path
        return None


def _content(file: _File, path: Path | None, how: str) -> bytes:
    if how == "synced":
        return file.durable
    now = path.read_bytes() if path is not None else file.last or b""
    if how == "all" or not now.startswith(file.durable):
        return now if how == "all" else file.durable
    return now[: (len(file.durable) + len(now)) // 2]


def _write_all(descriptor: int, content: bytes) -> None:
    """Through a descriptor of its own: os.write is intercepted."""
    with open(os.dup(descriptor), "ab", buffering=0) as file:
        file.write(content)
