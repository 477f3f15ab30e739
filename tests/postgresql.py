"""A real PostgreSQL server of this test process: Debian's binaries, a temporary directory, a socket, nothing on the
network. PostgreSQL refuses to run as root, so root starts it as the user of the package.

It syncs (fsync is on), to a file system in memory where there is one: a database for each test would take minutes on a
busy disk. `Server.kill` ends all its processes at once; power cuts are PostgreSQL's own matter.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

USER = "postgres"
LOCKED_USER = "locked"  # has to say a password
START_SECONDS_MAX = 60.0
MEMORY = Path("/dev/shm")  # its syncs cost nothing, and a kill takes nothing from it; the path of a socket stays short


def require() -> Path:
    """The directory of the newest server's binaries; skips the test where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("PostgreSQL is NOT PROVED on this machine: postgresql is not installed (.ci/run installs it)")
    return found[-1].parent


class Server:
    """One server in a directory of its own."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self.directory = Path(
            tempfile.mkdtemp(prefix="tallystick-pg-", dir="/dev/shm")
        )  # short: the path of a socket has 107 bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        if os.geteuid() == 0:
            user = pwd.getpwnam(USER)
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"local all {LOCKED_USER} scram-sha-256\n{rules.read_text()}")

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def url(self, database: str = "postgres", user: str = USER) -> str:
        """The address of a database of this server."""
        return f"postgresql://{user}@/{database}?host={self.directory}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = (
            "listen_addresses=",
            "dynamic_shared_memory_type=mmap",
        )  # a kill leaves nothing outside the directory
        command = ["postgres", "-D", str(self._data), "-k", str(self.directory), *(f"-c{s}" for s in settings)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(*command), stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while subprocess.run([self._binaries / "pg_isready", "-q", "-h", self.directory], check=False).returncode != 0:
            assert time.monotonic() < deadline, self.said()
            assert self._process.poll() is None, self.said()
            time.sleep(0.02)

    def kill(self) -> None:
        """End every process of it at once, in the middle of whatever they do."""
        assert self._process is not None
        family = [*_children(self._process.pid), self._process.pid]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(30)
        deadline = time.monotonic() + 30
        while any(_is_alive(pid) for pid in family):
            assert time.monotonic() < deadline, family
            time.sleep(0.01)
        self._process = None

    def remove(self) -> None:
        """End it and remove its directory."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
        shutil.rmtree(self.directory)

    def execute(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as the superuser, each by itself; the rows of the last one."""
        engine = create_engine(self.url(database).replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT")
        rows: list[tuple[Any, ...]] = []
        try:
            with engine.connect() as connection:
                for statement in statements:
                    result = connection.exec_driver_sql(statement)
                    rows = [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()
        return rows

    @contextmanager
    def database(self, options: str = "") -> Iterator[str]:
        """The URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def said(self) -> str:
        """The end of its log."""
        return (self.directory / "log").read_text(errors="replace")[-4_000:]

    def _run(self, *command: str) -> None:
        done = subprocess.run(self._command(*command), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def _command(self, program: str, *arguments: str) -> Sequence[str]:
        """It ends when the test process ends in whatever way."""
        own = [str(self._binaries / program), *arguments]
        user = [f"--reuid={USER}", f"--regid={USER}", "--init-groups"] if os.geteuid() == 0 else []
        return ["setpriv", "--pdeathsig=INT", *user, *own]


@contextmanager
def started() -> Iterator[Server]:
    """A server that runs until the end; skips the test where PostgreSQL is not installed."""
    server = Server(require())
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _children(pid: int) -> list[int]:
    """The processes that `pid` has started: the server starts one for each connection."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
