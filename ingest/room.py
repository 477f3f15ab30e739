"""Whether there is room on the disk again, found out by writing: free space as reported knows no quota."""

from pathlib import Path

from rating.disk import Disk, is_full

PROBE_NAME = "probe.tmp"  # a start removes what ends in .tmp
PROBE_BYTES = 1 << 20
PROBE_SECONDS = 0.5  # between two probes


def has_room(disk: Disk, directory: Path) -> bool:
    """Whether a file of PROBE_BYTES can be written and synced in `directory`. Raises the OSErrors that mean another
    failure than a full disk."""
    path = directory / PROBE_NAME
    try:
        disk.unlink(path)
        file = disk.create(path)
        try:
            file.append([bytes(PROBE_BYTES)])
            file.sync()
        finally:
            file.close()
    except OSError as error:
        if is_full(error):
            return False
        raise
    finally:
        disk.unlink(path)
    return True
