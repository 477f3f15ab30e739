"""Between the last record that was appended and each acknowledgement there is a sync, as the kernel saw it."""

import re
import signal
from pathlib import Path

from tests.crash.ledger import Event
from tests.crash.load import BATCH
from tests.crash.requirements import require
from tests.crash.server import TALLYSTICK, Connection, Server

BATCHES = 30
_TRACED = "trace=fdatasync,fsync,write,writev,pwrite64,sendto,sendmsg"


def test_every_acknowledgement_follows_a_sync_of_its_record(tmp_path: Path) -> None:
    require("injected")
    server = Server(TALLYSTICK, tmp_path / "data", tmp_path / "log")
    trace = tmp_path / "trace"
    assert server.start(["strace", "-D", "-f", "-qq", "-y", "-s", "24", "-o", str(trace), "-e", _TRACED])
    server.apply_catalog()
    connection = Connection(server.url)
    for number in range(BATCHES):
        body = [Event(number, 0).cloud_event, Event(number, 1).cloud_event]
        assert connection.ask("POST", "/v1/events", body, BATCH)[0] == 200
    connection.close()
    assert server.end(signal.SIGTERM) == 0
    assert acknowledged_after_a_sync(trace.read_text().splitlines()) == BATCHES


def acknowledged_after_a_sync(trace: list[str]) -> int:
    """Number of records that were appended, synced, and answered in this order. Asserts that no other order is there.

    One client waits for each answer before it sends more, so steps of different batches do not overlap.
    """
    unfinished: dict[str, str] = {}
    state, count = "idle", 0
    for line in trace:
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            unfinished[thread] = call
            continue
        if call.startswith("<..."):
            call = unfinished.pop(thread) + call
        if re.match(r"(write|writev|pwrite64)\(\d+<[^>]*\.segment>", call):
            state = "appended"
        elif re.match(r"(fsync|fdatasync)\(\d+<[^>]*\.segment>.* = 0$", call) and state == "appended":
            state = "synced"
        elif "HTTP/1.1 200" in call:
            assert state != "appended", f"an answer before its sync: {call}"
            count += state == "synced"
            state = "idle"
    return count
