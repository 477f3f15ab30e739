"""Whether the process is up, whether it can take work, and its metrics."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.access.caller import Caller, Scope
from api.frames import json_response
from api.models import Health, Readiness
from api.observing.metrics import CONTENT_TYPE, Metrics
from api.readiness import readiness_of
from api.wiring import TheEngine

router = APIRouter(tags=["service"])


@router.get("/healthz", response_model=Health)
async def health() -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "Not ready"}})
def readiness(request: Request, engine: TheEngine) -> Response:
    """Events can be taken, records can be read and quotas are counted, or why not; `detail` says more to those who may
    read."""
    found = readiness_of(engine)
    caller: Caller | None = request.state.caller
    shown = found if caller is not None and Scope.read in caller.scopes else {**found, "detail": {}}
    return json_response(shown, 200 if found["status"] == "ready" else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "docs/observability.md", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
def metrics(request: Request, engine: TheEngine) -> Response:
    """Metrics in the text format of Prometheus."""
    known: Metrics | None = getattr(request.app.state, "metrics", None)
    if known is None:
        known = request.app.state.metrics = Metrics(engine, request.app.state.requests)
    return Response(known.scraped(), media_type=CONTENT_TYPE)
