"""What an answer knows: all of it as of now, as of an instant, or as a recorded run knew it.

The log is known up to a sequence, with its corrections up to there and the backfills that counted; accounts and credits
up to a numbered change; the catalog by its applications. Nothing of that is ever removed, so an answer of once can be
given again, whatever has been posted, corrected, moved, merged or reverted since.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from ingest.backfill_shown import ShownBackfill
from ingest.contents import View
from ingest.errors import BackfillDamaged
from ingest.known import as_known, last_sequence_at
from ingest.log import UsageLog
from rating.core.schema import PropertyType
from store import Store
from store.backfills import Backfill
from store.errors import NotReproducible
from store.runs import Run

Counted: TypeAlias = Callable[[Iterable[Backfill]], tuple[ShownBackfill, ...]]


@dataclass(frozen=True)
class Opened:
    """Where the opening of a month's credits is from: the ledger of `run`, where there is one, and the `months` behind
    it that were rated to know."""

    run: str | None = None
    months: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """Up to where of everything an answer knows.

    `change` is of accounts and credits; only runs that had ended `by` then open a month with their credits, null is
    all; a recorded run says itself how its month `opened`. `properties` are those of the catalog, null is in force.
    """

    view: View
    change: int
    by: datetime | None = None
    opened: Opened | None = None
    properties: Mapping[str, PropertyType] | None = None


class History:
    """For any number of threads."""

    def __init__(self, store: Store, log: UsageLog, counted: Counted) -> None:
        """`counted` finds backfills as they were committed, also those that are reverted."""
        self._store, self._log, self._counted = store, log, counted

    def view_at(self, instant: datetime) -> View:
        """The log as it was at `instant`. Raises NotReproducible."""
        view = self._log.view()
        backfills = self._counted_then(self._store.backfills.committed_at(instant))
        return as_known(view, last_sequence_at(view, instant), backfills)

    def at(self, instant: datetime, properties: Mapping[str, PropertyType]) -> Known:
        """What was known at `instant`. Raises NotReproducible before the history of accounts begins."""
        change = self._store.changes.at(instant)
        return Known(self.view_at(instant), change, by=instant, properties=properties)

    def now(self) -> Known:
        """All that is known."""
        return Known(self._log.view(), self._store.changes.last())

    def of_run(self, run: Run, properties: Mapping[str, PropertyType]) -> Known:
        """What a run knew. Of one from before accounts were kept: the first that is known of them.

        Raises NotReproducible when its usage is not there any more.
        """
        view, report = self._log.view(), run.report or {}
        if run.last_sequence > view.last_sequence:
            raise NotReproducible(
                f"run {run.id} knew {run.last_sequence} events, and the log has {view.last_sequence}: its newest are "
                "gone; restore the data directory from a backup that has them"
            )
        backfills = self._counted_then([self._store.backfills.get(key) for key in report.get("backfills", [])])
        credits = report.get("credits") or {}
        opened = Opened(credits.get("opened_by"), tuple(credits.get("rated_before", ())))
        known = as_known(view, run.last_sequence, backfills)
        return Known(known, run.last_change or 0, opened=opened, properties=properties)

    def _counted_then(self, records: Iterable[Backfill]) -> tuple[ShownBackfill, ...]:
        try:
            return self._counted(records)
        except BackfillDamaged as error:
            raise NotReproducible(f"the events of a backfill that counted then are not whole: {error}") from error
