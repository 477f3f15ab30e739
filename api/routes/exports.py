"""The charge lines of a run in the forms that others read: cost data, lines of invoices, a summary."""

from typing import Annotated

import polars as pl
from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response, StreamingResponse

from api.documentation import problems, streams
from api.export_models import InvoicesOut, SummaryOut
from api.exports import summary_json
from api.frames import ARROW, CSV, JSON, PARQUET, json_response, media_of, table_response
from api.table_streams import NDJSON, stream_response
from api.wiring import TheEngine
from rating.core.schema import INSTANT
from rating.exports.focus import FOCUS
from store.errors import Refused

router = APIRouter(prefix="/v1/rating-runs", tags=["rating"])

RunId = Annotated[str, Path(description="of a rating run")]
Customer = Annotated[str | None, Query(description="only those of this customer")]
Price = Annotated[str | None, Query(description="only those of this price; a trailing * stands for anything")]
_FOCUS_AS = (CSV, PARQUET, ARROW, NDJSON)


@router.get(
    "/{run_id}/focus",
    response_class=StreamingResponse,
    responses={200: streams("Cost data in the form of FOCUS 1.2"), **problems(404, 406)},
)
def read_focus(
    engine: TheEngine,
    run_id: RunId,
    issuer: Annotated[
        str, Query(min_length=1, max_length=256, description="who sells and invoices: a name for people")
    ] = "Tallystick",
    customer: Customer = None,
    price: Price = None,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """The charge lines as cost data: FOCUS 1.2, Cost and Usage. A row is a line, or one price of a line that has
    several; their costs sum to the line's. Sent in parts."""
    media = media_of(accept, _FOCUS_AS)
    lines = engine.rating.lines(run_id, customer=customer).pipe(of_price, price).collect()
    frames = engine.exports.focus(run_id, lines, issuer)
    name = f"{run_id}-focus"
    if media in (PARQUET, ARROW):
        return stream_response(frames, FOCUS, media, name)
    return stream_response(map(_with_instants, frames), _with_instants(FOCUS.to_frame()).schema, media, name)


@router.get(
    "/{run_id}/invoice-lines",
    response_model=InvoicesOut,
    responses={200: {"content": {CSV: {"schema": {"type": "string"}}}}, **problems(404, 406)},
)
def read_invoice_lines(
    engine: TheEngine,
    run_id: RunId,
    unit: Annotated[
        list[str] | None,
        Query(description="METER=CODE: what a meter counts, by UN/ECE Recommendation 20; C62 (one) unless given"),
    ] = None,
    customer: Customer = None,
    price: Price = None,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """The charge lines as lines of invoices, with the fields that EN 16931 asks of a line; a customer has one invoice
    for each currency. JSON has a list of invoices, CSV a row for each line."""
    media = media_of(accept, (JSON, CSV))
    units = _units(unit or [])
    lines = engine.rating.lines(run_id, customer=customer).pipe(of_price, price).collect()
    if media == CSV:
        return table_response(engine.exports.invoice_lines(lines, units), CSV, f"{run_id}-invoice-lines")
    return json_response({"run": run_id, "invoices": engine.exports.invoices(lines, units)})


@router.get("/{run_id}/summary", response_model=SummaryOut, responses=problems(404))
def read_summary(
    engine: TheEngine,
    run_id: RunId,
    limit: Annotated[int, Query(ge=0, le=10_000, description="how many customers, those that pay most")] = 100,
    customer: Customer = None,
    price: Price = None,
) -> Response:
    """What a run charges, by currency, by price and by customer."""
    lines = engine.rating.lines(run_id, customer=customer).pipe(of_price, price)
    return json_response(summary_json(run_id, lines, limit))


def of_price(lines: pl.LazyFrame, price: str | None) -> pl.LazyFrame:
    """The lines of one price, or of those that begin as `price` does before its trailing *."""
    if price is None:
        return lines
    is_prefix = price.endswith("*")
    return lines.filter(pl.col("price").str.starts_with(price[:-1]) if is_prefix else pl.col("price") == price)


def _with_instants(frame: pl.DataFrame) -> pl.DataFrame:
    """Instants as text of ISO 8601, in UTC."""
    instants = [name for name, dtype in frame.schema.items() if dtype == INSTANT]
    return frame.with_columns(pl.col(instants).dt.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _units(given: list[str]) -> dict[str, str]:
    pairs = [text.rpartition("=") for text in given]
    bad = [text for text, (meter, _, code) in zip(given, pairs, strict=True) if not (meter and 0 < len(code) <= 3)]
    if bad:
        raise Refused(f"`unit` {text!r} is not METER=CODE, such as storage=E34" for text in bad)
    return {meter: code for meter, _, code in pairs}
