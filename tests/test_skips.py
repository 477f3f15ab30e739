"""A skip in CI is a failure, unless it is for the shared data."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SUITE = """
import pytest

def test_runs(): pass

@pytest.mark.skipif(True, reason={reason!r})
def test_skips(): pass
"""


@pytest.mark.parametrize(
    ("ci", "reason", "exit_code"),
    [
        pytest.param("true", "no docker here", 1, id="in CI a skip fails the run"),
        pytest.param("true", "needs ../shared: x.parquet is not there", 0, id="but not for absent shared data"),
        pytest.param("", "no docker here", 0, id="outside CI a skip is a skip"),
    ],
)
def test_skips_fail_the_run_only_in_ci(tmp_path: Path, ci: str, reason: str, exit_code: int) -> None:
    (tmp_path / "test_it.py").write_text(SUITE.format(reason=reason))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", os.devnull, str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert ("skipped in CI, which is a failure" in done.stdout) == bool(exit_code)
