"""The server as a process: scripts find it, commands find it, and it ends when it is told to."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Run
from tests.conftest import ROOT

TALLYSTICK = (sys.executable, "-m", "api.cli")


@pytest.fixture
def served(data: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [*TALLYSTICK, "serve", "--data", str(data), "--port", "0", "--json", "--url-file", str(tmp_path / "url")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def test_a_script_finds_the_server_and_commands_go_through_it(
    served: "subprocess.Popen[str]", run: Run, data: Path, usage: Path, tmp_path: Path
) -> None:
    assert served.stdout is not None
    told = json.loads(served.stdout.readline())
    assert told["data"] == str(data)
    assert (tmp_path / "url").read_text() == f"{told['url']}\n"
    assert httpx2.get(f"{told['url']}/readyz").status_code == 200
    assert run("ingest", usage, "--data", data, "--json").json["accepted"] == 4
    assert run("ingest", usage, "--url", told["url"], "--json").json["duplicates"] == 4
    doctor = run("doctor", "--data", data)
    assert doctor.code == 0, doctor.out
    assert f"is served at {told['url']} by process {served.pid}" in doctor.out
    served.send_signal(signal.SIGTERM)
    assert served.wait(30) == 0
    assert run("rate", "--period", "2026-10", "--data", data, "--json").json["report"]["lines"] == 2


def test_a_second_server_is_told_who_holds_the_directory(served: "subprocess.Popen[str]", data: Path) -> None:
    assert served.stdout is not None
    url = json.loads(served.stdout.readline())["url"]
    command = [*TALLYSTICK, "serve", "--data", str(data), "--port", "0"]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (second.returncode, second.stdout) == (75, "")
    assert f"pid {served.pid}, url {url}" in second.stderr
    assert "Traceback" not in second.stderr
    port = url.rpartition(":")[2]
    other = [*TALLYSTICK, "serve", "--data", str(data.parent / "other"), "--port", port]
    third = subprocess.run(other, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert third.returncode == 1
    assert f"cannot listen at 127.0.0.1:{port}" in third.stderr


def test_help_and_version_load_nothing_heavy() -> None:
    """Loading is what makes a command slow to start; wall time on a busy machine says less."""
    heavy = "{'polars', 'fastapi', 'pyarrow', 'duckdb', 'sqlalchemy', 'pydantic'}"
    code = f"import sys; from api.cli.app import app; print(sorted(sys.modules.keys() & {heavy}))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout.strip() == "[]"
    started = time.monotonic()
    version = subprocess.run([*TALLYSTICK, "--version"], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert version.stdout.startswith("tallystick ")
    assert time.monotonic() - started < 5


def test_a_reader_that_stops_early_is_no_failure(data: Path) -> None:
    environment = {**os.environ, "TALLYSTICK_DATA": str(data)}
    command = f"{sys.executable} -m api.cli catalog import genai-prices 2>/dev/null | head -1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("# Imported from genai-prices")
