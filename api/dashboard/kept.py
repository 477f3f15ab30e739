"""Answers that take long and that every viewer asks for: worked out by one, kept for a while, read by the others."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class _Kept:
    answer: Any
    until: float


class KeptAnswers:
    """For any number of threads; there are as many keys as pages have panels."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = Lock()
        self._locks: dict[Hashable, Lock] = {}
        self._kept: dict[Hashable, _Kept] = {}

    def get(self, key: Hashable, work_out: Callable[[], Answer], *, share: int = 20) -> Answer:
        """The answer under `key`, at most `share` times as old as it took to work out: what takes long is asked less
        often, and a page that is asked for all the time keeps one processor busy for 1 / `share` of the time."""
        with self._guard:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            found = self._kept.get(key)
            if found is None or found.until < self._clock():
                began = self._clock()
                answer = work_out()
                ended = self._clock()
                found = self._kept[key] = _Kept(answer, ended + share * (ended - began))
            kept: Answer = found.answer
            return kept
