"""With little memory the server refuses what is too large for it, and is never ended for it."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.crash.hostile import Hostile, bodies
from tests.crash.ledger import Ledger
from tests.crash.load import Load, resend_unacknowledged
from tests.crash.memory_cap import capped, command_in, missing, most_used
from tests.crash.runs import SEED
from tests.crash.server import SMALL_SEGMENTS, Server

CAP = 512 << 20


@contextmanager
def server_with(size: int, scratch: Path) -> Iterator[tuple[Server, Path]]:
    """A server that may have so much memory, and its control group."""
    lacks = missing()
    if lacks is not None:
        pytest.skip(f"memory-cap is NOT PROVED on this machine: {lacks}")
    with capped(size) as group:
        server = Server(SMALL_SEGMENTS, scratch / "data", scratch / "log")
        try:
            assert server.start(command_in(group)), server.said()
            server.apply_catalog()
            yield server, group
        finally:
            server.kill()


def status_of(url: str, hostile: Hostile) -> int:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    headers = {
        "content-type": hostile.content_type,
        **({"content-encoding": hostile.encoding} if hostile.encoding else {}),
    }
    try:
        connection.request("POST", "/v1/events", hostile.body, headers)
        return connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        return 413  # refused while it was still being sent
    finally:
        connection.close()


def survives(scratch: Path, seconds: float, *, at_once: int) -> None:
    """Load, and hostile bodies beside it, for so long: each is answered as it should be, and nothing is lost."""
    ledger, sent = Ledger(), bodies()
    with server_with(CAP, scratch) as (server, group):
        pid, until = server.pid, time.monotonic() + seconds
        load = Load(server.url, ledger, None, SEED, 2, lambda count: None)
        load.start()
        wrong: list[str] = []

        def attack(first: int) -> None:
            for hostile in sent[first:] + sent[:first]:
                status = status_of(server.url, hostile)
                if status not in (*hostile.statuses, 503):
                    wrong.append(f"{hostile.name}: {status}")

        while True:
            attackers = [threading.Thread(target=attack, args=(3 * number,)) for number in range(at_once)]
            for attacker in attackers:
                attacker.start()
            for attacker in attackers:
                attacker.join()
            if time.monotonic() >= until:
                break
        load.stop()
        assert wrong == []
        assert not server.ended(), f"it was ended: {server.said()}"
        assert server.pid == pid
        assert resend_unacknowledged(server.url, ledger, time.monotonic() + 60)
        assert ledger.check(server.totals()) == []
        print(f"{len(ledger.acknowledged)} events; {most_used(group) >> 20} MiB at the most")


def test_hostile_bodies_do_not_end_a_server_with_little_memory(tmp_path: Path) -> None:
    survives(tmp_path, 1, at_once=1)


@pytest.mark.long
def test_ten_minutes_of_hostile_bodies(tmp_path: Path) -> None:
    survives(tmp_path, 600, at_once=4)
