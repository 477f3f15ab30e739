"""Whether the process is up, and whether it can take work."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.access.caller import Caller, Scope
from api.frames import json_response
from api.models import Health, Readiness
from api.wiring import TheEngine

router = APIRouter(tags=["service"])


@router.get("/healthz", response_model=Health)
async def health() -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "Not ready"}})
def readiness(request: Request, engine: TheEngine) -> Response:
    """Events can be taken and records can be read; `detail` says more to those who may read."""
    status = engine.status()
    ready = bool(status["ready"])
    caller: Caller | None = request.state.caller
    detail = status if caller is not None and Scope.read in caller.scopes else {}
    return json_response({"status": "ready" if ready else "not ready", "detail": detail}, 200 if ready else 503)
