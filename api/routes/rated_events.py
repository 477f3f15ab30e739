"""Events by their share of charge lines: of a whole run, and those behind one line."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import polars as pl
from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response, StreamingResponse

from api.documentation import problems, streams
from api.event_list import shown_event
from api.frames import ARROW, CSV, JSON, PARQUET, media_of
from api.line_models import EventBehindPage
from api.rated_events import SHARE
from api.table_streams import NDJSON, STREAMED, stream_response
from api.wiring import TheEngine
from rating.core.money import plain

router = APIRouter(prefix="/v1", tags=["rating"])

_encode = msgspec.json.Encoder().encode
_LINES_TOGETHER = 10_000


@router.get(
    "/rating-runs/{run_id}/rated-events",
    response_class=StreamingResponse,
    responses={200: streams("Every event with its share of its charge line"), **problems(404, 406, 409)},
)
def list_rated_events(
    engine: TheEngine,
    run_id: Annotated[str, Path(description="of a rating run")],
    customer: Annotated[str | None, Query(description="only those of this customer")] = None,
    line: Annotated[str | None, Query(description="only those of this charge line")] = None,
    after: Annotated[
        str | None, Query(description="only customers behind this one, in the order of their keys")
    ] = None,
    until: Annotated[str | None, Query(description="only customers up to this one")] = None,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Each event of a run with its share of its line, split at the edges of tiers: of each line they sum to its
    quantity and its amount. What no event carries (a fee, a discount) is one row without an event.

    Made again from what the run was made of, and held against its lines: 409 where that is not possible any more. It is
    sent in parts, by customer; `after` and `until` go on where a download ended.
    """
    media = media_of(accept, STREAMED)
    frames = engine.rated_events.of_run(run_id, customer=customer, customers=(after, until), line=line)
    return stream_response(frames, SHARE, media, f"{run_id}-events")


@router.get(
    "/charge-lines/{line}/events",
    response_model=EventBehindPage,
    responses={200: streams("The events behind the line, by sequence"), **problems(404, 406, 409)},
)
def list_events_of_line(
    engine: TheEngine,
    line: Annotated[str, Path(description="id of a charge line")],
    run: Annotated[str | None, Query(description="the newest that has the line, unless given")] = None,
    after: Annotated[int | None, Query(ge=0, description="the `next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """The usage events behind a line, each with its share of it, in the order of acceptance. JSON comes in pages;
    NDJSON, CSV, Arrow and Parquet come whole. 409 where they cannot be found any more."""
    media = media_of(accept, (JSON, *STREAMED))
    events = engine.rated_events.of_line(line, run)
    name = f"{line}-events"
    if media == NDJSON:
        headers = {"Content-Disposition": f'attachment; filename="{name}.ndjson"'}
        return StreamingResponse(_lines(events), headers=headers, media_type=NDJSON)
    if media in (ARROW, CSV, PARQUET):
        return stream_response(iter([events]), events.schema, media, name)
    page = (events if after is None else events.filter(pl.col("sequence") > after)).head(limit)
    following = page["sequence"][-1] if page.height == limit else None
    items = [_shown(row) for row in page.iter_rows(named=True)]
    return Response(_encode({"items": items, "next": following}), media_type=JSON)


def _lines(events: pl.DataFrame) -> Iterator[bytes]:
    for part in events.iter_slices(_LINES_TOGETHER):
        yield b"".join(_encode(_shown(row)) + b"\n" for row in part.iter_rows(named=True))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {**shown_event(row), "quantity": plain(row["quantity"]), "amount": plain(row["amount"])}
