"""Charge lines: read in pages or whole, and explained one by one."""

from collections.abc import Iterator
from typing import Annotated

import orjson
import polars as pl
from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response, StreamingResponse

from api.documentation import problems, streams
from api.frames import JSON, TABLES, json_response, media_of, rows, table_response
from api.line_models import Explanation, LinePage
from api.rated_events import Explained
from api.routes.exports import Price, of_price
from api.table_streams import NDJSON
from api.wiring import After, Limit, TheEngine

router = APIRouter(prefix="/v1", tags=["rating"])

_LINES_TOGETHER = 10_000


@router.get(
    "/rating-runs/{run_id}/lines",
    response_model=LinePage,
    responses={200: streams("The charge lines of the run, by id"), **problems(404, 406)},
)
def list_lines(
    engine: TheEngine,
    run_id: Annotated[str, Path(description="of a rating run")],
    customer: Annotated[str | None, Query(description="only those of this customer")] = None,
    price: Price = None,
    after: After = None,
    limit: Limit = 100,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """The charge lines of a run in the order of their ids. JSON comes in pages; NDJSON, Arrow, Parquet and CSV come
    whole. In the forms that others read they are at `focus` and `invoice-lines` beside it."""
    media = media_of(accept, (JSON, *TABLES, NDJSON))
    lines = engine.rating.lines(run_id, customer=customer).pipe(of_price, price)
    if media == NDJSON:
        headers = {"Content-Disposition": f'attachment; filename="{run_id}.ndjson"'}
        return StreamingResponse(_ndjson(lines.collect()), headers=headers, media_type=NDJSON)
    if media != JSON:
        return table_response(lines.collect(), media, run_id)
    behind = lines if after is None else lines.filter(pl.col("line") > after)
    page = behind.head(limit).collect()
    following = page["line"][-1] if page.height == limit else None
    return json_response({"items": line_items(page), "next": following})


@router.get("/charge-lines/{line}/explain", response_model=Explanation, responses=problems(404))
def explain_line(
    engine: TheEngine,
    line: Annotated[str, Path(description="id of a charge line")],
    run: Annotated[str | None, Query(description="the newest that has the line, unless given")] = None,
) -> Response:
    """The arithmetic of a line, step by step; what credits paid of it; how many events are behind it, and where."""
    explained = engine.rated_events.explain(line, run)
    credits = engine.credits.paid_by(line, explained.line["run"][0])
    credit_lines = explained.credits.select("grant", "line")
    paid_by = rows(credits.join(credit_lines, on="grant", how="left", validate="1:1", maintain_order="left"))
    shown = {**line_items(explained.line)[0], "steps": explained.steps, "paid_by": paid_by}
    return json_response({**shown, "events_behind": _behind(explained)})


def _behind(explained: Explained) -> dict[str, object] | None:
    if explained.line["kind"][0] != "usage":
        return None
    line, run = explained.line.select("line", "run").row(0)
    told = {name: getattr(explained, name) for name in ("first", "last", "unknown")}
    return {"count": explained.events, **told, "download": f"/v1/charge-lines/{line}/events?run={run}"}


def _ndjson(lines: pl.DataFrame) -> Iterator[bytes]:
    for part in lines.iter_slices(_LINES_TOGETHER):
        yield b"".join(orjson.dumps(item, option=orjson.OPT_UTC_Z) + b"\n" for item in line_items(part))


def line_items(lines: pl.DataFrame) -> list[dict[str, object]]:
    """Charge lines as JSON has them."""
    return [{**row, "group": orjson.loads(row["group"])} for row in rows(lines)]
