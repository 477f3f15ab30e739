"""Small programs on a disk that loses its power: what the simulated disk predicts, and what ext4 and xfs leave.

The proofs on the simulated disk are worth as much as its predictions: what a real power cut leaves must be among them.

    unshare -m python -m tests.crash.small_programs ext4 40 1
"""

import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import islice, product
from pathlib import Path

from rating.disk import AppendFile, Disk
from tests.crash.places import PowerCut
from tests.ingest.simulated_disk import SimulatedDisk

DRAWN = 60
MODES = [(names, contents) for names in ("synced", "all") for contents in ("synced", "all", "half")]
_PIECE = bytes(range(256)) * 20

State = frozenset[tuple[str, bytes]]
Step = Callable[[Disk, Path, AppendFile], object]
STEPS: Mapping[str, Step] = {
    "append": lambda disk, folder, file: file.append([_PIECE]),
    "sync": lambda disk, folder, file: file.sync(),
    "sync_directory": lambda disk, folder, file: disk.sync_directory(folder),
    "rename": lambda disk, folder, file: disk.rename(file.path, folder / "b"),
    "publish": lambda disk, folder, file: disk.publish(folder / "c", [_PIECE]),
    "unlink": lambda disk, folder, file: disk.unlink(file.path),
    "truncate": lambda disk, folder, file: disk.truncate(file.path, len(_PIECE) // 2),
}
_OF_NAME = {"rename", "unlink", "truncate"}
_OF_FILE = _OF_NAME | {"append", "sync"}


def programs() -> Iterator[tuple[str, ...]]:
    """What may follow the creation of a file with something in it; the shortest first."""
    for length in range(4):
        for steps in product(STEPS, repeat=length):
            renamed = steps[steps.index("rename") + 1 :] if "rename" in steps else ()
            gone = steps[steps.index("unlink") + 1 :] if "unlink" in steps else ()
            if not _OF_NAME.intersection(renamed) and not _OF_FILE.intersection(gone):
                yield steps


def run(folder: Path, steps: tuple[str, ...]) -> None:
    """A file `a` with a piece of data, and then the steps."""
    disk = Disk()
    file = disk.create(folder / "a")
    try:
        file.append([_PIECE])
        for step in steps:
            STEPS[step](disk, folder, file)
    finally:
        file.close()


def state(folder: Path) -> State:
    return frozenset((path.name, path.read_bytes()) for path in folder.iterdir())


def predicted(scratch: Path, steps: tuple[str, ...]) -> set[State]:
    """The states that the simulated disk knows behind the last step."""
    folder, chance = scratch / "root", random.Random(1)
    folder.mkdir(parents=True)
    disk = SimulatedDisk(folder)
    with disk.watching():
        run(folder, steps)
    draws = [(names, contents, None) for names, contents in MODES] + [("synced", "synced", chance)] * DRAWN
    found = set()
    for number, (names, contents, drawn) in enumerate(draws):
        image = scratch / f"{number}"
        disk.crash(image, names, contents, drawn)
        found.add(state(image))
    return found


def compare(scratch: Path, file_system: str, count: int, seed: int) -> tuple[int, int]:
    """Run the smallest `count` programs; how many there were, and how many have lost something.

    Raises AssertionError where the file system left what was not predicted.
    """
    chance, lost = random.Random(seed), 0
    chosen = list(islice(programs(), count))
    with closing(PowerCut(scratch, file_system)) as place:
        for number, steps in enumerate(chosen):
            folder = place.data.parent / f"{number}"
            Disk().make_directory(folder)
            run(folder, steps)
            before = state(folder)
            place.cut(chance)
            place.remount()
            found = state(folder)
            expected = predicted(scratch / f"simulated-{number}", steps)
            assert found in expected, f"{steps} on {file_system}: {shown(found)} is none of {[*map(shown, expected)]}"
            lost += found != before
    return len(chosen), lost


def shown(found: State) -> dict[str, int]:
    """Each name, and how many bytes it has."""
    return {name: len(content) for name, content in sorted(found)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:  # file system, number of programs, seed
        ran, lost = compare(Path(directory), sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(f"{ran} programs on {sys.argv[1]}, {lost} of them lost something, each as predicted")
    assert lost >= ran // 10, "the power cut takes nothing away"
