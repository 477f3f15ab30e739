"""When to send again, and after how long: pure."""

from dataclasses import dataclass

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 507})


@dataclass(frozen=True, slots=True)
class Retrying:
    """Waits double from `first_seconds` to `seconds_max`. `tries_max` is for questions and changes; recorded events are
    sent until the client is closed."""

    first_seconds: float = 0.1
    seconds_max: float = 20.0
    tries_max: int = 5


def is_sent_again(status: int | None) -> bool:
    """None is no answer at all."""
    return status is None or status in AGAIN


def wait_seconds(policy: Retrying, tries: int, retry_after: str | None, chance: float) -> float:
    """How long to wait behind `tries` failed ones, at least 1. `chance` in [0, 1) spreads clients over the upper half;
    what the server says is a floor, up to ten times `seconds_max`."""
    doubled: float = min(policy.first_seconds * 2.0 ** min(tries - 1, 30), policy.seconds_max)
    return max(doubled * (0.5 + chance / 2), min(told_seconds(retry_after), 10 * policy.seconds_max))


def told_seconds(retry_after: str | None) -> float:
    """Of a Retry-After in seconds; a date or nonsense says nothing."""
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else 0.0
