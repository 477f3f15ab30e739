"""`POST /api/v1/events` is a path of OpenMeter and of Lago; what is in the body says whose client sent it.

OpenMeter's sends CloudEvents, one or an array; Lago's an object with the one member `event`.
"""

import re
from functools import partial

import msgspec
from fastapi import APIRouter, Request
from msgspec import UNSET, Raw, Struct, UnsetType
from starlette.responses import Response

from api.compat import lago
from api.compat.submission import refused, verdict_on
from api.errors import problem_response
from api.wiring import TheEngine
from ingest.verdicts import CONFLICT, BatchVerdict

router = APIRouter()

SHOWN_EVENTS_MAX = 5
_OBJECT = re.compile(rb"[ \t\r\n]*\{")


class _Either(Struct):
    event: Raw | UnsetType = UNSET
    id: Raw | UnsetType = UNSET
    source: Raw | UnsetType = UNSET


@router.post("/api/v1/events")
async def post_events(request: Request, engine: TheEngine) -> Response:
    """Take events of either client. OpenMeter's takes nothing but 204 for success."""
    body = await request.body()
    content_type, encoding = request.headers.get("content-type", ""), request.headers.get("content-encoding", "")
    if not encoding and _is_from_lago(body, content_type):
        return await lago.post_event(body, engine)
    submit = partial(engine.log.submit, body, content_type, content_encoding=encoding)
    return _answer(await verdict_on(len(body), submit))


def _is_from_lago(body: bytes, content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" or not _OBJECT.match(body):
        return False
    try:
        found = msgspec.json.decode(body, type=_Either)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # the log says what is wrong with it
    return found.event is not UNSET and found.id is UNSET and found.source is UNSET


def _answer(verdict: BatchVerdict) -> Response:
    """204 when every event is kept; else a problem that names those that are not. The others are kept, and sending the
    whole batch again is harmless."""
    events = refused(verdict)
    if not events:
        return Response(status_code=204)
    status = 409 if all(event.code == CONFLICT for event in events) else 400
    named = [f"event {event.index} ({event.code}): {event.message}" for event in events[:SHOWN_EVENTS_MAX]]
    detail = f"{len(events)} of {verdict.total} events are not kept; the others are. {'; '.join(named)}"
    listed = [{"index": e.index, "source": e.source, "id": e.id, "code": e.code, "message": e.message} for e in events]
    return problem_response(
        status, detail, slug="events-refused", instance="/api/v1/events", extensions={"events": listed}
    )
