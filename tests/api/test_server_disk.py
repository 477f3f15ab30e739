"""A server whose disk is full, or fails: the status of each answer, and how the process ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.api.conftest import event
from tests.conftest import ROOT

BATCH = {"content-type": "application/cloudevents-batch+json"}

CHILD = """
import errno, os, sys
from pathlib import Path
from api.server import serve
from api.settings import Settings
import rating.disk
faults = Path(sys.argv[1])
def failing(name, number):
    real = getattr(os, name)
    def call(*arguments):
        if (faults / name).exists():
            raise OSError(number, os.strerror(number))
        return real(*arguments)
    return call
rating.disk.os.fdatasync = failing("fdatasync", errno.EIO)
rating.disk.os.writev = failing("writev", errno.ENOSPC)
serve(Settings())
"""


class Child:
    """A server whose calls fail while a file of their name is in `faults`."""

    def __init__(self, directory: Path) -> None:
        self.faults = directory / "faults"
        self.faults.mkdir(exist_ok=True)
        environment = {**os.environ, "TALLYSTICK_DATA": str(directory / "data"), "TALLYSTICK_PORT": "0"}
        command = [sys.executable, "-c", CHILD, str(self.faults)]
        self.process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line + self.process.stderr.read()
        self.url = found.group()

    def post(self, *keys: str) -> httpx2.Response:
        body = json.dumps([event(key) for key in keys])
        return httpx2.post(f"{self.url}/v1/events", content=body, headers=BATCH, timeout=30)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    running = Child(tmp_path)
    yield running
    running.end()


def test_a_full_disk_is_507_and_mends_itself(child: Child) -> None:
    assert child.post("1").status_code == 200
    (child.faults / "writev").touch()
    for key in ("2", "3"):
        refused = child.post(key)
        assert (refused.status_code, refused.headers["retry-after"]) == (507, "1")
        assert refused.json()["type"] == "urn:tallystick:problem:disk-full"
    (child.faults / "writev").unlink()
    emptied = time.monotonic()
    while child.post("2").status_code != 200:
        assert time.monotonic() - emptied < 2
        time.sleep(0.05)
    assert child.post("1", "2", "3").json()["accepted"] == 1
    assert child.process.poll() is None


def test_after_a_failed_sync_the_process_ends_with_70_and_the_next_one_has_it_all(child: Child, tmp_path: Path) -> None:
    assert child.post("1").status_code == 200
    (child.faults / "fdatasync").touch()
    unknown = child.post("2")
    assert (unknown.status_code, unknown.json()["type"]) == (503, "urn:tallystick:problem:commit-unknown")
    (child.faults / "fdatasync").unlink()
    assert child.process.wait(30) == 70
    again = Child(tmp_path)
    try:
        answer = again.post("1", "2", "3").json()
    finally:
        again.end()
    assert (answer["accepted"] + answer["duplicates"], answer["duplicates"] >= 1) == (3, True)
