"""Closing billing periods: what became due since the last close, and what has become another of what was closed.

A run of what is due bills on (`due_after`, `due_until`]: usage and fees of the billing periods that end then, and in
advance the fees of those that begin. Besides, the periods of customers who are concerned by late usage or backdated
changes are rated again. Of both it posts what was not billed yet (rating/core/restating.py): so every period may be
rated as often as one likes, and is billed once.

All of it follows from what the run records: its catalog, the last event, the last change, and the runs before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl

from api.history import History, Known
from api.rating_inputs import Gathered, RatingSources
from api.restated import Restated, Since
from api.skipping import rated_but
from rating.catalog import compile_catalog, parse_catalog
from rating.catalog.closing import Closing
from rating.catalog.model import Catalog
from rating.core.book import PriceBook
from rating.core.lines import CHARGE_LINE
from rating.core.periods import Month, month_of
from rating.core.rating import Rated
from rating.core.restating import posted
from rating.core.service_periods import AGAIN, Due, billed_periods, service_periods
from rating.line_table import LineTable
from store.runs import Run

_MIDDLE = 15
"""A run never goes beyond the 15th of a month: so one month at most ends in it, whatever the time zone."""


@dataclass(frozen=True)
class Close:
    """What is closed: what is `due`, by a catalog and its `rule`, as it is `known`, behind the close `last`."""

    due: Due
    catalog: Catalog
    book: PriceBook
    known: Known
    last: Run | None
    run: str  # the run that closes it

    @property
    def document(self) -> str:
        """The run that has what is restated, where that is a document of its own."""
        return f"{self.run}_restated"

    @property
    def rule(self) -> Closing:
        return self.catalog.closing


@dataclass(frozen=True)
class Posting:
    """What a run of what is due posts: CHARGE_LINE of what fell due, and of what closed periods are not any more as
    they were billed. `ledger` is CREDIT_ENTRY, `skipped` who could not be rated, and why."""

    gathered: Gathered
    rated: Rated
    new: pl.DataFrame
    restated: pl.DataFrame
    ledger: pl.DataFrame
    closed: int  # billing periods that ended
    again: int  # billing periods that were rated again
    skipped: list[dict[str, Any]]

    def lines(self, rule: Closing) -> pl.DataFrame:
        """Those of the run, sorted by id: both, unless what is restated is a document of its own."""
        own = [self.new] if rule.late == "document" else [self.new, self.restated]
        return pl.concat(own).sort("line")


@dataclass(frozen=True)
class DueRuns:
    """Works out runs of what is due; nothing is written here."""

    sources: RatingSources
    line_table: LineTable

    def windows(self, until: datetime, since: datetime | None) -> list[tuple[datetime, datetime]]:
        """What the next runs close up to `until`, each (`after`, `until`], where anything is due: from the last close
        on; where nothing was closed yet, from `since`, or from the beginning of the first subscription."""
        last = self.last()
        after = last.due_until if last else since or self._beginning()
        if after is None or after >= until:
            return []
        found = []
        for _, end in pairwise([after, *_middles(after, until), until]):
            if self._is_anything_due(after, end):
                found.append((after, end))
                after = end
        return found

    def last(self) -> Run | None:
        """The last close."""
        return self.sources.store.runs.newest_due(kind="final", status="done")

    def _is_anything_due(self, after: datetime, until: datetime) -> bool:
        """Whether a billing period ends or begins on (`after`, `until`]: the last close has said when the next one
        does, for accounts that have not changed since. And whether a month is over, for what may be restated."""
        last = self.last()
        if last is not None and month_of(after, "UTC") < month_of(until, "UTC"):
            return True
        if last is not None and last.due_until == after and last.last_change == self.sources.store.changes.last():
            return datetime.fromisoformat((last.report or {})["next_due"]) <= until
        return not service_periods(self.sources.accounts().subscriptions, Due(after, until)).is_empty()

    def work(self, close: Close) -> Posting:
        """What is posted."""
        gathered = self.sources.gather(close.due, close.book, known=close.known)
        made = rated_but(gathered.inputs, close.catalog)
        served = service_periods(gathered.inputs.subscriptions, close.due)
        fallen_due = served.select(AGAIN.names()).unique()
        earlier = self._closed_before(close)
        new = posted(made.rated.lines, self._billed(earlier, fallen_due))
        again, restated = self._restated(close, gathered, earlier, fallen_due)
        closed = served.filter(pl.col("bills") == "all").select(AGAIN.names()).unique().height
        ledger = gathered.ledger(made.rated)
        return Posting(gathered, made.rated, new, restated, ledger, closed, again, made.skipped)

    def close_of(self, run: Run, history: History) -> Close:
        """What a run closes, by all that it knew when it began. Raises NotReproducible."""
        assert run.due_after is not None
        assert run.due_until is not None
        catalog = parse_catalog(self.sources.store.catalogs.document(run.catalog_version), format="json")
        known = history.of_run(run, catalog.declared_properties())
        before = self.sources.store.runs.newest_due(kind="final", status="done", until=run.due_after)
        due = Due(run.due_after, run.due_until)
        return Close(due, catalog, compile_catalog(catalog), known, before, run.id.removesuffix("_restated"))

    def next_due(self, gathered: Gathered, after: datetime) -> datetime:
        """When the next billing period ends or begins; a month later where none does until then."""
        until = after + timedelta(days=31)
        served = service_periods(gathered.accounts.subscriptions, Due(after, until))
        ends = pl.when(pl.col("period_end") <= until).then(pl.min_horizontal("period_end", _begins(after)))
        found = served.select(ends.otherwise(_begins(after)).min()).item() if served.height else until
        assert isinstance(found, datetime)
        return found

    def _restated(
        self, close: Close, gathered: Gathered, earlier: Sequence[Run], fallen_due: pl.DataFrame
    ) -> tuple[int, pl.DataFrame]:
        """How many closed periods were rated again, and CHARGE_LINE of what they are not any more as they were
        billed."""
        due, nothing = close.due, (0, CHARGE_LINE.to_frame())
        start = _months_before(due.after, close.rule.restate_months)
        if close.last is None or start >= due.after:
            return nothing
        finder = Restated(self.sources.store, self.sources.log)
        since = Since(close.last, close.known, start, due.after)
        concerned = finder.concerned(since, gathered.accounts, close.book.version)
        if concerned.is_empty():
            return nothing
        billed = self._billed_of(earlier, concerned)
        keys = _again(gathered.inputs.subscriptions, start, due, concerned, billed)
        keys = keys.join(fallen_due, on=AGAIN.names(), how="anti")
        if keys.is_empty():
            return nothing
        no_more = Due(due.until, due.until, keys)
        known = self.sources.gather(no_more, close.book, customers=concerned["customer"], known=close.known)
        lines = rated_but(known.inputs, close.catalog).rated.lines
        return keys.height, posted(lines, billed.join(keys, on=AGAIN.names(), how="semi"))

    def _closed_before(self, close: Close) -> list[Run]:
        """The runs that billed something before. A document that was made is billed, also where its run never was."""
        closing = self.sources.store.runs.closing(after=_EVER)
        ends = {"final": close.due.after, "restatement": close.due.until}
        return [run for run in closing if run.id != close.document and (run.due_until or _EVER) <= ends[run.kind]]

    def _billed(self, runs: Sequence[Run], keys: pl.DataFrame) -> pl.DataFrame:
        """CHARGE_LINE that `runs` have posted of some billing periods (AGAIN)."""
        lines = self.line_table.scan([run.id for run in runs]).join(keys.lazy(), on=AGAIN.names(), how="semi")
        return lines.select(CHARGE_LINE.names()).collect(engine="streaming")

    def _billed_of(self, runs: Sequence[Run], concerned: pl.DataFrame) -> pl.DataFrame:
        """The same of customers, of periods that end behind `since`."""
        lines = self.line_table.scan([run.id for run in runs]).join(concerned.lazy(), on="customer", validate="m:1")
        later = lines.filter(pl.col("period_end") > pl.col("since"))
        return later.select(CHARGE_LINE.names()).collect(engine="streaming")

    def _beginning(self) -> datetime | None:
        """An instant before the first subscription begins."""
        first = self.sources.accounts().subscriptions["starts_at"].min()
        assert first is None or isinstance(first, datetime)
        return None if first is None else first - timedelta(microseconds=1)


_EVER = datetime(1, 1, 1, tzinfo=UTC)


def _begins(after: datetime) -> pl.Expr:
    """When what is owed in advance begins; null where it began before."""
    return pl.when(pl.col("from") > after).then("from")


def _again(
    subscriptions: pl.DataFrame, start: datetime, due: Due, concerned: pl.DataFrame, billed: pl.DataFrame
) -> pl.DataFrame:
    """AGAIN: the closed periods of customers (CONCERNED), as they are now and as they were billed."""
    own = subscriptions.join(concerned, on="customer", how="semi")
    now = billed_periods(own, start, due).join(concerned, on="customer", validate="m:1")
    later = now.filter(pl.col("period_end") > pl.col("since")).select(AGAIN.names())
    return pl.concat([later, billed.select(AGAIN.names())]).unique()


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
