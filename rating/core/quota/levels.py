"""The levels of a quota: percentages of the limit and amounts, 100%, at which it is exhausted, and what is beyond it:
the balance is negative."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

EXHAUSTED = "100%"
NEGATIVE = "negative"
"""The level above the limit: more is used than what limit and grants hold, by the smallest quantity there is."""


@dataclass(frozen=True, slots=True)
class Level:
    """What is used in the window (units of 10^-9), of what limit; null: unlimited."""

    used: int
    limit: int | None


def levels_of(thresholds: Sequence[str], limit: int | None) -> list[tuple[int, str]]:
    """At how many units each level is reached, ascending; without a limit only amounts are levels."""
    found: dict[int, str] = {}
    for threshold in thresholds:
        if not threshold.endswith("%"):
            found[int(Decimal(threshold).scaleb(9))] = threshold
        elif limit is not None:
            found[-(-limit * int(threshold[:-1]) // 100)] = threshold
    if limit is not None:
        found[limit] = EXHAUSTED
        found[limit + 1] = NEGATIVE
    return sorted(found.items())


def reached(thresholds: Sequence[str], level: Level) -> list[tuple[int, str]]:
    """The levels that are reached, ascending; of a limit of nothing only once something is used."""
    if level.limit is not None and level.used <= 0 <= level.limit:
        return []
    return [pair for pair in levels_of(thresholds, level.limit) if level.used >= pair[0]]
