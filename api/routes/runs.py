"""Rating runs: started here, recorded with their inputs, and the charge lines that they made."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api.documentation import problems
from api.models import RunIn, RunOut, RunPage
from api.wiring import After, Limit, TheEngine

router = APIRouter(prefix="/v1/rating-runs", tags=["rating"])

RunId = Annotated[str, Path(description="of a rating run")]


@router.post("", status_code=201, response_model=RunOut, responses=problems(400, 413, 507))
def start_run(engine: TheEngine, given: RunIn, response: Response) -> RunOut:
    """Rate a period: every acknowledged event, the catalog in force, all customers at once. Answers when it is done.

    The same period on the same usage and catalog gives the same lines and the same digest, as often as it is run.
    """
    run = engine.rate(given.period)
    response.headers["Location"] = f"/v1/rating-runs/{run.id}"
    return RunOut.model_validate(run)


@router.get("", response_model=RunPage, responses=problems(404))
def list_runs(
    engine: TheEngine,
    period: Annotated[str | None, Query(description="only those of this period")] = None,
    after: After = None,
    limit: Limit = 100,
) -> RunPage:
    """Runs from the newest to the oldest."""
    page = engine.store.runs.page(period=period, after=after, limit=limit)
    following = page[-1].id if len(page) == limit else None
    return RunPage(items=[RunOut.model_validate(run) for run in page], next=following)


@router.get("/{run_id}", response_model=RunOut, responses=problems(404))
def read_run(engine: TheEngine, run_id: RunId) -> RunOut:
    return RunOut.model_validate(engine.store.runs.get(run_id))
