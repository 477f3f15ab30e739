"""Limits that were reached and are not known to have room again."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Literal, TypeAlias

from rating.core.quota.seam import LevelChange
from rating.quota_terms import QuotaTerms

Because: TypeAlias = Literal["reset", "top_up", "plan_change", "correction"]


class OpenLevels:
    """At most one for each account. Every method may be called from any thread, also while counters are locked."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, str], LevelChange] = {}
        self._known: frozenset[str] = frozenset()
        self._looked_for: Because | None = None

    def known(self, keys: Collection[str]) -> None:
        """The keys of levels that were raised before the start and not restored."""
        self._known = frozenset(keys)

    def put(self, change: LevelChange, now: datetime) -> None:
        """Take note of a level; that of a window which is over matters only where nobody was told of its end."""
        is_over = change.window_end is not None and change.window_end <= now
        if change.kind == "exhausted" and (not is_over or change.key in self._known):
            self._open[change.scope, change.owner, change.feature] = change

    def close(self, change: LevelChange) -> None:
        """It has room again."""
        self._open.pop((change.scope, change.owner, change.feature), None)

    def terms_changed(self, before: QuotaTerms | None, terms: QuotaTerms) -> None:
        """Limits may be others now."""
        is_grant = before is not None and not before.grants.equals(terms.grants)
        self._looked_for = "top_up" if is_grant else "plan_change"

    def corrected(self) -> None:
        """Usage may be less now."""
        self._looked_for = "correction"

    def due(self, now: datetime) -> Iterator[tuple[LevelChange, Because]]:
        """Those that may have room again, and why."""
        because, self._looked_for = self._looked_for, None
        for change in list(self._open.values()):
            if change.window_end is not None and change.window_end <= now:
                yield change, "reset"
            elif because is not None:
                yield change, because
