"""The server under load for a while, and killed: nothing is lost or counted twice, and it holds no more than before."""

from pathlib import Path

import pytest

from tests.crash.runs import LONG_SEED, SEED
from tests.crash.server import SMALL_SEGMENTS, TALLYSTICK
from tests.crash.soak import small_server, soak


def test_nothing_grows_and_nothing_is_lost_in_a_short_run(tmp_path: Path) -> None:
    """Small segments, so that it seals, flushes, deletes and merges all the time."""
    assert soak(small_server(SMALL_SEGMENTS, tmp_path), seconds=12, kill_every=2.5, seed=SEED) == []


@pytest.mark.long
@pytest.mark.parametrize("command", [SMALL_SEGMENTS, TALLYSTICK], ids=["small segments", "as shipped"])
def test_nothing_grows_and_nothing_is_lost_in_fifteen_minutes(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert soak(small_server(command, tmp_path), seconds=900, kill_every=30, seed=LONG_SEED) == []
