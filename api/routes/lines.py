"""Charge lines: read in pages or whole, and explained one by one."""

from typing import Annotated

import orjson
import polars as pl
from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response

from api.documentation import problems, tables
from api.frames import JSON, json_response, media_of, rows, table_response
from api.models import Explanation, LinePage
from api.wiring import After, Limit, TheEngine

router = APIRouter(prefix="/v1", tags=["rating"])


@router.get(
    "/rating-runs/{run_id}/lines",
    response_model=LinePage,
    responses={200: tables("The charge lines of the run, by id"), **problems(404, 406)},
)
def list_lines(
    engine: TheEngine,
    run_id: Annotated[str, Path(description="of a rating run")],
    customer: Annotated[str | None, Query(description="only those of this customer")] = None,
    after: After = None,
    limit: Limit = 100,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """The charge lines of a run in the order of their ids. JSON comes in pages; Arrow, Parquet and CSV come whole."""
    media = media_of(accept)
    lines = engine.rating.lines(run_id, customer=customer)
    if media != JSON:
        return table_response(lines.collect(), media, run_id)
    behind = lines if after is None else lines.filter(pl.col("line") > after)
    page = behind.head(limit).collect()
    following = page["line"][-1] if page.height == limit else None
    return json_response({"items": _items(page), "next": following})


@router.get("/charge-lines/{line}/explain", response_model=Explanation, responses=problems(404))
def explain_line(
    engine: TheEngine,
    line: Annotated[str, Path(description="id of a charge line")],
    run: Annotated[str | None, Query(description="the newest that has the line, unless given")] = None,
) -> Response:
    """The arithmetic of a line, step by step, and how many events are behind it."""
    explained = engine.rating.explain(line, run)
    return json_response({**_items(explained.line)[0], "steps": explained.steps})


def _items(lines: pl.DataFrame) -> list[dict[str, object]]:
    return [{**row, "group": orjson.loads(row["group"])} for row in rows(lines)]
