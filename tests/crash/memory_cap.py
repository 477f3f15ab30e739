"""A cap on the memory of a server: a control group of the kernel, which ends whoever goes beyond it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def missing() -> str | None:
    """What this machine lacks to give a cap; null when it has everything."""
    if os.geteuid() != 0:
        return "it needs root"
    if (_V1 / "memory.limit_in_bytes").exists() and os.access(_V1, os.W_OK):
        return None
    controllers = _V2 / "cgroup.subtree_control"
    if controllers.exists() and "memory" in controllers.read_text() and os.access(_V2, os.W_OK):
        return None
    return "the kernel has no memory controller that may be used here"


@contextmanager
def capped(size: int) -> Iterator[Path]:
    """A group whose processes may have `size` bytes together, file cache included; made and removed again."""
    is_v1 = (_V1 / "memory.limit_in_bytes").exists()
    group = (_V1 if is_v1 else _V2) / f"tallystick-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text(str(size))
        yield group
    finally:
        group.rmdir()


def command_in(group: Path) -> list[str]:
    """What starts a command within the group."""
    return ["sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh"]


def most_used(group: Path) -> int:
    """Bytes that its processes had at the most, file cache included."""
    peak = group / "memory.max_usage_in_bytes"
    return int((peak if peak.exists() else group / "memory.peak").read_text())
