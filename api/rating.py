"""A rating run from start to record, and the way back from a charge line to its arithmetic."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import uuid4

import polars as pl

from ingest.errors import CommitUnknown, DiskFull
from ingest.log import UsageLog
from rating.core.book import PriceBook
from rating.core.explain import Step, explain
from rating.core.periods import Month, parse_month
from rating.core.rating import Rated, rate, usage_bounds
from rating.disk import is_full
from rating.line_table import LinesDamaged, LineTable
from rating.run import code_version, report
from store import Store
from store.customers import refuse
from store.errors import NotFound, Refused
from store.runs import Run

EXPLAINED_RUNS_MAX = 1_000  # looked through at once


@dataclass(frozen=True)
class Explained:
    """A charge line of a run (one row of STORED_LINE) and the steps of its arithmetic."""

    line: pl.DataFrame
    steps: list[Step]


@dataclass(frozen=True)
class Accounts:
    """Who pays, as a run sees it: schemas SUBJECT and SUBSCRIPTION."""

    subjects: pl.DataFrame
    subscriptions: pl.DataFrame

    def report(self) -> dict[str, Any]:
        """Counts, and a digest that tells whether two runs saw the same customers and subscriptions."""
        hasher = hashlib.sha256()
        for frame in (self.subjects, self.subscriptions):
            hasher.update(frame.write_csv().encode())
        heights = {"subjects": self.subjects.height, "subscriptions": self.subscriptions.height}
        return {**heights, "digest": hasher.hexdigest()}


class RatingService:
    """Runs one at a time; lines and records may be read at any time."""

    def __init__(self, store: Store, log: UsageLog, line_table: LineTable, now: Callable[[], datetime]) -> None:
        self._store = store
        self._log = log
        self._line_table = line_table
        self._now = now
        self._one_run = Lock()

    def run(self, period: str, book: PriceBook) -> Run:
        """Rate a month and record it: the lines first, then that the run is done. Answers when both are durable.

        Raises Refused for what is no month, AmountOverflow when an amount does not fit; a failed run is recorded too.
        Raises DiskFull when the lines find no room, and CommitUnknown when the disk fails: the log stops then.
        """
        month = _month(period)
        with self._one_run:
            self._store.runs.interrupt_running(now=self._now())  # its end could not be recorded: no other runs now
            accounts = Accounts(self._store.customers.subjects_frame(), self._store.subscriptions.subscriptions_frame())
            start, end = usage_bounds(accounts.subscriptions, book, month)
            usage = self._log.scan(start=start, end=end)
            run = self._started(month, book, usage.table_version, usage.last_sequence)
            try:
                rated = rate(usage.usage, accounts.subjects, accounts.subscriptions, book, month)
                self._append(run.id, rated.lines)
            except BaseException as error:
                self._finish(run, status="failed", digest=None, report={"error": f"{type(error).__name__}: {error}"})
                raise
            found = _report(rated, accounts, usage.backfills)
            return self._finish(run, status="done", digest=rated.digest, report=found)

    def _append(self, run_id: str, lines: pl.DataFrame) -> None:
        try:
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

    def explain(self, line: str, run_id: str | None) -> Explained:
        """The line as the newest run has it that is done, or as `run_id` has it. Raises NotFound."""
        for runs in self._newest_runs() if run_id is None else [[self._store.runs.get(run_id)]]:
            done = [run.id for run in runs if run.status == "done"]
            found = self._line_table.find(line, done)
            if found.height:
                row = found.filter(pl.col("run") == min(found["run"], key=done.index))
                return Explained(row, explain(row.row(0, named=True)))
        raise NotFound("charge line", line)

    def _newest_runs(self) -> Iterator[list[Run]]:
        """All runs from the newest to the oldest, a few first, for that is where most lines are looked for."""
        after, limit = None, 1
        while page := self._store.runs.page(period=None, after=after, limit=limit):
            yield page
            after, limit = page[-1].id, min(10 * limit, EXPLAINED_RUNS_MAX)

    def _started(self, month: Month, book: PriceBook, table_version: int, last_sequence: int) -> Run:
        run = Run(
            id=f"run_{uuid4().hex}",
            period=str(month),
            catalog_version=book.version,
            table_version=table_version,
            last_sequence=last_sequence,
            code_version=code_version(),
            started_at=self._now(),
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


def _report(rated: Rated, accounts: Accounts, backfills: Sequence[str]) -> dict[str, Any]:
    """The report of the run; with the backfills that its usage has, if there are any."""
    counted = {"backfills": list(backfills)} if backfills else {}
    return {**report(rated), "accounts": accounts.report(), **counted}
