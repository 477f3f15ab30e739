"""A server under load, killed at random instants and right behind acknowledgements, also while it starts.

Every acknowledged event is there exactly once after each start; the others at most once, and exactly once after a last
resend. In CI a short run with a fixed seed; `long` with another seed each time, which is printed.
"""

import pytest

from tests.crash.runs import LONG_SEED, found_nothing


def test_kill_9_loses_and_doubles_nothing() -> None:
    found_nothing("plain", "small-segments", 25)


@pytest.mark.long
@pytest.mark.parametrize("server", ["tallystick", "small-segments"])
def test_a_thousand_kills(server: str) -> None:
    found_nothing("plain", server, 500, seed=LONG_SEED)
