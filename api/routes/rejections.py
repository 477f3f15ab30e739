"""Events that were refused or conflict: listed, downloaded, corrected and replayed."""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import orjson
from fastapi import APIRouter, Header, Path, Query, Request
from msgspec import Raw
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from api.documentation import problems
from api.engine import Engine
from api.frames import JSON, json_response, media_of
from api.models import Output
from api.replaying import replay_where_sent
from api.wiring import TheEngine
from ingest.errors import UnreadableBody
from ingest.rejections import Rejection, RejectionFilter
from ingest.rejections_replay import ReplayedAgain
from ingest.verdicts import ACCEPTED, CONFLICT, DUPLICATE
from store.errors import NotFound, Refused

router = APIRouter(prefix="/v1/rejections", tags=["events"])

NDJSON = "application/x-ndjson"
REPLAYED_AT_ONCE_MAX = 10_000
SEQUENCE_MAX = 2**63 - 1

Verdict = Literal["rejected", "conflict"]


class RejectionOut(Output):
    """One event that was not taken, as it came. `body` is its text; `body_base64` its bytes, where they are no text."""

    rejection: int = Field(description="its number; never used again")
    received_at: datetime
    request_id: str | None
    content_type: str
    index: int = Field(description="its place in the batch, from 0")
    verdict: Verdict
    code: str
    message: str
    source: str | None
    id: str | None
    type: str | None
    subject: str | None
    body: str | None
    body_base64: str | None
    is_truncated: bool = Field(description="the body was longer than what is kept")
    backfill: str | None = Field(description="the backfill that it was to be staged in; null for an ordinary event")
    replayed_at: datetime | None
    replayed_as: Literal["accepted", "duplicate"] | None


class RejectionPage(Output):
    items: list[RejectionOut]
    next: int | None = Field(description="`after` of the next page; null on the last")


class ReplayedEvent(Output):
    """A rejection whose event was not accepted this time either, or was there already."""

    rejection: int
    source: str | None
    id: str | None
    verdict: Literal["duplicate", "conflict", "rejected"]
    code: str
    message: str


class ReplayOut(Output):
    """What became of the replayed events. Those accepted or duplicates are marked, and not replayed again."""

    accepted: int
    duplicates: int
    conflicts: int
    rejected: int
    already_replayed: int
    events: list[ReplayedEvent]
    next: int | None = Field(description="`after` to go on with the same filter; null when nothing is left")


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    code: str | None = None
    source: str | None = None
    subject: str | None = None
    verdict: Verdict | None = None
    backfill: str | None = None


class _ReplayIn(msgspec.Struct, forbid_unknown_fields=True, rename={"wanted": "filter"}):
    """Not a Pydantic model: corrections keep the digits of their numbers."""

    rejections: Annotated[
        list[Annotated[int, msgspec.Meta(ge=1, le=SEQUENCE_MAX)]], msgspec.Meta(max_length=10_000)
    ] = []
    wanted: _Wanted | None = None
    corrections: dict[str, Raw] = {}
    after: Annotated[int, msgspec.Meta(ge=0, le=SEQUENCE_MAX)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=REPLAYED_AT_ONCE_MAX)] = 1000


_REPLAY_BODY = {
    "requestBody": {
        "required": True,
        "description": "Either `rejections` by number or a `filter`; `corrections` are JSON merge patches by number",
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "rejections": {
                            "type": "array",
                            "items": {"type": "integer", "minimum": 1, "maximum": SEQUENCE_MAX},
                            "maxItems": REPLAYED_AT_ONCE_MAX,
                        },
                        "filter": {
                            "type": "object",
                            "description": "those that fit and were not replayed yet; `{}` is all of them",
                            "additionalProperties": False,
                            "properties": {
                                "code": {"type": "string"},
                                "source": {"type": "string"},
                                "subject": {"type": "string"},
                                "verdict": {"type": "string", "enum": ["rejected", "conflict"]},
                                "backfill": {"type": "string", "description": "only those sent into this backfill"},
                            },
                        },
                        "corrections": {
                            "type": "object",
                            "description": "number of a rejection -> JSON merge patch (RFC 7396) of its event",
                            "additionalProperties": {"type": "object"},
                        },
                        "after": {"type": "integer", "minimum": 0, "maximum": SEQUENCE_MAX, "default": 0},
                        "limit": {"type": "integer", "minimum": 1, "maximum": REPLAYED_AT_ONCE_MAX, "default": 1000},
                    },
                },
                "example": {"rejections": [42], "corrections": {"42": {"time": "2026-10-01T12:00:00Z"}}},
            }
        },
    }
}
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_read_replay = msgspec.json.Decoder(_ReplayIn).decode

After = Annotated[int, Query(ge=0, le=SEQUENCE_MAX, description="the `next` of the page before; 0 is from the first")]


