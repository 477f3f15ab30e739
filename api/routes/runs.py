"""Rating runs: started here, recorded with their inputs, and the charge lines that they made."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime
from starlette.responses import Response

from api.access.audit import nothing_changes
from api.documentation import problems
from api.engine import Engine
from api.frames import json_response, rows
from api.models import ClosedOut, ProgressOut, RunIn, RunOut, RunPage, VerifiedOut
from api.verification import Verified
from api.wiring import After, Limit, TheEngine
from store.runs import Run

router = APIRouter(prefix="/v1/rating-runs", tags=["rating"])

NAMED_MAX = 100
RunId = Annotated[str, Path(description="of a rating run")]


@router.post(
    "",
    status_code=201,
    response_model=RunOut | ClosedOut,
    responses={200: {"model": ClosedOut}, **problems(400, 409, 413, 507)},
)
def start_run(engine: TheEngine, given: RunIn, response: Response) -> RunOut | ClosedOut:
    """Rate a period: every acknowledged event, the catalog in force, all customers at once. Answers when it is done.
    With `as_of` it rates what was known at that instant; such a run is kept beside the others, and opens no month.

    With `due` it closes every billing period whose end and grace are over, whatever its cycle: its lines are what is
    billed, and never change. What comes later is found at the next close and posted as adjustments. A run that a
    stopped process left behind is gone on with first. 200 when nothing is due.

    The same period on the same usage and catalog gives the same lines and the same digest, as often as it is run.
    """
    if given.period is None:
        return _close(engine, given, response)
    run = engine.rate(given.period, given.as_of)
    response.headers["Location"] = f"/v1/rating-runs/{run.id}"
    return RunOut.model_validate(run)


def _close(engine: Engine, given: RunIn, response: Response) -> ClosedOut:
    if given.dry_run:
        nothing_changes()
        response.status_code = 200
        return ClosedOut(runs=[], would=engine.dry_close(given.until, given.since))
    runs = engine.close_due(given.until, given.since, draft=given.draft)
    response.status_code = 201 if runs else 200
    return ClosedOut(runs=[RunOut.model_validate(run) for run in runs], would=[])


@router.post("/{run_id}/finalize", response_model=RunOut, responses=problems(404, 409))
def finalize_run(engine: TheEngine, run_id: RunId) -> RunOut:
    """Make a draft of what was due final: its lines are what is billed. Refused when something was closed since."""
    return RunOut.model_validate(engine.finalize(run_id))


@router.get("", response_model=RunPage, responses=problems(404))
def list_runs(
    engine: TheEngine,
    period: Annotated[str | None, Query(description="only those of this period")] = None,
    as_of: Annotated[AwareDatetime | None, Query(description="only those that had ended by this instant")] = None,
    after: After = None,
    limit: Limit = 100,
) -> RunPage:
    """Runs from the newest to the oldest."""
    page = engine.store.runs.page(period=period, after=after, limit=limit, as_of=as_of)
    following = page[-1].id if len(page) == limit else None
    return RunPage(items=[_with_progress(engine, run) for run in page], next=following)


@router.get("/{run_id}", response_model=RunOut, responses=problems(404))
def read_run(engine: TheEngine, run_id: RunId) -> RunOut:
    """A run; while it is being made, with its `progress`."""
    return _with_progress(engine, engine.store.runs.get(run_id))


def _with_progress(engine: Engine, run: Run) -> RunOut:
    progress = engine.rating.progress(run.id) if run.status == "running" else None
    shown = None if progress is None else ProgressOut.model_validate(progress)
    return RunOut.model_validate(run).model_copy(update={"progress": shown})


@router.post("/{run_id}/verify", response_model=VerifiedOut, responses=problems(404))
def verify_run(engine: TheEngine, run_id: RunId) -> Response:
    """Rate a run again from its recorded inputs, and compare: equal, which lines differ, or why it cannot be made.

    Later usage, corrections, backfills, customers, subscriptions and catalogs do not matter. Nothing is written.
    """
    return json_response(_shown(engine.verification.verify(run_id)))


def _shown(found: Verified) -> dict[str, Any]:
    lines = {"gone": found.gone, "new": found.new}
    return {
        "run": found.run.id,
        "period": found.run.period,
        "result": found.result,
        "reason": found.reason,
        "notes": found.notes,
        "digest": found.run.digest,
        "rerated_digest": found.rerated,
        "rated_by": found.run.code_version,
        "rerated_by": found.code_version,
        "lines": {name: {"count": len(ids), "first": ids[:NAMED_MAX]} for name, ids in lines.items()},
        "changes": {"count": found.changes.height, "largest": rows(found.changes.head(NAMED_MAX))},
    }
