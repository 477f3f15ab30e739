"""A rating run from start to record, and the way back from a charge line to its arithmetic."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from threading import Lock
from typing import Any
from uuid import uuid4

import polars as pl

from api.access.audit import about
from api.closing import DueRuns
from api.due_parts import Close, Posting
from api.history import History, Known
from api.making import ADJUSTED, Made, Making, part_sums
from api.parts import PART_SUBSCRIPTIONS_MAX, Span, in_parts, spans
from api.progress import Progress
from api.rating_inputs import Gathered, RatingSources
from api.run_sums import document_report, due_report, run_report
from api.skipping import rated_part
from ingest.log import UsageLog
from rating.catalog import compile_catalog
from rating.catalog.model import Catalog
from rating.core.book import PriceBook
from rating.core.credits.run_ledger import run_ledger
from rating.core.lines import CHARGE_LINE
from rating.core.periods import Month, parse_month
from rating.core.service_periods import Due
from rating.histogram import LONG_SECONDS, Histogram
from rating.ledger_table import LedgerTable
from rating.line_table import LineTable
from rating.run import code_version
from rating.run_table import LinesDamaged
from rating.spans import span as span_of
from store import Store
from store.customers import refuse
from store.database import apart
from store.errors import NotFound, NotReproducible, Refused, RunInProgress
from store.runs import Run

RUN_STATES = ("done", "failed")
SEARCHED_RUNS_MAX = 1_000  # looked through at once


@dataclass(frozen=True)
class Closing:
    """What is to be closed: all that is due up to `until`; from `since` on where nothing was closed before. A `draft`
    closes nothing, and is final when `finalize` is asked for."""

    until: datetime
    since: datetime | None = None
    draft: bool = False


class RatingService:
    """Runs one at a time; lines and records may be read at any time."""

    def __init__(
        self,
        store: Store,
        log: UsageLog,
        line_table: LineTable,
        ledger_table: LedgerTable,
        now: Callable[[], datetime],
        part_subscriptions_max: int = PART_SUBSCRIPTIONS_MAX,
    ) -> None:
        self.part_subscriptions_max = part_subscriptions_max
        self.sources = RatingSources(store, log, ledger_table)
        self.due = DueRuns(self.sources, line_table)
        self._store = store
        self._log = log
        self._line_table = line_table
        self._making = Making(store, log, line_table, ledger_table)
        self._now = now
        self._one_run = Lock()
        self.durations = {kind: Histogram(LONG_SECONDS) for kind in RUN_STATES}  # of runs that ended, since the start

    def run(self, period: str, book: PriceBook, known: Known | None = None) -> Run:
        """Rate a month and record it: the lines first, then that the run is done. Answers when both are durable.

        It rates what is known now, or what was `known` at an instant; such a run never opens another month, and no run
        of a month closes it.
        Raises Refused for what is no month, AmountOverflow when an amount does not fit; a failed run is recorded too.
        Raises DiskFull when the lines find no room, and CommitUnknown when the disk fails: the log stops then.
        """
        month = _month(period)
        with self._one_run:
            with apart():
                self._store.runs.interrupt_running(now=self._now())  # its end could not be recorded: no other runs now
            with span_of("rating run", period=str(month)):
                return self._month_run(month, book, known)

    def _month_run(self, month: Month, book: PriceBook, known: Known | None) -> Run:
        with span_of("gather"):
            gathered = self.sources.gather(month, book, known=known)
        run = self._new(str(month), book, gathered, as_of=known.by if known else None)
        about(object=run.id)
        self._store.runs.start(run)
        with self._failing(run):
            made = self._month_made(run, gathered)
            found = run_report(made.parts, gathered, book)
        return self._finish(run, status="done", digest=made.digest, report=found)

    def progress(self, run_id: str) -> Progress | None:
        """How far a run is that is being made; null for all others."""
        progress = self._making.progress
        return progress if progress is not None and progress.run == run_id else None

    def _month_made(self, run: Run, gathered: Gathered) -> Made:
        cut = spans(gathered.inputs.subscriptions, self.part_subscriptions_max)
        parts = in_parts(gathered.inputs, cut)

        def posting(span: Span) -> Posting:
            with span_of("rate part"):
                part = parts.of(span)
                rated = rated_part(part)
            ledger = run_ledger(rated.burnt, part.credits.grants, str(gathered.credited))
            return Posting(rated.lines, CHARGE_LINE.to_frame(), ledger, rated.unpriced)

        return self._making.make(run, [partial(posting, span) for span in cut], ADJUSTED)

    def close(self, catalog: Catalog, asked: Closing, history: History) -> list[Run]:
        """Rate and post all that is due, a run for each month at most; none where nothing is due. Answers when they are
        durable. A run that a stopped process left behind is made whole first, as it was begun.

        Raises RunInProgress, and as `run` does.
        """
        if not self._one_run.acquire(blocking=False):
            raise RunInProgress(["another run is being made; ask again when it is done"])
        try:
            with apart():
                self._store.runs.interrupt_running(now=self._now())
            made = [] if asked.draft else self._gone_on(history)
            windows = self.due.windows(asked.until, asked.since, catalog.closing)
            return [*made, *(self._begun(catalog, due, asked, history.now()) for due in windows)]
        finally:
            self._one_run.release()

    def dry_close(self, catalog: Catalog, asked: Closing, history: History) -> list[dict[str, Any]]:
        """What `close` would post first, as the report of its run; nothing is recorded."""
        windows = self.due.windows(asked.until, asked.since, catalog.closing)[:1]
        book, last = compile_catalog(catalog), self.due.last()
        closes = [Close(due, catalog, book, history.now(), last, "") for due in windows]
        return [{"period": str(close.due), "report": self._would_report(close)} for close in closes]

    def _would_report(self, close: Close) -> dict[str, Any]:
        prepared = self.due.prepare(close, self.part_subscriptions_max)
        parts = [part_sums(prepared.posting(span), close.rule.late) for span in prepared.spans]
        return due_report(parts, prepared.gathered, close.book)

    def finalize(self, run_id: str) -> Run:
        """Make a draft of what was due final: its lines are what is billed. Raises NotFound, and Refused when it is no
        such draft, or something was closed since."""
        with self._one_run:
            run, last = self._store.runs.get(run_id), self.due.last()
            if run.kind != "draft" or run.due_until is None or run.status != "done":
                raise Refused([f"run {run_id} is no draft of what was due: make one with `rate --due --draft`"])
            if last is not None and last.due_until != run.due_after:
                raise Refused([f"run {last.id} has closed up to {last.due_until}: make the draft again"])
            self._store.runs.finalize(run)
            return self._store.runs.get(run_id)

    def _begun(self, catalog: Catalog, due: Due, asked: Closing, known: Known) -> Run:
        """A new run of what is due."""
        key = f"run_{uuid4().hex}"
        close = Close(due, catalog, compile_catalog(catalog), known, self.due.last(), key)
        run = Run(
            id=key,
            period=str(close.due),
            catalog_version=catalog.version,
            table_version=known.view.table.version,
            last_sequence=known.view.last_sequence,
            code_version=code_version(),
            started_at=self._now(),
            last_change=known.change,
            due_after=close.due.after,
            due_until=close.due.until,
            kind="draft" if asked.draft else "final",
            report={
                "backfills": [backfill.id for backfill in known.view.backfills],
                "part_subscriptions_max": self.part_subscriptions_max,  # how a resumed run is parted, too
            },
        )
        about(object=run.id)
        self._store.runs.start(run)
        return self._close(run, close)

    def _gone_on(self, history: History) -> list[Run]:
        """The close that a stopped process left behind, by what it was begun with; none where there is none, or
        its inputs are not there any more: then it is begun anew."""
        run, last = self._store.runs.newest_due(kind="final", status="interrupted"), self.due.last()
        if run is None or run.due_after is None or run.due_until is None or run.code_version != code_version():
            return []
        if last is not None and last.due_until != run.due_after:
            return []
        try:
            close = self.due.close_of(run, history)
        except NotReproducible:
            return []
        self._store.runs.resume(run)
        return [self._close(run, close)]

    def _close(self, run: Run, close: Close) -> Run:
        with span_of("rating run", period=run.period, run=run.id), self._failing(run):
            prepared = self.due.prepare(close, (run.report or {}).get("part_subscriptions_max"))
            works = [partial(prepared.posting, span) for span in prepared.spans]
            made = self._making.make(run, works, close.rule.late, close.document)
            if made.document is not None:
                own, sums = self._store.runs.get(close.document), document_report(made.parts, close.book)
                self._finish(own, status="done", digest=made.document, report=sums)
            found = due_report(made.parts, prepared.gathered, close.book)
        return self._finish(run, status="done", digest=made.digest, report=found)

    @contextmanager
    def _failing(self, run: Run) -> Iterator[None]:
        """Record that the run failed where something is raised."""
        try:
            yield
        except BaseException as error:
            self._finish(run, status="failed", digest=None, report={"error": f"{type(error).__name__}: {error}"})
            raise

    def lines(self, run_id: str, *, customer: str | None = None) -> pl.LazyFrame:
        """The lines of a run, sorted by id: STORED_LINE. Raises NotFound, Refused for a run that is not done, and
        LinesDamaged when they are not what was stored."""
        run = self._store.runs.get(run_id)
        refuse([] if run.status == "done" else [f"run {run_id} is {run.status}: it has no charge lines"])
        stored, expected = self._line_table.count(run_id), (run.report or {}).get("lines")
        if stored != expected:
            raise LinesDamaged(f"run {run_id} has {stored} charge lines, and {expected} were stored; rate it again")
        lines = self._line_table.lines(run_id)
        return lines if customer is None else lines.filter(pl.col("customer") == customer)

    def find(self, line: str, run_id: str | None) -> pl.DataFrame:
        """STORED_LINE of the line, as the newest run has it that is done or as `run_id` has it. Raises NotFound."""
        for runs in self._newest_runs() if run_id is None else [[self._store.runs.get(run_id)]]:
            done = [run.id for run in runs if run.status == "done"]
            found = self._line_table.find(line, done)
            if found.height:
                return found.filter(pl.col("run") == min(found["run"], key=done.index))
        raise NotFound("charge line", line)

    def _newest_runs(self) -> Iterator[list[Run]]:
        """All runs from the newest to the oldest, a few first, for that is where most lines are looked for."""
        after, limit = None, 1
        while page := self._store.runs.page(period=None, after=after, limit=limit):
            yield page
            after, limit = page[-1].id, min(10 * limit, SEARCHED_RUNS_MAX)

    def _new(self, period: str, book: PriceBook, gathered: Gathered, as_of: datetime | None) -> Run:
        return Run(
            id=f"run_{uuid4().hex}",
            period=period,
            catalog_version=book.version,
            table_version=gathered.table_version,
            last_sequence=gathered.last_sequence,
            code_version=code_version(),
            started_at=self._now(),
            last_change=gathered.last_change,
            as_of=as_of,
        )

    def _finish(self, run: Run, **changes: Any) -> Run:
        done = replace(run, finished_at=self._now(), **changes)
        self._store.runs.finish(done)
        if done.finished_at is not None and done.status in self.durations:
            self.durations[done.status].add((done.finished_at - done.started_at).total_seconds())
        return done


def _month(period: str) -> Month:
    try:
        return parse_month(period)
    except ValueError as error:
        raise Refused([str(error)]) from None
