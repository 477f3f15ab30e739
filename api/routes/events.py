"""Usage goes in: the way of an event from the body to its verdict."""

import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import asdict
from functools import partial

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.documentation import Responses, body, problems
from api.frames import ARROW, CSV, JSON, PARQUET, json_response
from api.models import BatchAnswer
from api.observing.request_ids import request_id_of
from api.plain_route import PlainRoute
from api.wiring import TheEngine
from ingest.decode import unpack
from ingest.decode.binary_mode import is_binary_mode, structured_event
from ingest.errors import Overloaded
from ingest.log import UsageLog
from ingest.verdicts import CONFLICT, DUPLICATE, BatchVerdict
from store.errors import Refused

router = APIRouter(prefix="/v1/events", tags=["events"], route_class=PlainRoute)

DECODED_AT_ONCE_BYTES = 16 * 1024
WAITING_BODIES_MAX = 64
CLOUDEVENT = "application/cloudevents+json"

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
BODY = {
    "application/cloudevents-batch+json": [_EVENT],
    "application/cloudevents+json": _EVENT,
    JSON: [_EVENT],
    "application/x-ndjson": None,
    "application/jsonl": None,
    CSV: None,
    ARROW: None,
    PARQUET: None,
}
ATOMIC = {
    "name": "atomic",
    "in": "query",
    "description": "take all events of the batch, or none: then the answer is 422 with what is wrong",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
}
ANSWERS: Responses = {
    207: {"model": BatchAnswer, "description": "Some events are rejected or conflict; the others are kept"},
    422: {"model": BatchAnswer, **problems(422)[422], "description": "No event of the batch is kept"},
}


@router.post(
    "",
    response_model=BatchAnswer,
    responses={**ANSWERS, **problems(400, 413, 415, 503, 507)},
    openapi_extra={
        **body(BODY, "one CloudEvent or many: JSON, one JSON a line, or a table with one row for each"),
        "parameters": [ATOMIC],
    },
)
async def post_events(request: Request, engine: TheEngine) -> Response:
    """Take a batch of usage events. Each is accepted, or named in the answer with what is wrong with it.

    What is called accepted or duplicate is durable and counted once, however often it is sent: a batch may always be
    sent again as it was. 200 when every event is one of these, 207 when some are not, 422 when none is kept. Those that
    are not are listed by `GET /v1/rejections`, unless the batch is atomic. A CloudEvent in binary mode has its
    attributes in `ce-` headers. A body may have `Content-Encoding: gzip` or `zstd`.
    """
    submit = submission(request, engine.log, await request.body(), request_id_of(request))
    verdict = await request.app.state.futures.wrap(await submit)
    return json_response(answer(verdict), status_of(verdict))


def submission(request: Request, log: UsageLog, body: bytes, request_id: str) -> "Awaitable[Future[BatchVerdict]]":
    """Hand a body to `log`, as the headers and parameters of the request say."""
    content_type, encoding = request.headers.get("content-type", ""), request.headers.get("content-encoding", "")
    if is_binary_mode(request.scope["headers"]):
        data = unpack(body, CLOUDEVENT, encoding, log.limits)
        body, content_type, encoding = structured_event(request.scope["headers"], data), CLOUDEVENT, ""
    submit = partial(
        log.submit,
        body,
        content_type,
        content_encoding=encoding,
        is_atomic=is_atomic(request),
        request_id=request_id,
    )
    return submitted(submit, is_large=len(body) > DECODED_AT_ONCE_BYTES or bool(encoding))


async def submitted(submit: "Callable[[], Future[BatchVerdict]]", *, is_large: bool) -> "Future[BatchVerdict]":
    """Decode a small body here and a large one in a thread (docs/decisions/0001): quota checks do not wait for it."""
    if not is_large:
        return submit()
    if _decoders.statistics().tasks_waiting >= WAITING_BODIES_MAX:
        raise Overloaded(f"{WAITING_BODIES_MAX} bodies wait to be decoded; send it again after a moment")
    return await to_thread.run_sync(submit, limiter=_decoders)


def is_atomic(request: Request) -> bool:
    """Read by hand: to declare it to FastAPI costs more than to read it."""
    if not request.scope["query_string"]:
        return False
    text = request.query_params.get("atomic", "false")
    if text not in ("true", "false"):
        raise Refused([f"atomic is {text[:80]!r}; send true or false"])
    return text == "true"


def status_of(verdict: BatchVerdict) -> int:
    refused = verdict.conflict + verdict.rejected
    nothing_kept = refused == verdict.total or verdict.is_atomic_refusal
    return 200 if not refused else 422 if nothing_kept else 207


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
