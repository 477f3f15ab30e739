"""Token buckets: so many requests at once, refilled steadily. Integers of nanoseconds, so that nothing drifts."""

from dataclasses import dataclass

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`requests` in `seconds`; as many may come at once."""

    requests: int
    seconds: int


class Bucket:
    """What a limit leaves. It holds `requests * seconds * SECOND` at most, and one request costs `seconds * SECOND`: so
    each nanosecond adds `requests`, without a fraction."""

    __slots__ = ("_at", "_cost", "_held", "limit")

    def __init__(self, limit: RateLimit, now: int) -> None:
        """`now` is in nanoseconds of a clock that never goes back."""
        self.limit = limit
        self._cost = limit.seconds * SECOND
        self._held = limit.requests * self._cost
        self._at = now

    def take(self, now: int) -> int:
        """Take one request; 0 where there was one, else the nanoseconds until there will be."""
        requests, cost = self.limit.requests, self._cost
        held = min(self._held + (now - self._at) * requests, requests * cost)
        self._at = now
        if held >= cost:
            self._held = held - cost
            return 0
        self._held = held
        return -((held - cost) // requests)

    def give_back(self) -> None:
        """What was taken was not used."""
        self._held = min(self._held + self._cost, self.limit.requests * self._cost)
