"""The simulated disk is honest: what ext4 and xfs leave behind a power cut is among what it predicts."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.crash.requirements import require
from tests.crash.runs import LONG_SEED, SEED


def as_predicted(file_system: str, programs: int, seed: int) -> None:
    """Run the smallest programs with a power cut behind each."""
    require("power-cut")
    command = ["unshare", "-m", sys.executable, "-m", "tests.crash.small_programs"]
    options = [file_system, str(programs), str(seed)]
    ran = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=60 + 10 * programs)
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{programs} programs on {file_system}" in ran.stdout


@pytest.mark.parametrize("file_system", ["ext4", "xfs"])
def test_what_a_power_cut_leaves_was_predicted(file_system: str) -> None:
    as_predicted(file_system, 12, SEED)


@pytest.mark.long
@pytest.mark.parametrize("file_system", ["ext4", "xfs"])
def test_what_a_power_cut_leaves_of_many_programs_was_predicted(file_system: str) -> None:
    as_predicted(file_system, 200, LONG_SEED)
