"""Where the data of a server lies in a crash run, and what happens to it there.

A place is told to strike in two steps: `blow` is the instant of the fault, maybe in a writer's thread right behind its
acknowledgement; `settle` then brings the place into the state in which the next start finds it. Places with a file
system of their own need root, and a private mount namespace (`unshare -m`), which takes the mounts along when it ends.
"""

import errno
import fcntl
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

from tests.crash.load import Load
from tests.crash.server import Server

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN of ext4 and xfs
_LOG_FLUSHED, _LOG_DROPPED = 1, 2
_MAKE = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}
_MIB = 1 << 20
RESUME_SECONDS = 5  # less than 2 where nothing else keeps the machine busy
_SIZES = {"ext4": 192 * _MIB, "xfs": 320 * _MIB}


class Place:
    """An ordinary directory: the fault is the death of the process."""

    def __init__(self, scratch: Path) -> None:
        self.data = scratch / "data"

    def prefix(self, chance: random.Random) -> list[str]:
        """The tool to start the server under."""
        return []

    def blow(self, server: Server, load: Load | None, chance: random.Random) -> None:
        """The instant of the fault."""
        os.kill(server.pid, signal.SIGKILL)

    def settle(self, server: Server, chance: random.Random) -> None:
        """What follows, until the server can be started again."""
        server.kill()

    def repair(self) -> None:
        """What an operator does when the server does not start here: nothing helps on an ordinary directory."""

    def close(self) -> None:
        """Give back what the machine lent."""


class Injected(Place):
    """Some system calls of the server fail, once or from the n-th of a thread on. Short writes are the simulated disk's
    and those of `LimitedFiles`: libfiu (1.1) locks up while pyarrow is loaded."""

    calls = ("fsync", "fdatasync", "rename", "renameat2", "ftruncate", "pwrite64", "writev", "mkdir", "unlink")

    def prefix(self, chance: random.Random) -> list[str]:
        """strace with one call to fail: -D keeps the server our child; each thread has its own count."""
        call, error = chance.choice(self.calls), chance.choice(("EIO", "ENOSPC", "EDQUOT"))
        when = f"{chance.choice((1, 2, 3, 5, 8, 13, 21, 40, 80))}{chance.choice(('', '+'))}"
        inject = f"inject={call}:error={error}:when={when}"
        return ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]


class Mounted(Place):
    """A file system of its own on a block device or an image, which can lose its power."""

    def __init__(self, scratch: Path, device: Path, file_system: str) -> None:
        self._device, self._mounted_at = device, scratch / "mounted"
        self._mounted_at.mkdir()
        self.data = self._mounted_at / "data"
        subprocess.run([*_MAKE[file_system], str(device)], check=True)
        self._mount()

    def blow(self, server: Server, load: Load | None, chance: random.Random) -> None:
        """The power goes: what is not synced is gone, and no answer from now on counts."""
        if load is not None:
            load.cut()
        self.cut(chance)

    def settle(self, server: Server, chance: random.Random) -> None:
        """The machine comes back."""
        server.kill()
        self.remount()

    def cut(self, chance: random.Random) -> None:
        """Shut the file system down; the log of the file system is mostly lost too."""
        how = chance.choices((_LOG_DROPPED, _LOG_FLUSHED), (3, 1))[0]
        descriptor = os.open(self._mounted_at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(descriptor)

    def remount(self) -> None:
        """What is on the device is all there is."""
        subprocess.run(["umount", str(self._mounted_at)], check=True)
        self._mount()

    def repair(self) -> None:
        """Start the machine again."""
        self.remount()

    def close(self) -> None:
        subprocess.run(["umount", str(self._mounted_at)], check=True)

    def _mount(self) -> None:
        loop = [] if self._device.is_block_device() else ["-o", "loop"]
        subprocess.run(["mount", *loop, str(self._device), str(self._mounted_at)], check=True)


class PowerCut(Mounted):
    """An image on a loop device; every fault is a power cut."""

    def __init__(self, scratch: Path, file_system: str) -> None:
        image = scratch / "image"
        with image.open("wb") as file:
            file.truncate(_SIZES[file_system])
        super().__init__(scratch, image, file_system)


class FailingSync(Mounted):
    """A compressed memory disk that refuses writes for a moment: fsync fails once, and then says that all is well."""

    control = Path("/sys/class/zram-control")

    def __init__(self, scratch: Path) -> None:
        self._number = int((self.control / "hot_add").read_text())
        self._block = Path(f"/sys/block/zram{self._number}")
        (self._block / "disksize").write_text(str(_SIZES["ext4"]))
        try:
            super().__init__(scratch, Path(f"/dev/zram{self._number}"), "ext4")
        except BaseException:
            self._remove()
            raise

    def blow(self, server: Server, load: Load | None, chance: random.Random) -> None:
        """Writes are refused for 2 to 100 ms. Whoever acknowledges during and after that says that it is durable."""
        (self._block / "mem_limit").write_text("4096")
        time.sleep(chance.uniform(0.002, 0.1))
        (self._block / "mem_limit").write_text("0")
        time.sleep(chance.uniform(0, 0.2))

    def settle(self, server: Server, chance: random.Random) -> None:
        """A new process finds what the page cache shows; one time in three the power goes too."""
        server.kill()
        if chance.random() < 0.4:
            self.cut(chance)
            self.remount()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._remove()

    def _remove(self) -> None:
        (self._block / "reset").write_text("1")
        (self.control / "hot_remove").write_text(str(self._number))


class FullDisk(Place):
    """A small memory disk that somebody else fills up, and clears again while the server runs."""

    limits = "size=96m"

    def __init__(self, scratch: Path) -> None:
        self._mounted_at = scratch / "mounted"
        self._mounted_at.mkdir()
        self.data = self._mounted_at / "data"
        subprocess.run(["mount", "-t", "tmpfs", "-o", self.limits, "tmpfs", str(self._mounted_at)], check=True)

    def blow(self, server: Server, load: Load | None, chance: random.Random) -> None:
        """Full to the last byte for a while; soon after there is space again, events are taken again."""
        ballast = self._mounted_at / "ballast"
        ballast.mkdir()
        self.fill(ballast)
        time.sleep(chance.uniform(0.05, 0.4))
        shutil.rmtree(ballast)
        if load is not None:
            load.must_resume(within_seconds=RESUME_SECONDS)

    def fill(self, ballast: Path) -> None:
        """Take all there is."""
        _fill(ballast / "file")

    def close(self) -> None:
        subprocess.run(["umount", str(self._mounted_at)], check=True)


class NoMoreFiles(FullDisk):
    """The same with room for bytes and none for another file: its inodes are used up."""

    limits = "size=512m,nr_inodes=20000"

    def fill(self, ballast: Path) -> None:
        try:
            for number in range(20_000):
                os.close(os.open(ballast / f"{number}", os.O_CREAT | os.O_WRONLY))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


class LimitedFiles(Place):
    """For a while no file of the server may grow beyond a limit: a write is cut short there, the next fails (EFBIG)."""

    def blow(self, server: Server, load: Load | None, chance: random.Random) -> None:
        """Soon after the limit is gone, events are taken again."""
        no_limit = resource.RLIM_INFINITY
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (chance.randint(1, 12_000), no_limit))
        time.sleep(chance.uniform(0.05, 0.4))
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (no_limit, no_limit))
        if load is not None:
            load.must_resume(within_seconds=RESUME_SECONDS)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (_MIB, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
