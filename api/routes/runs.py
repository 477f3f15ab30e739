"""Rating runs: started here, recorded with their inputs, and the charge lines that they made."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime
from starlette.responses import Response

from api.documentation import problems
from api.frames import json_response, rows
from api.models import RunIn, RunOut, RunPage, VerifiedOut
from api.verification import Verified
from api.wiring import After, Limit, TheEngine

router = APIRouter(prefix="/v1/rating-runs", tags=["rating"])

NAMED_MAX = 100
RunId = Annotated[str, Path(description="of a rating run")]


@router.post("", status_code=201, response_model=RunOut, responses=problems(400, 409, 413, 507))
def start_run(engine: TheEngine, given: RunIn, response: Response) -> RunOut:
    """Rate a period: every acknowledged event, the catalog in force, all customers at once. Answers when it is done.
    With `as_of` it rates what was known at that instant; such a run is kept beside the others, and opens no month.

    The same period on the same usage and catalog gives the same lines and the same digest, as often as it is run.
    """
    run = engine.rate(given.period, given.as_of)
    response.headers["Location"] = f"/v1/rating-runs/{run.id}"
    return RunOut.model_validate(run)


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
    return RunPage(items=[RunOut.model_validate(run) for run in page], next=following)


@router.get("/{run_id}", response_model=RunOut, responses=problems(404))
def read_run(engine: TheEngine, run_id: RunId) -> RunOut:
    return RunOut.model_validate(engine.store.runs.get(run_id))


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
