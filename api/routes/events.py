"""Usage goes in: the way of an event from the body to its verdict."""

import asyncio
import os
from concurrent.futures import Future
from dataclasses import asdict

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.documentation import Responses, body, problems
from api.engine import Engine
from api.frames import ARROW, JSON, json_response
from api.models import BatchAnswer
from api.wiring import TheEngine
from ingest.errors import Overloaded
from ingest.verdicts import CONFLICT, DUPLICATE, BatchVerdict

router = APIRouter(prefix="/v1/events", tags=["events"])

DECODED_AT_ONCE_BYTES = 16 * 1024
WAITING_BODIES_MAX = 64

_decoders = CapacityLimiter(max(2, os.cpu_count() or 2))

_EVENT = {
    "specversion": "1.0",
    "id": "req-0001",
    "source": "gateway-1",
    "type": "llm.request",
    "subject": "acme",
    "time": "2026-10-01T12:00:00Z",
    "data": {"provider": "openai", "model": "gpt-4o", "input_tokens": 1200, "output_tokens": 350},
}
_BODY = {
    "application/cloudevents-batch+json": [_EVENT],
    "application/cloudevents+json": _EVENT,
    JSON: [_EVENT],
    ARROW: None,
}
_ANSWERS: Responses = {
    207: {"model": BatchAnswer, "description": "Some events are rejected or conflict; the others are kept"},
    422: {"model": BatchAnswer, "description": "No event of the batch is kept"},
}


@router.post(
    "",
    response_model=BatchAnswer,
    responses={**_ANSWERS, **problems(400, 413, 415, 503)},
    openapi_extra=body(_BODY, "one CloudEvent, a list of them, or an Arrow IPC stream with one row for each"),
)
async def post_events(request: Request, engine: TheEngine) -> Response:
    """Take a batch of usage events. Each is accepted, or named in the answer with what is wrong with it.

    What is called accepted or duplicate is durable and counted once, however often it is sent: a batch may always be
    sent again as it was. 200 when every event is one of these, 207 when some are not, 422 when none is kept.
    """
    submitted = await _submit(engine, await request.body(), request.headers.get("content-type", ""))
    verdict = await asyncio.wrap_future(submitted)
    return json_response(answer(verdict), _status(verdict))


async def _submit(engine: Engine, body: bytes, content_type: str) -> "Future[BatchVerdict]":
    """Decode a small body here and a large one in a thread (docs/decisions/0001): quota checks do not wait for it."""
    if len(body) <= DECODED_AT_ONCE_BYTES:
        return engine.log.submit(body, content_type)
    if _decoders.statistics().tasks_waiting >= WAITING_BODIES_MAX:
        raise Overloaded(f"{WAITING_BODIES_MAX} bodies wait to be decoded; send it again after a moment")
    return await to_thread.run_sync(engine.log.submit, body, content_type, limiter=_decoders)


def _status(verdict: BatchVerdict) -> int:
    refused = verdict.conflict + verdict.rejected
    return 200 if not refused else 422 if refused == verdict.total else 207


def answer(verdict: BatchVerdict) -> dict[str, object]:
    return {
        "accepted": verdict.accepted,
        "duplicates": verdict.duplicate,
        "conflicts": verdict.conflict,
        "rejected": verdict.rejected,
        "events": [
            {**asdict(event), "verdict": event.code if event.code in (DUPLICATE, CONFLICT) else "rejected"}
            for event in verdict.events
        ],
    }
