"""A crash run from the shell: `python -m tests.crash --place power-cut --file-system xfs --cycles 30 --seed 1`.

Prints the seed and the report; the exit code is 1 when something was found. docs/reliability.md says what it proves.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.harness import Plan, run
from tests.crash.places import FailingSync, FullDisk, Injected, LimitedFiles, NoMoreFiles, Place, PowerCut
from tests.crash.server import SMALL_SEGMENTS, TALLYSTICK, Server

PLACES = ("plain", "injected", "power-cut", "failing-sync", "full-disk", "no-more-files", "limited-files")
SERVERS = {"tallystick": TALLYSTICK, "small-segments": SMALL_SEGMENTS}


def main() -> int:
    """Exit code 0 when nothing was found."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="tallystick-crash-") as scratch:
        place = _place(arguments.place, Path(scratch), arguments.file_system)
        try:
            server = Server(_command(arguments.server), place.data, Path(scratch) / "log")
            plan = Plan(
                arguments.seed,
                arguments.cycles,
                arguments.writers,
                start_seconds=arguments.start_seconds,
                rates=arguments.server in SERVERS,
            )
            report = run(server, place, plan)
        finally:
            place.close()
    print(report)
    return 1 if report.findings else 0


def _command(name: str) -> tuple[str, ...]:
    flaw = name.removeprefix("toy:")
    return SERVERS.get(name) or (sys.executable, "-m", "tests.crash.toys", flaw)


def _place(name: str, scratch: Path, file_system: str) -> Place:
    match name:
        case "injected":
            return Injected(scratch)
        case "power-cut":
            return PowerCut(scratch, file_system)
        case "failing-sync":
            return FailingSync(scratch)
        case "full-disk":
            return FullDisk(scratch)
        case "no-more-files":
            return NoMoreFiles(scratch)
        case "limited-files":
            return LimitedFiles(scratch)
        case _:
            return Place(scratch)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("--place", choices=PLACES, default="plain")
    parser.add_argument("--file-system", choices=("ext4", "xfs"), default="ext4")
    parser.add_argument("--server", default="tallystick", help=f"{', '.join(SERVERS)} or toy:FLAW")
    parser.add_argument("--cycles", type=int, default=30)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--start-seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CRASH_SEED", time.time())))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
