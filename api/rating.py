"""A rating run from start to record, and the way back from a charge line to its arithmetic."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import uuid4

import polars as pl

from api.history import Known
from api.rating_inputs import Gathered, RatingSources
from ingest.errors import CommitUnknown, DiskFull
from ingest.log import UsageLog
from rating.core.book import PriceBook
from rating.core.periods import Month, parse_month
from rating.core.rating import Rated
from rating.disk import is_full
from rating.ledger_table import LedgerTable
from rating.line_table import LineTable
from rating.run import code_version, report
from rating.run_table import LinesDamaged
from store import Store
from store.customers import refuse
from store.errors import NotFound, Refused
from store.runs import Run

SEARCHED_RUNS_MAX = 1_000  # looked through at once


class RatingService:
    """Runs one at a time; lines and records may be read at any time."""

    def __init__(
        self,
        store: Store,
        log: UsageLog,
        line_table: LineTable,
        ledger_table: LedgerTable,
        now: Callable[[], datetime],
    ) -> None:
        self.sources = RatingSources(store, log, ledger_table)
        self._store = store
        self._log = log
        self._line_table = line_table
        self._ledger_table = ledger_table
        self._now = now
        self._one_run = Lock()

    def run(self, period: str, book: PriceBook, known: Known | None = None) -> Run:
        """Rate a month and record it: the lines first, then that the run is done. Answers when both are durable.

        It rates what is known now, or what was `known` at an instant; such a run never opens another month.
        Raises Refused for what is no month, AmountOverflow when an amount does not fit; a failed run is recorded too.
        Raises DiskFull when the lines find no room, and CommitUnknown when the disk fails: the log stops then.
        """
        month = _month(period)
        with self._one_run:
            self._store.runs.interrupt_running(now=self._now())  # its end could not be recorded: no other runs now
            gathered = self.sources.gather(month, book, known=known)
            run = self._started(month, book, gathered, known.by if known else None)
            try:
                rated = gathered.inputs.rated()
                ledger = gathered.ledger(rated)
                self._append(run.id, rated.lines, ledger)
            except BaseException as error:
                self._finish(run, status="failed", digest=None, report={"error": f"{type(error).__name__}: {error}"})
                raise
            found = _report(rated, gathered, ledger)
            return self._finish(run, status="done", digest=rated.digest, report=found)

    def _append(self, run_id: str, lines: pl.DataFrame, ledger: pl.DataFrame) -> None:
        try:
            if ledger.height:
                self._ledger_table.append(run_id, ledger)
            self._line_table.append(run_id, lines)
        except OSError as error:
            if is_full(error):
                raise DiskFull(f"there is no room for the charge lines: {error.strerror}; run it again") from error
            self._log.fail(error)
            raise CommitUnknown(
                f"the charge lines cannot be written: {error}; run it again after the restart"
            ) from error

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

    def _started(self, month: Month, book: PriceBook, gathered: Gathered, as_of: datetime | None) -> Run:
        run = Run(
            id=f"run_{uuid4().hex}",
            period=str(month),
            catalog_version=book.version,
            table_version=gathered.table_version,
            last_sequence=gathered.last_sequence,
            code_version=code_version(),
            started_at=self._now(),
            last_change=gathered.last_change,
            as_of=as_of,
        )
        self._store.runs.start(run)
        return run

    def _finish(self, run: Run, **changes: Any) -> Run:
        done = replace(run, finished_at=self._now(), **changes)
        self._store.runs.finish(done)
        return done


def _month(period: str) -> Month:
    try:
        return parse_month(period)
    except ValueError as error:
        raise Refused([str(error)]) from None


def _report(rated: Rated, gathered: Gathered, ledger: pl.DataFrame) -> dict[str, Any]:
    """The report of the run; with the backfills that its usage has, if there are any."""
    known = {"accounts": gathered.accounts.report(), "credits": gathered.credits_report(ledger)}
    return {**report(rated), **known, **({"backfills": list(gathered.backfills)} if gathered.backfills else {})}
