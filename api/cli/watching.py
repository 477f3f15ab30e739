"""How far a rating run is, shown while a command waits for its answer: asked for over a connection beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from api.cli.failing import Failure
from api.cli.printing import Bar, grouped
from api.cli.service import Service

_EVERY_SECONDS = 0.5


@contextmanager
def watched(service: Service, bar: Bar) -> Iterator[None]:
    """Advance `bar` with the newest run while the block runs; nothing where the bar shows nothing."""
    if not bar.is_shown:
        yield
        return
    done = Event()
    watching = Thread(target=_watch, args=(service, bar, done), daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


def _watch(service: Service, bar: Bar, done: Event) -> None:
    """A question that finds no answer ends it: the command that waits says what is wrong."""
    while not done.wait(_EVERY_SECONDS):
        try:
            newest = service.get("/v1/rating-runs", limit=1)["items"]
        except Failure:
            return
        if newest and newest[0]["progress"] is not None:
            bar.advance(newest[0]["progress"]["percent"] / 100, noted(newest[0]["progress"]))


def noted(progress: dict[str, Any]) -> str:
    """What stands beside the bar: 12 of 40 parts, 1,234,567 lines, 21,000 lines/s, 3:05 left."""
    parts = f"{progress['parts_done']} of {progress['parts_all']} parts"
    made = f"{parts}, {grouped(progress['lines'])} lines, {grouped(round(progress['lines_per_second']))} lines/s"
    if progress["eta_seconds"] is None:
        return made
    minutes, seconds = divmod(round(progress["eta_seconds"]), 60)
    return f"{made}, {minutes}:{seconds:02} left"
