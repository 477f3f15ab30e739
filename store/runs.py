"""The record of rating runs: what each was computed from, and the digest of what came out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine, Select, func, insert, select, tuple_, update

from store.database import reading, writing
from store.errors import NotFound
from store.tables import rating_runs

RunStatus = Literal["running", "done", "failed", "interrupted"]
RunKind = Literal["draft", "final", "restatement"]


@dataclass(frozen=True)
class Run:
    """The inputs of a run are everything that its lines depend on; `digest` and `report` are there once it is done.

    `last_change` is up to which of the changes it saw accounts and credits, null for a run from before these were kept;
    a run with `as_of` rated what was known at that instant. A run of what became due on (`due_after`, `due_until`]
    closes it once it is final; drafts close nothing."""

    id: str
    period: str
    catalog_version: str
    table_version: int
    last_sequence: int
    code_version: str
    started_at: datetime
    finished_at: datetime | None = None
    status: RunStatus = "running"
    digest: str | None = None
    report: dict[str, Any] | None = None
    last_change: int | None = None
    as_of: datetime | None = None
    kind: RunKind = "draft"
    due_after: datetime | None = None
    due_until: datetime | None = None


@dataclass(frozen=True)
class Runs:
    engine: Engine

    def start(self, run: Run) -> None:
        with writing(self.engine) as connection:
            connection.execute(insert(rating_runs).values(**vars(run)))

    def start_once(self, run: Run) -> Run:
        """The same where it may have been started before: as it is recorded, and running unless it is done."""
        with writing(self.engine) as connection:
            row = connection.execute(select(rating_runs).where(rating_runs.c.id == run.id)).one_or_none()
            if row is None:
                connection.execute(insert(rating_runs).values(**vars(run)))
        if row is None:
            return run
        if row.status == "interrupted":
            self.resume(Run(*row))
        return self.get(run.id)

    def finish(self, run: Run) -> None:
        """Record what came of a running run: `status`, `finished_at`, `digest` and `report`."""
        outcome = {name: getattr(run, name) for name in ("status", "finished_at", "digest", "report")}
        running = update(rating_runs).where(rating_runs.c.id == run.id, rating_runs.c.status == "running")
        with writing(self.engine) as connection:
            changed = connection.execute(running.values(outcome)).rowcount
        assert changed == 1, f"run {run.id} is not running"

    def note(self, run: Run) -> None:
        """Record the `report` that a running run has so far."""
        running = update(rating_runs).where(rating_runs.c.id == run.id, rating_runs.c.status == "running")
        with writing(self.engine) as connection:
            changed = connection.execute(running.values(report=run.report)).rowcount
        assert changed == 1, f"run {run.id} is not running"

    def interrupt_running(self, *, now: datetime) -> int:
        """Mark the runs that a stopped process left behind; how many there were."""
        with writing(self.engine) as connection:
            left = update(rating_runs).where(rating_runs.c.status == "running")
            return connection.execute(left.values(status="interrupted", finished_at=now)).rowcount

    def counts(self) -> dict[str, int]:
        """How many runs there are by status."""
        query = select(rating_runs.c.status, func.count().label("runs")).group_by(rating_runs.c.status)
        with reading(self.engine) as connection:
            return {row.status: row.runs for row in connection.execute(query)}

    def get(self, run_id: str) -> Run:
        """Raises NotFound."""
        with reading(self.engine) as connection:
            row = connection.execute(select(rating_runs).where(rating_runs.c.id == run_id)).one_or_none()
        if row is None:
            raise NotFound("rating run", run_id)
        return Run(*row)

    def newest_done(self, period: str | None, *, since: datetime, by: datetime | None = None) -> Run | None:
        """The newest run that is done and began at `since` or later; of one period if given; done `by` an instant. Runs
        with `as_of` are left out: they say what was known once."""
        done = select(rating_runs).where(rating_runs.c.status == "done", rating_runs.c.started_at >= since)
        done = done.where(rating_runs.c.as_of.is_(None))
        if by is not None:
            done = done.where(rating_runs.c.finished_at <= by)
        query = done.order_by(rating_runs.c.started_at.desc(), rating_runs.c.id.desc()).limit(1)
        if period is not None:
            query = query.where(rating_runs.c.period == period)
        with reading(self.engine) as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Run(*row)

    def resume(self, run: Run) -> None:
        """Mark an interrupted run as running again."""
        again = update(rating_runs).where(rating_runs.c.id == run.id, rating_runs.c.status == "interrupted")
        with writing(self.engine) as connection:
            changed = connection.execute(again.values(status="running", finished_at=None)).rowcount
        assert changed == 1, f"run {run.id} is not interrupted"

    def finalize(self, run: Run) -> None:
        """Make a draft that is done final: what it has rated is closed."""
        draft = update(rating_runs).where(rating_runs.c.id == run.id, rating_runs.c.kind == "draft")
        with writing(self.engine) as connection:
            changed = connection.execute(draft.values(kind="final")).rowcount
        assert changed == 1, f"run {run.id} is no draft"

    def newest_due(self, *, kind: RunKind, status: RunStatus, until: datetime | None = None) -> Run | None:
        """Of the runs of what became due, the one that goes farthest; of those that do not go beyond an instant."""
        query = _closing().where(rating_runs.c.kind == kind, rating_runs.c.status == status).limit(1)
        if until is not None:
            query = query.where(rating_runs.c.due_until <= until)
        with reading(self.engine) as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Run(*row)

    def closing(self, *, after: datetime, until: datetime | None = None) -> list[Run]:
        """The runs that have closed or restated something which became due after an instant, and before or at `until`;
        the newest first."""
        query = _closing().where(
            rating_runs.c.kind != "draft", rating_runs.c.status == "done", rating_runs.c.due_until > after
        )
        if until is not None:
            query = query.where(rating_runs.c.due_after < until)
        with reading(self.engine) as connection:
            return [Run(*row) for row in connection.execute(query)]

    def page(self, *, period: str | None, after: str | None, limit: int, as_of: datetime | None = None) -> list[Run]:
        """Runs from the newest to the oldest, those behind run `after`; of one period if given; those that had ended
        by `as_of`."""
        order = tuple_(rating_runs.c.started_at, rating_runs.c.id)
        query = select(rating_runs).order_by(rating_runs.c.started_at.desc(), rating_runs.c.id.desc()).limit(limit)
        if period is not None:
            query = query.where(rating_runs.c.period == period)
        if as_of is not None:
            query = query.where(rating_runs.c.finished_at <= as_of)
        if after is not None:
            last = self.get(after)
            query = query.where(order < tuple_(last.started_at, last.id))
        with reading(self.engine) as connection:
            return [Run(*row) for row in connection.execute(query)]


def _closing() -> Select[Any]:
    """Runs of what became due, the farthest first."""
    of_due = select(rating_runs).where(rating_runs.c.due_until.is_not(None))
    return of_due.order_by(rating_runs.c.due_until.desc(), rating_runs.c.started_at.desc(), rating_runs.c.id.desc())
