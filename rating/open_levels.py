"""Limits that were reached, or passed, and are not known to have room again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal, TypeAlias

from rating.core.quota.levels import EXHAUSTED, NEGATIVE
from rating.core.quota.seam import LevelChange, LevelName
from rating.quota_terms import QuotaTerms

Because: TypeAlias = Literal["reset", "top_up", "plan_change", "correction"]
_RESTORED = ("exhausted", "negative")
"""The kinds whose end is told."""


class OpenLevels:
    """At most one of a kind for each account. Every method may be called from any thread, also while counters are
    locked."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, str, str], LevelChange] = {}
        self._arms: dict[LevelName, int] = {}
        self._looked_for: Because | None = None

    def load(self, levels: Sequence[LevelChange], arms: Mapping[LevelName, int]) -> None:
        """What was raised before the start and not restored; it is looked at whether it has room by now."""
        self._arms = dict(arms)
        self._open = {_place(change): self.armed(change) for change in levels if change.kind in _RESTORED}
        self._looked_for = "correction"

    def armed(self, change: LevelChange) -> LevelChange:
        """The same, as a crossing behind all that were restored in its window."""
        return replace(change, arm=self._arms.get(change.name, 0))

    def put(self, change: LevelChange, now: datetime) -> None:
        """Take note of a level, but of a window which is over: nobody was told of that before its end."""
        is_over = change.window_end is not None and change.window_end <= now
        if change.kind in _RESTORED and not is_over:
            self._open[_place(change)] = change

    def restore(self, change: LevelChange, because: Because) -> list[LevelChange]:
        """It has room again, and what was open beyond it is over too: the levels that are closed by it. In the same
        window, to reach them again is another crossing."""
        kinds = _RESTORED if change.kind == "exhausted" else (change.kind,)
        found = (self._open.pop((*_place(change)[:3], kind), None) for kind in kinds)
        closed = [level for level in found if level is not None]
        if because != "reset":
            for level in (EXHAUSTED, NEGATIVE) if change.kind == "exhausted" else (NEGATIVE,):
                name = change.name._replace(level=level)
                self._arms[name] = self._arms.get(name, 0) + 1
        return closed

    def terms_changed(self, before: QuotaTerms | None, terms: QuotaTerms) -> None:
        """Limits may be others now."""
        if before is not None:
            self._looked_for = "plan_change" if before.grants.equals(terms.grants) else "top_up"

    def corrected(self) -> None:
        """Usage may be less now."""
        self._looked_for = "correction"

    def due(self, now: datetime) -> Iterator[tuple[LevelChange, Because]]:
        """Those that may have room again, and why; of an account what is exhausted first."""
        because, self._looked_for = self._looked_for, None
        for change in sorted(self._open.values(), key=lambda change: change.kind):
            if change.window_end is not None and change.window_end <= now:
                yield change, "reset"
            elif because is not None:
                yield change, because


def _place(change: LevelChange) -> tuple[str, str, str, str]:
    return change.scope, change.owner, change.feature, change.kind
