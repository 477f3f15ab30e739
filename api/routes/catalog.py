"""The catalog: applied as a whole, by its content; the versions before stay readable."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api.documentation import body, problems
from api.models import CatalogApplied, CatalogHistory, CatalogOut
from api.wiring import TheEngine

router = APIRouter(prefix="/v1/catalog", tags=["catalog"])

_FORMATS: dict[str, Literal["yaml", "json"]] = {
    "application/json": "json",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
    "text/x-yaml": "yaml",
}
_EXAMPLE = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": {"requests": {"event_type": "llm.request", "aggregation": "count"}},
    "prices": {
        "request": {
            "meter": "requests",
            "currency": "USD",
            "model": "per_unit",
            "versions": [{"unit_amount": "0.01"}],
        }
    },
    "plans": {"pro": {"currency": "USD", "prices": ["request"]}},
}


@router.put(
    "",
    response_model=CatalogApplied,
    responses=problems(400, 409, 413, 415, 422, 507),
    openapi_extra=body({"application/json": _EXAMPLE, "application/yaml": None}, "the catalog file, as it is"),
)
async def apply_catalog(
    request: Request,
    engine: TheEngine,
    dry_run: Annotated[bool, Query(description="only say what would change")] = False,
) -> CatalogApplied:
    """Bring a catalog into force. If anything is wrong, all of it is listed and nothing changes."""
    document_format = _format_of(request)
    document = await request.body()
    applied = await run_in_threadpool(engine.apply_catalog, document, format=document_format, dry_run=dry_run)
    return CatalogApplied.model_validate(applied)


@router.get("", response_model=CatalogOut, responses=problems(404))
def read_catalog(
    engine: TheEngine, version: Annotated[str | None, Query(description="the one in force, unless given")] = None
) -> CatalogOut:
    """A catalog in its canonical form."""
    found = engine.read_catalog(version)
    return CatalogOut(version=found.version, document=found.document())


@router.get("/versions", response_model=CatalogHistory)
def read_history(engine: TheEngine) -> CatalogHistory:
    """Every time that a catalog came into force, newest first."""
    return CatalogHistory.model_validate({"items": engine.store.catalogs.history()})


def _format_of(request: Request) -> Literal["yaml", "json"]:
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media not in _FORMATS:
        raise HTTPException(415, f"a catalog is sent as application/yaml or application/json, not as {media!r}")
    return _FORMATS[media]
