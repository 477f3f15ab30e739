"""The harness works: good toy servers pass, and each broken one is caught, for what is wrong with it."""

import pytest

from tests.crash.runs import crash_run, found_nothing
from tests.crash.toys.stores import FLAWS, GOOD

QUICK = ("--start-seconds", "0.2")
CAUGHT = {
    "memory_ack": ("plain", "LOST", ()),
    "dedup_in_memory": ("plain", "DOUBLED", ()),
    "check_then_insert": ("plain", "DOUBLED", ()),
    "float_sum": ("plain", "ROUNDED", ()),
    "per_record_commit": ("plain", "TORN", ()),
    "no_fsync": ("power-cut", "LOST", ("--file-system", "xfs")),
    "no_directory_fsync": ("power-cut", "LOST", ("--file-system", "ext4")),
    "swallows_eio": ("failing-sync", "LOST", ()),
}


def test_every_flaw_has_its_test() -> None:
    assert set(CAUGHT) == set(FLAWS)


@pytest.mark.parametrize("server", GOOD)
@pytest.mark.parametrize(("place", "more"), [("plain", ()), ("power-cut", ("--file-system", "ext4"))])
def test_a_good_server_passes(server: str, place: str, more: tuple[str, ...]) -> None:
    found_nothing(place, f"toy:{server}", 8, more=(*QUICK, *more))


def test_a_log_that_rewrites_at_start_survives_failed_syncs() -> None:
    """SQLite at FULL does not: after a restart it trusts what the page cache shows (RELIABILITY fact 3)."""
    found_nothing("failing-sync", "toy:log", 8, more=QUICK)


@pytest.mark.parametrize("flaw", CAUGHT)
def test_a_broken_server_is_caught(flaw: str) -> None:
    place, kind, more = CAUGHT[flaw]
    code, report = crash_run(place, f"toy:{flaw}", 60, more=(*QUICK, *more))
    assert code == 1, report
    assert f"\n{kind}: " in report
