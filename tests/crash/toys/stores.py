"""Small stores of usage events: two good ones, and the same with one flaw each. The crash harness must tell them apart.

Every store takes a batch of events as (id, subject, quantity), adds those that it does not know, and gives totals.
"""

import json
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

Row = tuple[str, str, str]  # id, subject, quantity

GOOD = ("log", "sqlite")
FLAWS = (
    "memory_ack",
    "no_fsync",
    "no_directory_fsync",
    "swallows_eio",
    "dedup_in_memory",
    "check_then_insert",
    "float_sum",
    "per_record_commit",
)


class Log:
    """One file of records, a batch each; at start what is valid is copied into a new synced file (unless flawed)."""

    def __init__(self, directory: Path, flaw: str) -> None:
        self._directory, self._path, self._flaw = directory, directory / "log", flaw
        self._lock = threading.Lock()
        self._rows: list[Row] = []
        self._known: set[str] = set()
        self._waiting: list[Sequence[Row]] = []
        directory.mkdir(exist_ok=True)
        self._sync_directory(directory.parent)
        batches = [batch for path in self._files() for batch in _records(path.read_bytes())]
        for batch in batches:
            self._keep(batch if flaw != "no_directory_fsync" else [row for row in batch if row[0] not in self._known])
        if flaw == "dedup_in_memory":
            self._known.clear()
        if flaw == "swallows_eio" and self._path.exists():
            self._cut_torn_tail(batches)
        else:
            self._rewrite([self._rows] if flaw == "no_directory_fsync" else batches)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        if flaw == "memory_ack":
            threading.Thread(target=self._write_later, daemon=True).start()

    def add(self, rows: Sequence[Row]) -> int:
        """Add what is new; how many that is."""
        if self._flaw == "check_then_insert":
            return self._add(rows)
        with self._lock:
            return self._add(rows)

    def totals(self) -> list[tuple[str, str, int]]:
        """Subject, sum and number of its events."""
        return _summed(self._rows, as_float=self._flaw == "float_sum")

    def _add(self, rows: Sequence[Row]) -> int:
        new = [row for row in dict.fromkeys(rows) if row[0] not in self._known]
        if self._flaw == "check_then_insert":
            time.sleep(0.001)
        if not new:
            return 0
        if self._flaw == "memory_ack":
            self._waiting.append(new)
        elif self._flaw == "no_directory_fsync":
            self._publish(new)
        elif self._flaw == "per_record_commit":
            for row in new:
                self._append([row])
        else:
            self._append(new)
        self._keep(new)
        return len(new)

    def _keep(self, rows: Sequence[Row]) -> None:
        self._rows += rows
        self._known.update(row[0] for row in rows)

    def _append(self, rows: Sequence[Row]) -> None:
        os.write(self._file, _record(rows))
        try:
            self._sync(self._file)
        except OSError:
            if self._flaw != "swallows_eio":
                os._exit(70)

    def _publish(self, rows: Sequence[Row]) -> None:
        """A batch as a file of its own: written, synced, named; only the name is not synced."""
        temporary = self._directory / "new"
        _write(temporary, _record(rows))
        temporary.rename(self._directory / f"log-{time.time_ns()}")

    def _rewrite(self, batches: Iterable[Sequence[Row]]) -> None:
        content = b"".join(_record(batch) for batch in batches)
        temporary = self._directory / "rewritten"
        if self._flaw == "no_fsync":
            temporary.write_bytes(content)
        else:
            _write(temporary, content)
        temporary.rename(self._path)
        self._sync_directory(self._directory)
        for path in self._files()[1:]:
            path.unlink()

    def _cut_torn_tail(self, batches: Iterable[Sequence[Row]]) -> None:
        os.truncate(self._path, sum(len(_record(batch)) for batch in batches))

    def _files(self) -> list[Path]:
        return [self._path] * self._path.exists() + sorted(self._directory.glob("log-*"))

    def _write_later(self) -> None:
        while True:
            time.sleep(0.05)
            with self._lock:
                waiting, self._waiting = self._waiting, []
            for rows in waiting:
                self._append(rows)

    def _sync(self, descriptor: int) -> None:
        if self._flaw != "no_fsync":
            os.fsync(descriptor)

    def _sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        self._sync(descriptor)
        os.close(descriptor)


class Sqlite:
    """One table, the id its key, synced at every commit."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(directory / "events.sqlite", check_same_thread=False)
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = full")
        self._database.execute("create table if not exists event (id text primary key, subject text, quantity text)")
        self._database.commit()

    def add(self, rows: Sequence[Row]) -> int:
        """Add what is new; how many that is."""
        with self._lock, self._database:
            return self._database.executemany("insert or ignore into event values (?, ?, ?)", rows).rowcount

    def totals(self) -> list[tuple[str, str, int]]:
        """Subject, sum and number of its events."""
        with self._lock:
            return _summed(self._database.execute("select id, subject, quantity from event").fetchall())


def open_store(directory: Path, kind: str) -> Log | Sqlite:
    """The store of `kind`: one of GOOD or FLAWS."""
    assert kind in (*GOOD, *FLAWS), kind
    return Sqlite(directory) if kind == "sqlite" else Log(directory, kind)


def _summed(rows: Iterable[Row], *, as_float: bool = False) -> list[tuple[str, str, int]]:
    sums: dict[str, Decimal | float] = {}
    counts: dict[str, int] = {}
    for _, subject, quantity in list(rows):
        number = float(quantity) if as_float else Decimal(quantity)
        sums[subject] = number + sums.get(subject, 0)  # type: ignore[operator]  # never both kinds in one run
        counts[subject] = counts.get(subject, 0) + 1
    return [(subject, f"{total:.9f}", counts[subject]) for subject, total in sums.items()]


def _record(rows: Sequence[Row]) -> bytes:
    body = json.dumps(list(rows)).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _records(content: bytes) -> Iterable[list[Row]]:
    """The valid records, up to the first that is not whole."""
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n") or line[:8] != b"%08x" % zlib.crc32(line[9:-1]):
            return
        yield [tuple(row) for row in json.loads(line[9:])]


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, content)
    os.fsync(descriptor)
    os.close(descriptor)
