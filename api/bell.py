"""Rung when signals were recorded: whoever passes them on looks at the outbox again."""

from collections.abc import Callable
from threading import Lock

Ring = Callable[[], None]


class Bell:
    """What is called must not wait."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._called: dict[int, Ring] = {}
        self._last = 0

    def call(self, on_ring: Ring) -> Ring:
        """Call `on_ring` at each ring from now on; the answer ends that."""
        with self._lock:
            self._last = number = self._last + 1
            self._called[number] = on_ring

        def end() -> None:
            with self._lock:
                self._called.pop(number, None)

        return end

    def ring(self) -> None:
        """From any thread."""
        with self._lock:
            called = list(self._called.values())
        for on_ring in called:
            on_ring()
