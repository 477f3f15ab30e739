"""A crash run as a process of its own, in a mount namespace where it mounts something."""

import os
import random
import subprocess
import sys

from tests.conftest import ROOT
from tests.crash.requirements import require

SEED = int(os.environ.get("CRASH_SEED", "20261122"))
LONG_SEED = int(os.environ.get("CRASH_SEED", random.randrange(2**32)))
_PLAIN = ("plain", "injected", "limited-files")
_NEEDS_NOTHING = ("plain", "limited-files")


def crash_run(place: str, server: str, cycles: int, *, seed: int = SEED, more: tuple[str, ...] = ()) -> tuple[int, str]:
    """Exit code (1: something was found) and report of a run; skips loudly where the machine cannot do it."""
    if place not in _NEEDS_NOTHING:
        require(place)
    namespace = [] if place in _PLAIN else ["unshare", "-m"]
    options = ["--place", place, "--server", server, "--cycles", str(cycles), "--seed", str(seed), *more]
    command = [*namespace, sys.executable, "-m", "tests.crash", *options]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300 + 30 * cycles)
    print(ran.stdout + ran.stderr)
    return ran.returncode, ran.stdout + ran.stderr


def found_nothing(place: str, server: str, cycles: int, *, seed: int = SEED, more: tuple[str, ...] = ()) -> None:
    """Assert that a run goes through all its cycles without a finding."""
    code, report = crash_run(place, server, cycles, seed=seed, more=more)
    assert code == 0, report
    assert f"{cycles} of {cycles} cycles" in report
