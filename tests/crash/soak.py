"""A long run: load without an end, and in its second half a kill -9 now and then. Nothing may grow, nothing be lost."""

import time
from pathlib import Path

from tests.crash.held import Watched, grown
from tests.crash.ledger import Finding, Ledger
from tests.crash.load import Load, resend_unacknowledged
from tests.crash.server import Server

WARM_UP = 0.3  # of the first half, before it is looked at


def soak(server: Server, *, seconds: float, kill_every: float, writers: int = 4, seed: int = 1) -> list[Finding]:
    """What is wrong after so many seconds of load."""
    ledger = Ledger()
    server.must_start()
    server.apply_catalog()
    halves = []
    for interval, kills in ((seconds / 2, False), (kill_every, True)):
        with Watched(server, ledger) as watched:
            until = time.monotonic() + seconds / 2
            while (left := until - time.monotonic()) > 0:
                load = Load(server.url, ledger, None, seed + len(ledger.requests), writers, lambda count: None)
                load.start()
                time.sleep(min(interval, left))
                if kills:
                    server.kill()
                load.stop()
                if kills:
                    server.must_start()
        halves.append(watched.looks)
    first = halves[0][int(len(halves[0]) * WARM_UP) :]
    found = [Finding("GROWN", what) for what in grown(first, halves[1])]
    if not resend_unacknowledged(server.url, ledger, time.monotonic() + 60):
        found.append(Finding("STUCK", f"{len(ledger.unacknowledged)} events are not taken"))
    found += ledger.check(server.totals())
    server.kill()
    print(f"{len(ledger.acknowledged)} events in {seconds:.0f} s, {len(first)} and {len(halves[1])} looks: {first[-1]}")
    return found


def small_server(command: tuple[str, ...], scratch: Path) -> Server:
    """A server on a directory of its own."""
    return Server(command, scratch / "data", scratch / "log")
