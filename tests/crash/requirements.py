"""What a crash test needs of the machine, and a loud skip where that is not there (docs/reliability.md)."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

_TOOLS = {
    "injected": ("strace",),
    "power-cut": ("unshare", "mount", "mkfs.ext4", "mkfs.xfs"),
    "failing-sync": ("unshare", "mount", "mkfs.ext4"),
    "full-disk": ("unshare", "mount"),
    "no-more-files": ("unshare", "mount"),
}
_DEVICES = {"power-cut": Path("/dev/loop-control"), "failing-sync": Path("/sys/class/zram-control/hot_add")}


def require(place: str) -> None:
    """Skip the test when this machine cannot give it `place`."""
    found = missing(place)
    if found is not None:
        pytest.skip(f"{place} is NOT PROVED on this machine: {found}")


@cache
def missing(place: str) -> str | None:
    """What this machine lacks for `place`; null when it has everything."""
    absent = [tool for tool in _TOOLS[place] if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} not installed (.ci/run installs them)"
    if place == "injected":
        return None
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        return "it needs root and a mount namespace of its own"
    device = _DEVICES.get(place)
    return None if device is None or device.exists() else f"the kernel has no {device}"
