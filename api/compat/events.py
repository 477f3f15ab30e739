"""`/api/v1/events` is a path of OpenMeter and of Lago; what is in the body of a POST says whose client sent it.

OpenMeter's sends CloudEvents, one or an array; Lago's an object with the one member `event`. Only OpenMeter's reads.
"""

import re
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

import msgspec
import polars as pl
from fastapi import APIRouter, Query, Request
from msgspec import UNSET, Raw, Struct, UnsetType
from pydantic import AwareDatetime, BaseModel, Field
from starlette.responses import Response

from api.compat import lago
from api.compat.models import EVENT_ANSWERS, EVENT_BODY, ListedEvent
from api.compat.submission import refused, verdict_on
from api.errors import problem_response
from api.event_list import EventFilter, newest_events
from api.frames import JSON
from api.wiring import TheEngine
from ingest.verdicts import CONFLICT, BatchVerdict

router = APIRouter(tags=["openmeter"])

SHOWN_EVENTS_MAX = 5
LISTED_HOURS = timedelta(hours=72)
_encode = msgspec.json.Encoder().encode
_OBJECT = re.compile(rb"[ \t\r\n]*\{")


class EventQuestion(BaseModel):
    """Which events are listed; every end of a time is inclusive, and `id` and `subject` may be a part."""

    client_id: str | None = Field(None, alias="clientId")
    ingested_from: AwareDatetime | None = Field(None, alias="ingestedAtFrom")
    ingested_to: AwareDatetime | None = Field(None, alias="ingestedAtTo")
    id: str | None = None
    subject: str | None = None
    customer_id: list[str] | None = Field(None, alias="customerId")
    start: AwareDatetime | None = Field(None, alias="from")
    end: AwareDatetime | None = Field(None, alias="to")
    limit: int = Field(100, ge=1, le=100)

    def filter(self, now: datetime, customers: pl.DataFrame) -> EventFilter:
        """The same in our words; `customers` is SUBJECT."""
        subjects = customers.filter(pl.col("customer").is_in(self.customer_id or []))["subject"]
        return EventFilter(
            id_contains=self.id,
            subject_contains=self.subject,
            subjects=None if self.customer_id is None else tuple(subjects),
            start=self.start or now - LISTED_HOURS,
            end=_behind(self.end),
            received_start=self.ingested_from,
            received_end=_behind(self.ingested_to),
        )


def _behind(end: datetime | None) -> datetime | None:
    """The first instant that is later."""
    if end is None:
        return None
    try:
        return end + timedelta(microseconds=1)
    except OverflowError:
        return None


class _Either(Struct):
    event: Raw | UnsetType = UNSET
    id: Raw | UnsetType = UNSET
    source: Raw | UnsetType = UNSET


@router.post(
    "/api/v1/events",
    tags=["lago"],
    response_model=None,
    responses=EVENT_ANSWERS,
    openapi_extra=EVENT_BODY,
)
async def post_events(request: Request, engine: TheEngine) -> Response:
    """Take events of OpenMeter's client, or one of Lago's: the body says whose it is.

    OpenMeter's takes nothing but 204 for success, Lago's reads the event from a 200. Sending it again is harmless.
    """
    body = await request.body()
    content_type, encoding = request.headers.get("content-type", ""), request.headers.get("content-encoding", "")
    if not encoding and _is_from_lago(body, content_type):
        return await lago.post_event(body, engine)
    submit = partial(engine.log.submit, body, content_type, content_encoding=encoding)
    return _answer(await verdict_on(len(body), submit))


@router.get("/api/v1/events", response_model=list[ListedEvent])
def list_events(engine: TheEngine, question: Annotated[EventQuestion, Query()]) -> Response:
    """Events that count, the newest first, as OpenMeter's client reads them; of the last 72 hours, unless `from` is
    given."""
    customers = engine.store.customers.subjects_frame()
    wanted = question.filter(engine.now(), customers)
    items = newest_events(engine.log, wanted, before=None, limit=question.limit)
    customer_of = dict(customers.select("subject", "customer").iter_rows())
    return Response(_encode([_listed(item, customer_of.get(item["subject"])) for item in items]), media_type=JSON)


def _listed(item: dict[str, Any], customer: str | None) -> dict[str, Any]:
    event = {name: item[name] for name in ("id", "source", "type", "subject", "time", "data")}
    times = {"ingestedAt": item["received_at"], "storedAt": item["received_at"]}
    owner = {} if customer is None else {"customerId": customer}
    return {"event": {"specversion": "1.0", **event}, **times, **owner}


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
