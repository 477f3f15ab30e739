"""What these interfaces have beyond metering is answered with where it is done here."""

from fastapi import APIRouter
from starlette.responses import Response

from api.errors import problem_response
from api.paths import anything

router = APIRouter()

HINTS = {
    "events": "events are sent here, and listed at GET /v1/events",
    "meters": "meters come from the catalog file, applied as a whole: PUT /v1/catalog, or `tallystick catalog apply`",
    "billable_metrics": "what Lago calls billable metrics are the meters of the catalog file: PUT /v1/catalog",
    "plans": "plans come from the catalog file, applied as a whole: PUT /v1/catalog, or `tallystick catalog apply`",
    "features": "features come from the catalog file, applied as a whole: PUT /v1/catalog",
    "customers": "customers are put at /v1/customers/{key}",
    "subjects": "the subjects of a customer are put with it at /v1/customers/{key}",
    "subscriptions": "subscriptions are put at /v1/subscriptions/{key}",
    "entitlements": "whether a subject may go on is at /v1/quota/{subject}/{feature}",
}
SERVED = (
    "GET or POST /api/v1/events, POST /api/v1/events/batch, GET /api/v1/meters, "
    "and GET or POST /api/v1/meters/{key}/query"
)


@router.api_route(f"/api/{anything('path')}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def unserved(path: str) -> Response:
    """404, with where to go instead."""
    words = path.split("/")
    hint = next((HINTS[word] for word in words[1:2] if word in HINTS), "this service does not have it")
    return problem_response(404, f"/api/{path} is not served: {hint}. Served here: {SERVED}. See /docs for all else.")
