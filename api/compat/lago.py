"""Events as Lago's client sends them, and answers as it reads them.

    transaction_id                                     -> id, with the source "lago"
    code                                               -> type
    external_subscription_id, or external_customer_id  -> subject
    timestamp (seconds since 1970, from its digits)    -> time
    properties, and precise_total_amount_cents         -> data

Nothing else is looked at here: whether an event is good is the log's to say. Source of the names and of the shape of
errors: the client's models and the API's published error format.
"""

import re
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial

import msgspec
import orjson
from fastapi import APIRouter, Request
from msgspec import Raw, Struct
from starlette.responses import Response

from api.compat.models import BATCH_BODY, LAGO_ANSWERS, BatchOfLago
from api.compat.submission import refused, verdict_on
from api.engine import Engine
from api.frames import JSON
from api.wiring import TheEngine
from ingest.errors import BodyTooLarge
from ingest.verdicts import BatchVerdict, EventVerdict

router = APIRouter(tags=["lago"])

SOURCE = "lago"
AMOUNT = "precise_total_amount_cents"
_NULL = Raw(b"null")
_SECONDS = re.compile(rb'"?(\d{1,12})(?:\.(\d+))?"?')
_FIELDS = {
    "conflict": ("transaction_id", "value_already_exist"),
    "missing_id": ("transaction_id", "value_is_mandatory"),
    "missing_type": ("code", "value_is_mandatory"),
    "missing_subject": ("external_subscription_id", "value_is_mandatory"),
    "invalid_time": ("timestamp", "invalid_format"),
    "time_without_zone": ("timestamp", "invalid_format"),
    "time_in_future": ("timestamp", "time_in_future"),
}
"""The field and the error code that a verdict is told by; the others are told by our own code, under `event`."""


class Event(Struct):
    """One event; its values as they came, so that no digit is lost."""

    transaction_id: Raw = _NULL
    external_subscription_id: Raw = _NULL
    external_customer_id: Raw = _NULL
    code: Raw = _NULL
    timestamp: Raw = _NULL
    precise_total_amount_cents: Raw = _NULL
    properties: Raw = _NULL


class _One(Struct):
    event: Event


class _Many(Struct):
    events: list[Event]


class _CloudEvent(Struct):
    id: Raw
    type: Raw
    subject: Raw
    time: Raw
    data: Raw
    specversion: str = "1.0"
    source: str = SOURCE


class _Answer(Struct):
    transaction_id: Raw
    external_subscription_id: Raw
    code: Raw
    timestamp: Raw
    precise_total_amount_cents: Raw
    properties: Raw
    created_at: Raw
    lago_id: None = None
    lago_customer_id: None = None
    lago_subscription_id: None = None


_read_one = msgspec.json.Decoder(_One).decode
_read_many = msgspec.json.Decoder(_Many).decode
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_write = msgspec.json.Encoder().encode


@router.post("/api/v1/events/batch", response_model=BatchOfLago, responses=LAGO_ANSWERS, openapi_extra=BATCH_BODY)
async def post_batch(request: Request, engine: TheEngine) -> Response:
    """Take a batch of Lago's client. What is wrong with an event is told by its index; the others are kept."""
    body = await request.body()
    try:
        events = _read_many(body).events
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _unreadable(error)
    if not events:
        return _invalid({"events": ["no_events"]})
    try:
        verdict = await verdict_on(len(body), partial(_submit, engine, events))
    except BodyTooLarge as error:
        return _invalid({"events": ["too_many_events"]}, {"message": str(error)})
    wrong = refused(verdict)
    if wrong:
        return _invalid({str(v.index): _details(v) for v in wrong}, {str(v.index): v.message for v in wrong})
    return _ok({"events": _answers(events, engine.now())})


async def post_event(body: bytes, engine: Engine) -> Response:
    """Take a body with one event."""
    try:
        event = _read_one(body).event
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _unreadable(error)
    wrong = refused(await verdict_on(len(body), partial(_submit, engine, [event])))
    if wrong:
        return _invalid(_details(wrong[0]), {"message": wrong[0].message})
    return _ok({"event": _answers([event], engine.now())[0]})


def cloud_events(events: Sequence[Event]) -> bytes:
    """The same events as a batch of CloudEvents in JSON."""
    return _write([_CloudEvent(e.transaction_id, e.code, _subject(e), _time(e.timestamp), _data(e)) for e in events])


def _submit(engine: Engine, events: Sequence[Event]) -> Future[BatchVerdict]:
    return engine.log.submit(cloud_events(events), "application/cloudevents-batch+json")


def _subject(event: Event) -> Raw:
    return event.external_customer_id if _is_null(event.external_subscription_id) else event.external_subscription_id


def _time(timestamp: Raw) -> Raw:
    """RFC 3339 with the digits of the timestamp; what is no number of seconds stays, for the log to judge."""
    seconds = _SECONDS.fullmatch(bytes(timestamp))
    if seconds is None:
        return timestamp
    try:
        whole = datetime.fromtimestamp(int(seconds[1]), UTC)
    except (ValueError, OverflowError):
        return timestamp
    fraction = f".{seconds[2].decode()}" if seconds[2] else ""
    return Raw(f'"{whole:%Y-%m-%dT%H:%M:%S}{fraction}Z"'.encode())


def _data(event: Event) -> Raw:
    """The properties, and the amount beside them; a property of that name stays."""
    if _is_null(event.precise_total_amount_cents):
        return event.properties
    try:
        properties = {} if _is_null(event.properties) else _read_object(event.properties)
    except msgspec.ValidationError:
        return event.properties
    return Raw(_write({AMOUNT: event.precise_total_amount_cents} | properties))


def _is_null(value: Raw) -> bool:
    return bytes(value) == b"null"


def _answers(events: Sequence[Event], now: datetime) -> list[_Answer]:
    created = Raw(f'"{now:%Y-%m-%dT%H:%M:%SZ}"'.encode())
    return [
        _Answer(
            event.transaction_id,
            event.external_subscription_id,
            event.code,
            created if _is_null(event.timestamp) else _time(event.timestamp),
            event.precise_total_amount_cents,
            event.properties,
            created,
        )
        for event in events
    ]


def _details(verdict: EventVerdict) -> dict[str, list[str]]:
    field, code = _FIELDS.get(verdict.code, ("event", verdict.code))
    return {field: [code]}


def _ok(content: object) -> Response:
    return Response(_write(content), media_type=JSON)


def _invalid(details: object, extra: object = None) -> Response:
    return _failed(
        422, "Unprocessable Entity", code="validation_errors", error_details=details, error_extra=extra or {}
    )


def _unreadable(error: Exception) -> Response:
    return _failed(400, f"BadRequest: {error}")


def _failed(status: int, error: str, **more: object) -> Response:
    return Response(orjson.dumps({"status": status, "error": error, **more}), status, media_type=JSON)
