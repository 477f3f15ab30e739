"""What a command shows of a run while it waits."""

import threading
from typing import Any

import pytest

from api.cli.failing import UNAVAILABLE, Failure
from api.cli.service import Service
from api.cli.watching import noted, watched

PROGRESS = {
    "percent": 25.0,
    "parts_done": 10,
    "parts_all": 40,
    "lines": 10_000_000,
    "lines_per_second": 123_456.7,
    "seconds": 81.0,
    "eta_seconds": 185.4,
}


class Runs(Service):
    """Answers with these runs, the newest of which is first."""

    def __init__(self, items: list[dict[str, Any]] | None) -> None:
        self.items, self.asked = items, threading.Event()

    def get(self, path: str, **parameters: Any) -> Any:
        assert (path, parameters) == ("/v1/rating-runs", {"limit": 1})
        self.asked.set()
        if self.items is None:
            raise Failure("gone", UNAVAILABLE)
        return {"items": self.items}


class Shown:
    is_shown = True

    def __init__(self) -> None:
        self.seen: list[tuple[float, str]] = []
        self.advanced = threading.Event()

    def advance(self, done: float, note: str = "") -> None:
        self.seen.append((done, note))
        self.advanced.set()


def test_what_stands_beside_the_bar() -> None:
    assert noted(PROGRESS) == "10 of 40 parts, 10,000,000 lines, 123,457 lines/s, 3:05 left"
    assert noted({**PROGRESS, "eta_seconds": None}).endswith("123,457 lines/s")


def test_the_bar_advances_while_a_run_is_made() -> None:
    bar = Shown()
    with watched(Runs([{"progress": PROGRESS}]), bar):
        assert bar.advanced.wait(30)
    assert bar.seen[0] == (0.25, noted(PROGRESS))


@pytest.mark.parametrize("items", [None, [], [{"progress": None}]])
def test_where_nothing_is_known_nothing_is_shown(items: list[dict[str, Any]] | None) -> None:
    bar, runs = Shown(), Runs(items)
    with watched(runs, bar):
        assert runs.asked.wait(30)
    assert bar.seen == []
