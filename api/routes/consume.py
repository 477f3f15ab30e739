"""Check and record in one step: what is answered 200 is within every hard limit, and durable."""

from decimal import Decimal
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from msgspec import Raw
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.consuming import Consumed, Started
from api.documentation import Responses, body, problems
from api.engine import Engine
from api.feature_events import BATCH, by_feature, counts_events, event_of, json_of, refuse_other_amount, times_of
from api.frames import JSON, json_response
from api.lease_models import ConsumeIn, ConsumeOut
from api.plain_route import PlainRoute
from api.quota_answers import body_of, headers_of, status_of
from api.wiring import TheEngine
from ingest.errors import UnreadableBody
from ingest.lift import as_usage
from store.errors import Refused

router = APIRouter(prefix="/v1/quota", tags=["quota"], route_class=PlainRoute)

FEATURES_MAX = 64
_EVENT_SCHEMA = {
    "type": "object",
    "required": ["event"],
    "additionalProperties": False,
    "properties": {
        "event": {"type": "object", "description": "a CloudEvent, as /v1/events takes it"},
        "features": {
            "type": "array",
            "items": {"type": "string"},
            "maxItems": FEATURES_MAX,
            "description": "that must allow it; unless given, all that it counts in and the customer is entitled to",
        },
    },
}
_EXAMPLE = {"id": "req-0001", "source": "gateway-1", "subject": "acme", "feature": "tokens", "amount": "1200"}
_BODY = body({JSON: _EXAMPLE}, "an event, or an amount of a feature of which an event is made")
_BODY["requestBody"]["content"][JSON]["schema"] = {"oneOf": [_EVENT_SCHEMA, ConsumeIn.model_json_schema()]}
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_read_names = msgspec.json.Decoder(list[str]).decode
_REFUSED: Responses = {
    402: {"model": ConsumeOut, "description": "Not without more credit or another plan; nothing is recorded"},
    403: {"model": ConsumeOut, "description": "No plan gives it, or the customer is suspended; nothing is recorded"},
    429: {"model": ConsumeOut, "description": "Not now; `Retry-After` is when its window ends; nothing is recorded"},
}


@router.post(
    "/consume",
    response_model=ConsumeOut,
    responses={**_REFUSED, **problems(400, 409, 413, 503, 507)},
    openapi_extra=_BODY,
)
async def consume_quota(request: Request, engine: TheEngine) -> Response:
    """Take usage if every quota that it counts in has room for it, and record it, in one durable step.

    It is recorded as an event with an identity: the same request again is answered as a duplicate and counts nothing,
    also where nothing is left by now. However many ask at the same time, a hard limit is never passed.
    """
    raw = await request.body()
    begun = await run_in_threadpool(_begun, engine, raw)
    if isinstance(begun, Consumed):
        return _answer(engine, begun)
    await request.app.state.futures.wrap(begun.verdict)
    return _answer(engine, await run_in_threadpool(engine.consuming.end, begun))


def _begun(engine: Engine, raw: bytes) -> Consumed | Started:
    """The event in the digits that it was sent in, or those that an amount becomes."""
    try:
        members = _read_object(raw)
        features = _read_names(members["features"]) if "features" in members and "event" in members else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableBody(f"the body is no object of `event` and `features`, nor of an amount: {error}") from error
    if "event" not in members:
        given = _read_amount(raw)
        return engine.consuming.begin(_events_of(engine, given), [given.feature], was_used=given.was_used)
    if bytes(members["event"]).lstrip()[:1] == b"[":
        raise Refused(["`event` is an array; consume one event at a time"])
    if unknown := sorted(members.keys() - {"event", "features"}):
        raise Refused([f"{unknown[0][:80]!r} is not a member of what `consume` takes beside `event`: `features` is"])
    if features is not None and not 0 < len(features) <= FEATURES_MAX:
        raise Refused([f"{len(features)} features; name 1 to {FEATURES_MAX}, or leave `features` out for all"])
    return engine.consuming.begin(bytes(members["event"]), None if features is None else list(dict.fromkeys(features)))


def _read_amount(raw: bytes) -> ConsumeIn:
    try:
        return ConsumeIn.model_validate_json(raw)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


def _events_of(engine: Engine, given: ConsumeIn) -> bytes:
    """The events that count as an amount: one, or as many where each counts one. Raises Refused where none do."""
    amount, meter = Decimal(given.amount), engine.in_force.meter_of(given.feature)
    times = None if counts_events(meter) and amount == 1 else times_of(meter, amount)
    event = event_of(meter, given.source, given.id, given.subject, amount, given.time, given.data)
    events = json_of(event, times)
    screened = engine.log.screened(events, BATCH)
    if not screened.rejected:
        counted = by_feature(engine.quota.amounts(as_usage(screened.events, engine.log.declared)))
        refuse_other_amount(meter, amount, counted.get(given.feature, Decimal(0)))
    return events


def _answer(engine: Engine, consumed: Consumed) -> Response:
    engine.quota.answers.add_all("consume", [item.reason for item in consumed.items])
    items: list[dict[str, Any]] = [body_of(item) for item in consumed.items]
    content = {"allowed": consumed.allowed, "duplicate": consumed.duplicate, "items": items}
    if consumed.allowed:
        return json_response(content)
    worst = min(consumed.items, key=status_rank)
    return json_response(content, status_of(worst), headers_of(worst, engine.now()))


def status_rank(answer: Any) -> int:
    """403 before 402 before 429: what waiting helps least against is answered."""
    return (403, 402, 429).index(status_of(answer))
