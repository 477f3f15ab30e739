"""Signals in the order in which they were recorded: in pages, or as a stream."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from api.documentation import problems
from api.frames import JSON, json_response, media_of
from api.models import Key, SignalOut, SignalPage
from api.signal_stream import MEDIA
from api.wiring import TheEngine
from store.errors import Refused
from store.signals import Selection

router = APIRouter(prefix="/v1/signals", tags=["quota"])

SELECTED_MAX = 100
SEQUENCE_MAX = 2**63 - 1
_STREAM = {"description": "A page, or a stream of events", "content": {MEDIA: {"schema": {"type": "string"}}}}
Keys = Annotated[list[Key] | None, Query(max_length=SELECTED_MAX)]


@router.get("", response_model=SignalPage, responses={200: _STREAM, **problems(406, 503)})
async def list_signals(
    request: Request,
    engine: TheEngine,
    after: Annotated[
        int, Query(ge=0, le=SEQUENCE_MAX, description="the `next` of the page before; 0 is from the first")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    customer: Keys = None,
    type: Keys = None,
    last_event_id: Annotated[str | None, Header(description="of a stream: it goes on behind this event")] = None,
) -> Response:
    """The signals behind `after`. Each has a sequence that never changes; reading on from `next` misses none. With
    `Accept: text/event-stream` they are a stream that does not end: each signal as soon as it is recorded."""
    selected = Selection(tuple(type or ()), tuple(customer or ()))
    if media_of(request.headers.get("accept"), (JSON, MEDIA)) == MEDIA:
        is_welcome = partial(engine.access.is_welcome, request.state.caller)
        events = engine.signalling.streams.stream(_behind(last_event_id, after), selected, is_welcome)
        return StreamingResponse(events, media_type=MEDIA, headers={"Cache-Control": "no-store"})
    page = await run_in_threadpool(engine.signals, after, limit, selected)
    found = SignalPage(items=[SignalOut.model_validate(s) for s in page], next=page[-1].sequence if page else after)
    return json_response(found.model_dump())


def _behind(last_event_id: str | None, after: int) -> int:
    if last_event_id is None or last_event_id == "":
        return after
    if not (last_event_id.isascii() and last_event_id.isdecimal() and int(last_event_id) <= SEQUENCE_MAX):
        raise Refused([f"Last-Event-ID {last_event_id!r} is no id of an event of this stream"])
    return int(last_event_id)
