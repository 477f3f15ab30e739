"""What a server holds while it works: memory, open files, threads, bytes on the disk."""

import statistics
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.crash.ledger import Ledger
from tests.crash.server import Server

LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Look:
    """One look at a running server: resident MiB, open files, threads, and bytes on the disk for each event that was
    acknowledged until then."""

    resident: float
    files: int
    threads: int
    bytes_per_event: float


class Watched:
    """Looks at whatever process the server has, until the end of the block."""

    def __init__(self, server: Server, ledger: Ledger) -> None:
        self._server, self._ledger = server, ledger
        self.looks: list[Look] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(LOOK_SECONDS):
            try:
                self.looks.append(_look(self._server, len(self._ledger.acknowledged)))
            except (OSError, AssertionError, KeyError):  # it is being ended (what is left holds no memory) or started
                continue


def grown(first: list[Look], second: list[Look]) -> list[str]:
    """What the second half holds beyond the first and what is allowed: a leak shows in each of these in the end.

    Files and threads come and go with flushes, so the fewest are compared; memory and disk by their medians.
    """
    limits = {
        "resident MiB": (statistics.median, "resident", 1.25, 32),
        "open files": (min, "files", 1.0, 4),
        "threads": (min, "threads", 1.0, 2),
        "bytes on disk for each event": (statistics.median, "bytes_per_event", 1.25, 0),
    }
    found = []
    for name, (middle, field, factor, spare) in limits.items():
        before, after = (middle([getattr(look, field) for look in looks]) for looks in (first, second))
        if after > before * factor + spare:
            found.append(f"{name}: {before:,.1f} in the first half, {after:,.1f} in the second")
    return found


def _look(server: Server, events: int) -> Look:
    process = Path(f"/proc/{server.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    stored = sum(path.stat().st_size for path in server.data.rglob("*") if path.is_file())
    return Look(
        int(status["VmRSS"].split()[0]) / 1024,
        len(list((process / "fd").iterdir())),
        int(status["Threads"]),
        stored / max(events, 1),
    )
