"""Events that were taken, to look at."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from api.event_list import EventFilter, newest_events
from api.frames import JSON
from api.models import Output
from api.wiring import TheEngine
from store.errors import Refused

router = APIRouter(prefix="/v1/events", tags=["events"])

SEQUENCE_MAX = 2**63 - 1
_encode = msgspec.json.Encoder().encode


class EventOut(Output):
    """One usage event. Its `data` has declared properties as they are typed, and all others as they were sent."""

    sequence: int = Field(description="its place in the order of acceptance")
    source: str
    id: str
    type: str
    subject: str
    time: datetime
    received_at: datetime
    data: dict[str, Any]


class EventPage(Output):
    items: list[EventOut]
    next: int | None = Field(description="send it as `after` for the next page; null when there is none")


@router.get("", response_model=EventPage)
def list_events(
    engine: TheEngine,
    source: Annotated[str | None, Query()] = None,
    id: Annotated[str | None, Query()] = None,
    type: Annotated[str | None, Query()] = None,
    subject: Annotated[str | None, Query()] = None,
    start: Annotated[AwareDatetime | None, Query(alias="from", description="of `time`, inclusive")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="of `time`, exclusive")] = None,
    after: Annotated[int | None, Query(ge=1, le=SEQUENCE_MAX, description="the `next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Events that count, the newest first: every acknowledged event, less what corrections put out of force.

    Without a time it looks through all events there are; `from` and `to` keep it to their days.
    """
    if start is not None and end is not None and end <= start:
        raise Refused(["`to` is not after `from`"])
    wanted = EventFilter(source, id, type, subject, start=start, end=end)
    items = newest_events(engine.log, wanted, before=after, limit=limit)
    following = items[-1]["sequence"] if len(items) == limit else None
    return Response(_encode({"items": items, "next": following}), media_type=JSON)
