"""How many quota questions were answered how, by the way they came."""

from collections.abc import Iterable
from threading import Lock
from typing import Literal, TypeAlias

Way: TypeAlias = Literal["check", "batch", "gateway", "envoy", "consume", "lease"]


class QuotaCounts:
    """For any number of threads."""

    def __init__(self) -> None:
        self._of: dict[tuple[Way, str], int] = {}
        self._lock = Lock()

    def add(self, way: Way, reason: str, answers: int = 1) -> None:
        """So many were answered with `reason`."""
        key = way, reason
        with self._lock:
            self._of[key] = self._of.get(key, 0) + answers

    def add_all(self, way: Way, reasons: Iterable[str]) -> None:
        """One answer for each."""
        for reason in reasons:
            self.add(way, reason)

    def items(self) -> list[tuple[tuple[Way, str], int]]:
        """As of now."""
        with self._lock:
            return sorted(self._of.items())
