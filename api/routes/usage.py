"""What a meter makes of the events."""

from typing import Annotated

import polars as pl
from fastapi import APIRouter, Header, Path, Query
from pydantic import AwareDatetime
from starlette.responses import Response

from api.documentation import problems, tables
from api.frames import JSON, json_response, media_of, rows, table_response
from api.models import Key, UsageOut
from api.paths import anything
from api.usage import UsageQuery, filters
from api.windows import Window
from api.wiring import AsOf, TheEngine

router = APIRouter(prefix="/v1/meters", tags=["usage"])


@router.get(
    f"/{anything('key')}/usage",
    response_model=UsageOut,
    responses={200: tables("One row for each window and group that has usage"), **problems(404, 406, 409)},
)
def read_usage(
    engine: TheEngine,
    key: Annotated[Key, Path(description="the meter")],
    start: Annotated[AwareDatetime | None, Query(alias="from", description="inclusive")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="exclusive")] = None,
    subject: Annotated[str | None, Query()] = None,
    customer: Annotated[str | None, Query()] = None,
    group_by: Annotated[
        list[str] | None, Query(description="dimensions of the meter, `subject` or `customer`; may be repeated")
    ] = None,
    where: Annotated[
        list[str] | None,
        Query(
            description="`dimension=value`: only these; may be repeated, several values of one dimension are either",
            examples=["model=gpt-5"],
        ),
    ] = None,
    window: Annotated[Window | None, Query(description="one row for each of these that has usage")] = None,
    time_zone: Annotated[str, Query(description="whose hours, days and months")] = "UTC",
    as_of: AsOf = None,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """Metered usage on [from, to), as of now: every acknowledged event is in it; or as it was known at `as_of`, by the
    catalog, the customers, the corrections and the backfills of then."""
    media = media_of(accept)
    groups = tuple(dict.fromkeys(group_by or ()))
    query = UsageQuery(key, start, end, subject, customer, groups, window, time_zone, filters(where or ()))
    frame = engine.usage(query, as_of)
    if media != JSON:
        return table_response(frame, media, "usage")
    return json_response({"meter": key, "from": start, "to": end, "window": window, "items": _items(frame, groups)})


def _items(frame: pl.DataFrame, groups: tuple[str, ...]) -> list[dict[str, object]]:
    return [
        {
            **({"window_start": row["window_start"]} if "window_start" in row else {}),
            "group": {name: row[name] for name in groups},
            "quantity": row["quantity"],
            "events": row["events"],
        }
        for row in rows(frame)
    ]
