"""Events that wait to be sent, and the batch that is being sent: a machine without clock, thread or socket.

An event is in exactly one place: waiting, in the batch under way, kept, or refused. A batch that failed is sent
again as it was; one that is refused as a whole is halved until the event that is to blame is alone.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tallystick.events import Event


@dataclass(frozen=True, slots=True)
class Limits:
    """`events_max` may wait, those under way included; a batch goes at its size or when its oldest is `age_seconds`."""

    events_max: int = 10_000
    batch_events_max: int = 1_000
    batch_bytes_max: int = 1_000_000
    age_seconds: float = 1.0


class Buffer:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.under_way: tuple[Event, ...] = ()
        self.tries = 0
        self._not_before = 0.0
        self._waiting: deque[tuple[float, Event]] = deque()
        self._bytes = 0
        self._parts: deque[tuple[Event, ...]] = deque()

    def __len__(self) -> int:
        return len(self._waiting) + len(self.under_way) + sum(map(len, self._parts))

    @property
    def has_room(self) -> bool:
        return len(self) < self.limits.events_max

    def add(self, event: Event, now: float) -> bool:
        """False, and nothing is taken, where as many wait as may."""
        if not self.has_room:
            return False
        self._waiting.append((now, event))
        self._bytes += event.size
        return True

    def due_at(self, is_flushing: bool) -> float | None:
        """When `take` has something to send; None while nothing waits."""
        if self.under_way or self._parts:
            return self._not_before
        if not self._waiting:
            return None
        limits = self.limits
        is_full = len(self._waiting) >= limits.batch_events_max or self._bytes >= limits.batch_bytes_max
        return 0.0 if is_flushing or is_full else self._waiting[0][0] + limits.age_seconds

    def take(self, now: float, is_flushing: bool) -> tuple[Event, ...]:
        """The batch to send now; none where it is not time. One is under way at a time, until it is settled."""
        due_at = self.due_at(is_flushing)
        if due_at is None or due_at > now:
            return ()
        if not self.under_way:
            self.under_way, self.tries = self._parts.popleft() if self._parts else self._next(), 0
        return self.under_way

    def again(self, now: float, wait_seconds: float) -> None:
        self.tries += 1
        self._not_before = now + wait_seconds

    def settle(self) -> tuple[Event, ...]:
        """The batch under way is answered for good."""
        settled, self.under_way, self._not_before = self.under_way, (), 0.0
        return settled

    def halve(self) -> None:
        whole = self.settle()
        middle = len(whole) // 2
        self._parts.extendleft(reversed([part for part in (whole[:middle], whole[middle:]) if part]))

    def rest(self) -> Sequence[Event]:
        """All that is neither kept nor refused, oldest first."""
        return [*self.under_way, *(e for part in self._parts for e in part), *(event for _, event in self._waiting)]

    def _next(self) -> tuple[Event, ...]:
        taken: list[Event] = []
        size = 0
        while self._waiting and len(taken) < self.limits.batch_events_max:
            event = self._waiting[0][1]
            if taken and size + event.size > self.limits.batch_bytes_max:
                break
            self._waiting.popleft()
            taken.append(event)
            size += event.size
        self._bytes -= size
        return tuple(taken)
