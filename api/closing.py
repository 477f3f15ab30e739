"""Closing billing periods: what became due since the last close, and what has become another of what was closed.

A run of what is due bills on (`due_after`, `due_until`]: usage and fees of the billing periods that end then, and in
advance the fees of those that begin. Besides, the periods of customers who are concerned by late usage or backdated
changes are rated again. Of both it posts what was not billed yet (rating/core/restating.py): so every period may be
rated as often as one likes, and is billed once.

All of it follows from what the run records: its catalog, the last event, the last change, and the runs before it.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl

from api.due_parts import LEFT, OWNED_AGAIN, Billed, Close, DueParts
from api.history import History
from api.parts import in_parts, spans
from api.rating_inputs import Accounts, Gathered, RatingInputs, RatingSources
from api.restated import Restated, Since
from rating.catalog import compile_catalog, parse_catalog
from rating.catalog.closing import Closing
from rating.core.periods import Month, month_of
from rating.core.service_periods import AGAIN, Due, billed_periods, service_periods
from rating.line_table import LineTable
from store.runs import Run

_MIDDLE = 15
"""A run never goes beyond the 15th of a month: so one month at most ends in it, whatever the time zone."""


@dataclass(frozen=True)
class DueRuns:
    """Works out runs of what is due; nothing is written here."""

    sources: RatingSources
    line_table: LineTable

    def windows(self, until: datetime, since: datetime | None, rule: Closing) -> list[Due]:
        """What the next runs close up to `until`, where anything is due by the rule: from the last close on; where
        nothing was closed yet, from `since`, or from the beginning of the first subscription."""
        last = self.last()
        after = last.due_until if last else since or self._beginning()
        if after is None or after >= until:
            return []
        found = []
        for _, end in pairwise([after, *_middles(after, until), until]):
            due = Due(after, end, final_bill=rule.final_bill)
            if self._is_anything_due(due):
                found.append(due)
                after = end
        return found

    def last(self) -> Run | None:
        """The last close."""
        return self.sources.store.runs.newest_due(kind="final", status="done")

    def _is_anything_due(self, due: Due) -> bool:
        """Whether a billing period ends or begins in the time that is due: the last close has said when the next one
        does, for accounts that have not changed since; of the others it is looked up. And whether a month is over, for
        what may be restated."""
        last = self.last()
        if last is not None and month_of(due.after, "UTC") < month_of(due.until, "UTC"):
            return True
        if last is None or last.due_until != due.after or last.last_change is None:
            return _falls_due(self.sources.accounts(), due)
        if datetime.fromisoformat((last.report or {})["next_due"]) <= due.until:
            return True
        changed = self.sources.store.changes.changed_customers(last.last_change)
        return bool(changed) and _falls_due(self.sources.accounts(of=changed), due)

    def prepare(self, close: Close, subscriptions_max: int | None = None) -> DueParts:
        """What is posted, to be worked out part by part; unless a size of parts is given there is one."""
        gathered = self.sources.gather(close.due, close.book, known=close.known)
        cut = spans(gathered.inputs.subscriptions, subscriptions_max)
        earlier = Billed(self.line_table, [run.id for run in self._closed_before(close)])
        keys, again = self._again(close, gathered, earlier)
        owners = gathered.inputs.subscriptions
        is_parted = len(cut) > 1 and earlier.runs  # a part with everyone looks at what was billed to anyone
        left = earlier.left(owners, keys.select(AGAIN.names()), close.due) if is_parted else LEFT.to_frame()
        parts, parts_again = in_parts(gathered.inputs, cut), None if again is None else in_parts(again, cut)
        return DueParts(close, gathered, cut, parts, parts_again, keys, earlier, left)

    def close_of(self, run: Run, history: History) -> Close:
        """What a run closes, by all that it knew when it began. Raises NotReproducible."""
        assert run.due_after is not None
        assert run.due_until is not None
        catalog = parse_catalog(self.sources.store.catalogs.document(run.catalog_version), format="json")
        known = history.of_run(run, catalog.declared_properties())
        before = self.sources.store.runs.newest_due(kind="final", status="done", until=run.due_after)
        due = Due(run.due_after, run.due_until, final_bill=catalog.closing.final_bill)
        return Close(due, catalog, compile_catalog(catalog), known, before, run.id.removesuffix("_restated"))

    def _again(self, close: Close, gathered: Gathered, earlier: Billed) -> tuple[pl.DataFrame, RatingInputs | None]:
        """OWNED_AGAIN of the closed periods that are rated again, by customer, and the inputs of that."""
        due, nothing = close.due, (OWNED_AGAIN.to_frame(), None)
        start = _months_before(due.after, close.rule.restate_months)
        if close.last is None or start >= due.after:
            return nothing
        finder = Restated(self.sources.store, self.sources.log)
        since = Since(close.last, close.known, start, due.after)
        concerned = finder.concerned(since, gathered.accounts, close.book.version)
        if concerned.is_empty():
            return nothing
        keys = _again(gathered.inputs.subscriptions, start, due, concerned, earlier.periods_of(concerned))
        if keys.is_empty():
            return nothing
        no_more = replace(due, after=due.until, again=keys.select(AGAIN.names()))
        known = self.sources.gather(no_more, close.book, customers=concerned["customer"], known=close.known)
        return keys, known.inputs

    def _closed_before(self, close: Close) -> list[Run]:
        """The runs that billed something before. A document that was made is billed, also where its run never was."""
        closing = self.sources.store.runs.closing(after=_EVER)
        ends = {"final": close.due.after, "restatement": close.due.until}
        return [run for run in closing if run.id != close.document and (run.due_until or _EVER) <= ends[run.kind]]

    def _beginning(self) -> datetime | None:
        """An instant before the first subscription begins."""
        first = self.sources.accounts().subscriptions["starts_at"].min()
        assert first is None or isinstance(first, datetime)
        return None if first is None else first - timedelta(microseconds=1)


_EVER = datetime(1, 1, 1, tzinfo=UTC)


def _falls_due(accounts: Accounts, due: Due) -> bool:
    return not service_periods(accounts.subscriptions, due).is_empty()


def _again(
    subscriptions: pl.DataFrame, start: datetime, due: Due, concerned: pl.DataFrame, billed: pl.DataFrame
) -> pl.DataFrame:
    """OWNED_AGAIN: the closed periods of customers (CONCERNED), as they are now and as they were `billed`; those of a
    subscription that another customer has now are that one's."""
    own = subscriptions.join(concerned, on="customer", how="semi")
    now = billed_periods(own, start, due).join(concerned, on="customer", validate="m:1")
    later = now.filter(pl.col("period_end") > pl.col("since")).select(OWNED_AGAIN.names())
    owners = subscriptions.select("subscription", owner="customer").unique("subscription")
    owned = billed.join(owners, on="subscription", how="left", validate="m:1")
    before = owned.with_columns(customer=pl.coalesce("owner", "customer")).select(OWNED_AGAIN.names())
    return pl.concat([later, before]).unique(AGAIN.names()).sort("customer")


def _middles(after: datetime, until: datetime) -> list[datetime]:
    """The middles of months, in UTC, between two instants."""
    month, found = month_of(after, "UTC"), []
    while (middle := month.start(UTC).replace(day=_MIDDLE)) < until:
        if middle > after:
            found.append(middle)
        month = month.next()
    return found


def _months_before(instant: datetime, months: int) -> datetime:
    """The beginning of the month so many months before, in UTC."""
    now = month_of(instant, "UTC")
    number = now.year * 12 + now.month - 1 - months
    return Month(number // 12, number % 12 + 1).start(UTC)
