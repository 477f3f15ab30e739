"""Backfills: a range of usage is replaced by events that are staged, looked at, and then committed or dropped."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import AwareDatetime, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.backfill_preview import as_json
from api.documentation import body, problems, tables
from api.engine import Engine
from api.frames import JSON, json_response, media_of, table_response
from api.models import BatchAnswer, DecimalText, Input, Key, Output
from api.observing.request_ids import request_id_of
from api.routes.events import ANSWERS, ATOMIC, BODY, answer, status_of, submission
from api.wiring import After, Limit, TheEngine
from ingest.backfill_range import BackfillRange
from store.backfills import Backfill, BackfillState

router = APIRouter(prefix="/v1/backfills", tags=["events"])

NAMES_MAX = 1_000
NAMED_MAX = 100
BackfillId = Annotated[str, Path(description="of a backfill")]


class BackfillIn(Input):
    """The range that is replaced. Without `types` or `subjects` it is that of all of them."""

    from_: AwareDatetime = Field(alias="from", description="inclusive", examples=["2026-09-01T00:00:00Z"])
    to: AwareDatetime = Field(description="exclusive, not in the future", examples=["2026-10-01T00:00:00Z"])
    types: list[Key] = Field([], max_length=NAMES_MAX, description="only events of these types")
    subjects: list[Key] = Field([], max_length=NAMES_MAX, description="only events of these subjects")


class BackfillOut(Output):
    id: str
    state: BackfillState
    from_: datetime = Field(alias="from")
    to: datetime
    types: list[str]
    subjects: list[str]
    opened_at: datetime
    opened_sequence: int = Field(description="events accepted later than this one are not replaced")
    staged_events: int | None = Field(description="null when they are gone or cannot be read")
    committed_at: datetime | None
    ended_at: datetime | None = Field(description="when it was dropped or reverted")
    failure: str | None = Field(description="why an open one cannot be used; null while all is well")
    corrections: int = Field(description="corrections of its events; they count for as long as it does")


class Named(Output):
    source: str
    id: str


class RevertedOut(BackfillOut):
    ended_corrections: list[Named] = Field(
        description="the first 100 corrections of its events, which have ended with it; "
        "`GET /v1/events/corrections?backfill=` has all"
    )


class BackfillPage(Output):
    items: list[BackfillOut]
    next: str | None


class EventCounts(Output):
    replaced: int = Field(description="events that count without the backfill and do not with it")
    staged: int = Field(description="staged events that count with it")
    arrived_since: int = Field(description="events of the range that came after it was opened and count with it too")
    superseded: int = Field(
        description="events that came after it was opened and do not count with it: staged too, or a correction"
    )
    refused: int = Field(description="staged events that do not count: their identity stands outside the range")


class NamedEvent(Output):
    source: str
    id: str
    time: datetime


class SubjectChange(Output):
    customer: str | None
    subject: str
    before: DecimalText
    after: DecimalText
    difference: DecimalText
    events_before: int
    events_after: int


class MeterChange(Output):
    meter: str
    before: DecimalText
    after: DecimalText
    difference: DecimalText
    events_before: int
    events_after: int
    changed: int = Field(description="subjects whose usage changes")
    largest: list[SubjectChange]


class CustomerChange(Output):
    customer: str
    before: DecimalText
    after: DecimalText
    difference: DecimalText


class ChargeChange(Output):
    period: str = Field(examples=["2026-09"])
    currency: str
    before: DecimalText
    after: DecimalText
    difference: DecimalText
    changed: int = Field(description="customers whose charges change")
    largest: list[CustomerChange]


class PreviewOut(Output):
    """Usage in the time of the backfill by meter, and the charges of every month it touches, without it and with it."""

    backfill: str
    state: BackfillState
    events: EventCounts
    superseded: list[NamedEvent] = Field(description="the first 100: staged too, or a correction of what is replaced")
    refused: list[NamedEvent] = Field(description="the first 100 of them")
    usage: list[MeterChange]
    charges: list[ChargeChange]


@router.post("", status_code=201, response_model=BackfillOut, responses=problems(400, 409, 413, 507))
def open_backfill(engine: TheEngine, given: BackfillIn, response: Response) -> Response:
    """Open a backfill of a range. It changes nothing until it is committed; events may be posted as before meanwhile.

    Only one backfill may be open where ranges overlap.
    """
    wanted = BackfillRange(given.from_, given.to, tuple(given.types), tuple(given.subjects))
    record = engine.backfills.open(wanted)
    return json_response(_public(engine, record), 201, {"Location": f"/v1/backfills/{record.id}"})


@router.get("", response_model=BackfillPage, responses=problems(404))
def list_backfills(
    engine: TheEngine,
    state: Annotated[BackfillState | None, Query(description="only those in this state")] = None,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """Backfills from the newest to the oldest."""
    page = engine.store.backfills.page(state=state, after=after, limit=limit)
    following = page[-1].id if len(page) == limit else None
    return json_response({"items": [_public(engine, record) for record in page], "next": following})


@router.get("/{backfill}", response_model=BackfillOut, responses=problems(404))
def read_backfill(engine: TheEngine, backfill: BackfillId) -> Response:
    return json_response(_public(engine, engine.store.backfills.get(backfill)))


@router.post(
    "/{backfill}/events",
    response_model=BatchAnswer,
    responses={**ANSWERS, **problems(400, 404, 409, 413, 415, 507)},
    openapi_extra={
        **body(BODY, "events as `POST /v1/events` takes them, each of them in the range of the backfill"),
        "parameters": [ATOMIC],
    },
)
async def load_events(request: Request, engine: TheEngine, backfill: BackfillId) -> Response:
    """Stage a batch of events in an open backfill.

    What is called accepted or duplicate is durable and staged once, also after a restart; an event outside the range is
    rejected as `outside_backfill`. Those that are not taken are listed by `GET /v1/rejections?backfill=`.
    """
    staged = await run_in_threadpool(engine.backfills.staged, backfill)
    submit = submission(request, staged, await request.body(), request_id_of(request))
    verdict = await request.app.state.futures.wrap(await submit)
    return json_response(answer(verdict), status_of(verdict))


@router.get(
    "/{backfill}/preview",
    response_model=PreviewOut,
    responses={
        200: tables("All changes of `part`: one row a meter and subject, or a month, currency and customer"),
        **problems(404, 406, 409),
    },
)
def preview_backfill(
    engine: TheEngine,
    backfill: BackfillId,
    limit: Annotated[int, Query(ge=0, le=10_000, description="of the largest changes of each list")] = 10,
    part: Annotated[Literal["usage", "charges"], Query(description="of a table; JSON has both")] = "usage",
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """What the backfill does to usage, and with the catalog in force to the charges of every month that it touches.

    Computed anew as of now by the code that answers queries and makes bills; nothing is written. Of a committed one it
    tells what its commit did.
    """
    media = media_of(accept)
    found = engine.preview_backfill(backfill)
    if media != JSON:
        return table_response(found.usage if part == "usage" else found.charges, media, f"{backfill}-{part}")
    return json_response(as_json(found, limit))


@router.post("/{backfill}/commit", response_model=BackfillOut, responses=problems(404, 409, 507))
def commit_backfill(engine: TheEngine, backfill: BackfillId) -> Response:
    """Let the staged events count instead of what they replace: all at one moment, durable when it is answered.

    Runs recorded earlier keep their lines. Said again it answers the same.
    """
    return json_response(_public(engine, engine.backfills.commit(backfill)))


@router.post("/{backfill}/drop", response_model=BackfillOut, responses=problems(404, 409))
def drop_backfill(engine: TheEngine, backfill: BackfillId) -> Response:
    """Forget an open backfill and its staged events. Said again it answers the same."""
    return json_response(_public(engine, engine.backfills.drop(backfill)))


@router.post("/{backfill}/revert", response_model=RevertedOut, responses=problems(404, 409))
def revert_backfill(engine: TheEngine, backfill: BackfillId) -> Response:
    """Let what a committed backfill has replaced count again. Where ranges overlap the newest is reverted first.

    The corrections of its events end with it, and are named. Said again it answers the same.
    """
    record = engine.backfills.revert(backfill)
    ended = engine.backfills.corrections(record).head(NAMED_MAX).to_dicts()
    return json_response({**_public(engine, record), "ended_corrections": ended})


def _public(engine: Engine, record: Backfill) -> dict[str, Any]:
    return {
        "id": record.id,
        "state": record.state,
        "from": record.range_start,
        "to": record.range_end,
        "types": record.types,
        "subjects": record.subjects,
        "opened_at": record.opened_at,
        "opened_sequence": record.opened_sequence,
        "staged_events": engine.backfills.events(record),
        "committed_at": record.committed_at,
        "ended_at": record.ended_at,
        "failure": engine.backfills.failure(record.id),
        "corrections": engine.backfills.corrections(record).height,
    }
