"""When a delivery that failed is tried again, and when it is given up."""

from datetime import timedelta
from itertools import count

_MINUTE, _HOUR = 60, 3600
_SECONDS = (5, 30, 2 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR)
_DAY = 24 * _HOUR
_LEAST, _SPAN = 0.8, 0.4


def pause(attempts: int, days: int, chance: float) -> timedelta | None:
    """How long to wait after so many failed attempts; None when trying has taken `days` and it is given up.

    `chance` in [0, 1) spreads what failed at one time over 0.8 to 1.2 of the pause, so that a receiver that comes back
    is not asked by all at once.
    """
    assert attempts > 0
    waited = sum(seconds for _, seconds in zip(range(attempts), _pauses(), strict=False))
    if waited > days * _DAY:
        return None
    return timedelta(seconds=_of(attempts - 1) * (_LEAST + _SPAN * chance))


def _pauses() -> "map[int]":
    return map(_of, count())


def _of(number: int) -> int:
    return _SECONDS[number] if number < len(_SECONDS) else _DAY