@router.get(
    "",
    response_model=RejectionPage,
    responses={
        200: {"description": "A page; or all of them, one a line", "content": {NDJSON: {"schema": {"type": "string"}}}},
        **problems(406),
    },
)
def list_rejections(
    engine: TheEngine,
    code: Annotated[str | None, Query(description="only with this code")] = None,
    source: Annotated[str | None, Query()] = None,
    subject: Annotated[str | None, Query()] = None,
    verdict: Annotated[Verdict | None, Query()] = None,
    backfill: Annotated[str | None, Query(description="only those that were sent into this backfill")] = None,
    replayed: Annotated[bool | None, Query(description="only those that were, or were not, replayed")] = None,
    after: After = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Refused and conflicting events, oldest first. JSON comes in pages; `application/x-ndjson` has all of them."""
    wanted = RejectionFilter(code, source, subject, verdict, backfill, replayed)
    rejections = engine.log.rejections
    if media_of(accept, (JSON, NDJSON)) == NDJSON:
        headers = {"Content-Disposition": 'attachment; filename="rejections.ndjson"'}
        return StreamingResponse(_lines(rejections.read(wanted, after=after)), headers=headers, media_type=NDJSON)
    page = rejections.page(wanted, after=after, limit=limit)
    following = page[-1].sequence if len(page) == limit else None
    return json_response({"items": [_public(rejection) for rejection in page], "next": following})


@router.get("/{rejection}", response_model=RejectionOut, responses=problems(404))
def read_rejection(
    engine: TheEngine, rejection: Annotated[int, Path(ge=1, le=SEQUENCE_MAX, description="its number")]
) -> Response:
    return json_response(_public(_existing(engine, [rejection])[0]))


@router.post(
    "/replay",
    response_model=ReplayOut,
    responses=problems(400, 404, 413, 503, 507),
    openapi_extra=_REPLAY_BODY,
)
async def replay_rejections(request: Request, engine: TheEngine) -> Response:
    """Send rejections again, as they are or corrected. Each goes the way of a new event, and is counted once.

    What was replayed before is left alone, so the same request may be sent again. What is refused again stays. An event
    that was sent into a backfill goes into that again, while it is open; then it is refused as `backfill_not_open`.
    """
    given = _given(await request.body())
    return json_response(await run_in_threadpool(_replayed, engine, given))


def _given(body: bytes) -> _ReplayIn:
    try:
        given = _read_replay(body)
    except msgspec.ValidationError as error:
        raise Refused([str(error)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableBody(f"the body is not JSON in UTF-8: {error}") from error
    wrong = [name for name in given.corrections if _NUMBER.fullmatch(name) is None]
    if wrong:
        raise Refused([f"corrections has {wrong[0][:80]!r}, which is not the number of a rejection"])
    if bool(given.rejections) == (given.wanted is not None):
        raise Refused(["send either `rejections` or `filter`"])
    return given


def _replayed(engine: Engine, given: _ReplayIn) -> dict[str, Any]:
    chosen, following = _chosen(engine, given)
    waiting = [rejection for rejection in chosen if rejection.replayed_at is None]
    corrections = {int(number): bytes(patch) for number, patch in given.corrections.items()}
    try:
        done = replay_where_sent(engine, waiting, corrections)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused([f"a correction cannot be applied: {error}"]) from error
    outcomes = [one.outcome for one in done]
    return {
        "accepted": outcomes.count(ACCEPTED),
        "duplicates": outcomes.count(DUPLICATE),
        "conflicts": outcomes.count(CONFLICT),
        "rejected": outcomes.count("rejected"),
        "already_replayed": len(chosen) - len(waiting),
        "events": [_event(one) for one in done if one.event is not None],
        "next": following,
    }


def _chosen(engine: Engine, given: _ReplayIn) -> tuple[list[Rejection], int | None]:
    if given.wanted is None:
        return _existing(engine, given.rejections), None
    wanted = replace(RejectionFilter(**msgspec.structs.asdict(given.wanted)), is_replayed=False)
    page = engine.log.rejections.page(wanted, after=given.after, limit=given.limit)
    return page, page[-1].sequence if len(page) == given.limit else None


def _existing(engine: Engine, numbers: Sequence[int]) -> list[Rejection]:
    found = engine.log.rejections.find(numbers)
    for number in numbers:
        if number not in found:
            raise NotFound("rejection", str(number))
    return list(found.values())


def _event(one: ReplayedAgain) -> dict[str, Any]:
    assert one.event is not None
    named = {name: getattr(one.event, name) for name in ("source", "id", "code", "message")}
    return {"rejection": one.rejection.sequence, "verdict": one.outcome, **named}


def _lines(rejections: Iterator[Rejection]) -> Iterator[bytes]:
    for rejection in rejections:
        yield orjson.dumps(_public(rejection), option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def _public(rejection: Rejection) -> dict[str, Any]:
    fields = asdict(rejection)
    body: bytes = fields.pop("body")
    try:
        text, encoded = body.decode(), None
    except UnicodeDecodeError:
        text, encoded = None, b64encode(body).decode()
    return {"rejection": fields.pop("sequence"), **fields, "body": text, "body_base64": encoded}
