"""A gateway that is killed while it spends its journaled allowance, the server being away, and again while it reports:
what it let through is counted once, all starts together let through no more than one allowance."""

import json
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from tests.conftest import ROOT
from tests.crash.server import TALLYSTICK, Server
from tests.crash.test_leases import CATALOG, TERM, ask

ALLOWANCE = 400
PART = 40  # what of the allowance is journaled at a time: all of it counts as used where the end is not known
GATEWAY = """
import sys, time
from pathlib import Path
from api.lease_client import LeasedQuota

url, allowance, journal, spends = sys.argv[1:]
client = LeasedQuota(url, unreachable="open", allowance=int(allowance), journal=Path(journal))
print("started", flush=True)
while True:
    if spends == "spends" and client.take("acme", "units"):
        print("x", flush=True)
    time.sleep(0.002)
"""


def gateway(url: str, journal: Path, said: Path, does: str) -> "subprocess.Popen[bytes]":
    """Runs, once it has started; each unit that it lets through is an x in `said`."""
    said.write_bytes(b"")
    with said.open("ab") as out:
        command = [sys.executable, "-c", GATEWAY, url, str(ALLOWANCE), str(journal), does]
        process = subprocess.Popen(command, stdout=out, cwd=ROOT)
    while b"started" not in said.read_bytes():
        assert process.poll() is None
        time.sleep(0.01)
    return process


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def journaled(journal: Path) -> Decimal:
    """What is to be counted of it."""
    amounts: dict[str, Decimal] = {}
    for line in map(json.loads, journal.read_text().splitlines()):
        amounts[line["id"]] = Decimal(line["used"] if "used" in line else line["amount"])
    return sum(amounts.values(), Decimal(0))


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 6))])
def test_a_killed_gateway_reports_its_journal_once_and_never_spends_more(tmp_path: Path, seed: int) -> None:
    chance, journal, said, spent, kills = Random(seed), tmp_path / "journal", tmp_path / "said", 0, 3
    for _ in range(kills):
        running = gateway("http://127.0.0.1:9", journal, said, "spends")
        time.sleep(chance.uniform(0.05, 0.4))
        kill(running)
        spent += said.read_bytes().count(b"x")
    owed = journaled(journal)
    assert 0 < spent <= owed <= min(spent + kills * PART, ALLOWANCE)
    server = Server(TALLYSTICK, tmp_path / "data", tmp_path / "log")
    server.must_start()
    for path, body in (("/v1/catalog", CATALOG), ("/v1/customers/acme", {}), ("/v1/subscriptions/s", TERM)):
        assert ask(server, "PUT", path, body)[0] == 200
    for _ in range(kills):
        running = gateway(server.url, journal, said, "reports")
        time.sleep(chance.uniform(0, 0.05))
        kill(running)
    running, deadline = gateway(server.url, journal, said, "reports"), time.monotonic() + 60
    while journal.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kill(running)
    assert Decimal(ask(server, "GET", "/v1/quota/acme/units")[1]["used"]) == owed
    server.end(signal.SIGTERM)
