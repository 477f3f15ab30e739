"""A server whose disk fails: calls with errors, writes cut short, fsync that fails once, power cuts, a full disk.

Same judgement as for kill -9. Counts of the long run: docs/reliability.md.
"""

import pytest

from tests.crash.runs import LONG_SEED, found_nothing

SMALL = "small-segments"


@pytest.mark.parametrize("file_system", ["ext4", "xfs"])
def test_a_power_cut_loses_nothing_that_was_acknowledged(file_system: str) -> None:
    found_nothing("power-cut", SMALL, 3, more=("--file-system", file_system))


def test_a_failed_fsync_makes_no_false_acknowledgement() -> None:
    found_nothing("failing-sync", SMALL, 3)


def test_a_failing_call_or_a_short_write_makes_no_false_acknowledgement() -> None:
    found_nothing("injected", SMALL, 4)


@pytest.mark.parametrize("place", ["full-disk", "no-more-files", "limited-files"])
def test_a_full_disk_is_survived_by_the_same_process(place: str) -> None:
    found_nothing(place, SMALL, 2)


@pytest.mark.long
@pytest.mark.parametrize("file_system", ["ext4", "xfs"])
def test_three_hundred_power_cuts(file_system: str) -> None:
    found_nothing("power-cut", SMALL, 300, seed=LONG_SEED, more=("--file-system", file_system))


@pytest.mark.long
@pytest.mark.parametrize(
    ("place", "cycles"),
    [("failing-sync", 100), ("injected", 300), ("full-disk", 30), ("no-more-files", 30), ("limited-files", 30)],
)
def test_many_faults(place: str, cycles: int) -> None:
    found_nothing(place, SMALL, cycles, seed=LONG_SEED)
