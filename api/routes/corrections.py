"""Corrections of usage events: a later event puts one out of force, or in the place of it."""

import asyncio
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from api.documentation import body, problems
from api.frames import JSON, json_response
from api.models import BatchAnswer, Output
from api.observing.request_ids import request_id_of
from api.routes.events import ANSWERS, ATOMIC, answer, is_atomic, status_of, submitted
from api.wiring import TheEngine
from ingest.correction_list import StoredCorrection

router = APIRouter(prefix="/v1/events/corrections", tags=["events"])

SEQUENCE_MAX = 2**63 - 1

_IDENTITY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["source", "id"],
    "properties": {"source": {"type": "string"}, "id": {"type": "string"}},
}
_CORRECTION = {
    "type": "object",
    "required": ["action", "corrects", "source", "id"],
    "properties": {
        "action": {"type": "string", "enum": ["void", "replace"]},
        "corrects": {**_IDENTITY, "description": "the event that is wrong"},
        "source": {"type": "string", "minLength": 1},
        "id": {"type": "string", "minLength": 1, "description": "the correction's own, unique within its source"},
        "type": {"type": "string", "description": "of a replacement; that of the corrected event, unless given"},
        "subject": {"type": "string", "description": "as `type`"},
        "time": {"type": "string", "description": "as `type`; RFC 3339 with a zone"},
        "data": {"type": "object", "description": "of a replacement, which must have it: all of it, nothing is merged"},
        "reason": {"type": "string", "description": "for the audit"},
    },
}
_EXAMPLE = [
    {
        "action": "replace",
        "corrects": {"source": "gateway-1", "id": "req-0001"},
        "source": "gateway-1",
        "id": "req-0001/2",
        "data": {"model": "gpt-4o", "input_tokens": 1100, "output_tokens": 350},
        "reason": "cached tokens were counted as input",
    },
    {
        "action": "void",
        "corrects": {"source": "gateway-1", "id": "req-0002"},
        "source": "gateway-1",
        "id": "req-0002/void",
        "reason": "a test",
    },
]
_BODY = body({JSON: _EXAMPLE}, "one correction or an array of them")
_BODY["requestBody"]["content"][JSON]["schema"] = {"oneOf": [_CORRECTION, {"type": "array", "items": _CORRECTION}]}


class Corrected(Output):
    """The event that is out of force. Null where a repair of the data directory has lost it, or its backfill was
    reverted."""

    source: str | None
    id: str | None


class CorrectionOut(Output):
    """One accepted correction."""

    sequence: int = Field(description="its place in the order of acceptance")
    source: str
    id: str
    action: Literal["void", "replace"]
    corrects: Corrected
    type: str
    subject: str
    time: datetime
    data: dict[str, Any] | None = Field(description="null for a void")
    reason: str | None
    received_at: datetime
    backfill: str | None = Field(description="the backfill that the corrected event is of")
    has_ended: bool = Field(description="its backfill was reverted: it has no effect any more")


class CorrectionPage(Output):
    items: list[CorrectionOut]
    next: int | None = Field(description="`after` of the next page; null on the last")


@router.post(
    "",
    response_model=BatchAnswer,
    responses={**ANSWERS, **problems(400, 413, 415, 503, 507)},
    openapi_extra={**_BODY, "parameters": [ATOMIC]},
)
async def post_corrections(request: Request, engine: TheEngine) -> Response:
    """Void or replace events that were accepted. A correction is an event of its own: durable before the answer,
    harmless to send again, answered as `POST /v1/events` does.

    It names any event that counts, also a replacement, and one event has one correction: to correct it again, correct
    the replacement. A void is final: to undo it, send the event again under a new id. A correction of an event of a
    committed backfill counts for as long as the backfill does. From the answer on, usage
    queries, quota checks and rating runs leave the corrected event out. The corrections of a body are taken in order.
    """
    submit = partial(
        engine.log.corrections.submit,
        await request.body(),
        request.headers.get("content-type", ""),
        content_encoding=request.headers.get("content-encoding", ""),
        is_atomic=is_atomic(request),
        request_id=request_id_of(request),
    )
    verdict = await asyncio.wrap_future(await submitted(submit, is_large=True))
    return json_response(answer(verdict), status_of(verdict))


@router.get("", response_model=CorrectionPage, responses=problems(404))
def list_corrections(
    engine: TheEngine,
    source: Annotated[str | None, Query(description="only corrections of events of this source")] = None,
    id: Annotated[str | None, Query(description="only corrections of events with this id")] = None,
    backfill: Annotated[str | None, Query(description="only corrections of events of this backfill")] = None,
    after: Annotated[
        int, Query(ge=0, le=SEQUENCE_MAX, description="the `next` of the page before; 0 is from the first")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """What corrected what, when and why, oldest first."""
    number = None if backfill is None else engine.store.backfills.get(backfill).number or 0
    page = engine.log.corrections.page(after=after, limit=limit, target_source=source, target_id=id, backfill=number)
    following = page[-1].sequence if len(page) == limit else None
    numbered = engine.store.backfills.in_states(["committed", "reverted"]) if any(c.backfill for c in page) else []
    ids = {record.number: record.id for record in numbered}
    return json_response({"items": [_public(c, ids.get(c.backfill)) for c in page], "next": following})


def _public(stored: StoredCorrection, backfill: str | None) -> dict[str, Any]:
    return {
        "sequence": stored.sequence,
        "source": stored.source,
        "id": stored.id,
        "action": stored.correction,
        "corrects": {"source": stored.target_source, "id": stored.target_id},
        "type": stored.type,
        "subject": stored.subject,
        "time": stored.time,
        "data": None if stored.data is None else orjson.Fragment(stored.data),
        "reason": stored.reason,
        "received_at": stored.received_at,
        "backfill": backfill,
        "has_ended": stored.has_ended,
    }
