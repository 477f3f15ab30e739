"""Which usage files a directory has, and which of them were taken in before."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from api.cli.failing import BAD_DATA, FAILED, USAGE, Failure
from api.cli.writing import write_bytes

HIDDEN = (".", "_")
"""Names that begin so are no usage files: editors, Spark and Delta keep their own things under them."""


def usage_files(paths: Sequence[Path]) -> list[Path]:
    """The files that are named, and every usage file in the directories that are, at any depth, in order of their
    names. Raises Failure for a directory without any."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(_inside(path))
        if not inside:
            raise Failure(f"{path} has no usage file: none ends in {', '.join(_endings())}.", BAD_DATA)
        found += inside
    return found


def _inside(directory: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
        found += [Path(folder, name) for name in names if not name.startswith(HIDDEN) and _is_usage(Path(name))]
    return found


def _is_usage(name: Path) -> bool:
    from ingest.files.tables import COMPRESSIONS

    inner = name.with_suffix("") if name.suffix.lower() in COMPRESSIONS else name
    return inner.suffix.lower() in _endings()


def _endings() -> list[str]:
    from ingest.files import EXTENSIONS

    return list(EXTENSIONS)


class TakenFiles:
    """A record, as JSON lines, of the files that were taken in with no event refused.

    A file is known by its content, by how it is read and by where it goes to, so that one that has changed, or is to be
    read in another way, is taken in again; what is in already is then a duplicate. Without a path nothing is recorded.
    """

    def __init__(self, path: Path | None, *how: object) -> None:
        """`how` is everything besides the content that decides what events come of a file, and where they go."""
        self._path, self._how = path, repr(how).encode()
        self._lines = _read(path) if path is not None and path.exists() else []
        self._keys = {line["key"] for line in self._lines}

    def key(self, file: Path) -> str | None:
        """What `file` is known by now, null where nothing is recorded. Raises Failure."""
        return self._key(file) if self._path is not None else None

    def has(self, key: str | None) -> bool:
        """Whether the file with this key was taken in before."""
        return key in self._keys

    def add(self, file: Path, key: str | None, counts: dict[str, Any]) -> None:
        """Note that `file` was taken in whole, if it still has the `key` it had before; durable when this returns."""
        if self._path is None or self._key(file) != key:
            return
        self._lines.append({"key": key, "file": str(file), **counts})
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self._lines)
        write_bytes(text.encode(), str(self._path))

    def _key(self, file: Path) -> str:
        try:
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "blake2b")
        except OSError as error:
            raise Failure(f"{file} cannot be read: {error.strerror or error}.", BAD_DATA) from error
        digest.update(self._how)
        return digest.hexdigest()[:32]


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        if all(isinstance(line["key"], str) for line in lines):
            return lines
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror or error}.", FAILED) from error
    except (ValueError, TypeError, KeyError):
        pass
    raise Failure(f"{path} is no record of taken files. Say another --record.", USAGE)
