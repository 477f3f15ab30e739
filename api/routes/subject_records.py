"""What is known of one subject of usage."""

from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from api.documentation import problems
from api.frames import JSON
from api.models import Output
from api.operating.subject_export import known_of
from api.paths import anything
from api.routes.event_list import EventOut
from api.wiring import TheEngine

router = APIRouter(prefix="/v1/subjects", tags=["customers"])
_encode = msgspec.json.Encoder(decimal_format="string").encode


class SubjectEvent(EventOut):
    """One event of a subject."""

    counts: bool = Field(description="false for one that was corrected, or replaced by a backfill")


class SubjectRecords(Output):
    """Everything that is known of a subject."""

    subject: str
    events: list[SubjectEvent] = Field(description="in the order of their acceptance")
    rejections: list[dict[str, Any]] = Field(description="events that were refused, as they came")
    records: dict[str, list[dict[str, Any]]] = Field(description="rows of the database that name it, by table")
    charge_lines: list[dict[str, Any]] = Field(description="of the customers who pay for it now, of every run")


@router.get(f"/{anything('subject')}/records", response_model=SubjectRecords, responses=problems(404))
def read_records(engine: TheEngine, subject: str) -> Response:
    """Everything that is known of a subject, in one document: for the person whose usage it is."""
    return Response(_encode(known_of(engine, subject)), media_type=JSON)
