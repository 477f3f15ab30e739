"""The record of rating runs: what each was computed from, and the digest of what came out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine, insert, select, tuple_, update

from store.database import reading, writing
from store.errors import NotFound
from store.tables import rating_runs

RunStatus = Literal["running", "done", "failed", "interrupted"]


@dataclass(frozen=True)
class Run:
    """The inputs of a run are everything that its lines depend on; `digest` and `report` are there once it is done.

    `last_change` is up to which of the changes it saw accounts and credits, null for a run from before these were kept;
    a run with `as_of` rated what was known at that instant."""

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


@dataclass(frozen=True)
class Runs:
    engine: Engine

    def start(self, run: Run) -> None:
        with writing(self.engine) as connection:
            connection.execute(insert(rating_runs).values(**vars(run)))

    def finish(self, run: Run) -> None:
        """Record what came of a running run: `status`, `finished_at`, `digest` and `report`."""
        outcome = {name: getattr(run, name) for name in ("status", "finished_at", "digest", "report")}
        running = update(rating_runs).where(rating_runs.c.id == run.id, rating_runs.c.status == "running")
        with writing(self.engine) as connection:
            changed = connection.execute(running.values(outcome)).rowcount
        assert changed == 1, f"run {run.id} is not running"

    def interrupt_running(self, *, now: datetime) -> int:
        """Mark the runs that a stopped process left behind; how many there were."""
        with writing(self.engine) as connection:
            left = update(rating_runs).where(rating_runs.c.status == "running")
            return connection.execute(left.values(status="interrupted", finished_at=now)).rowcount

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
