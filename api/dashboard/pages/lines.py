"""A charge line as a picture: the tiers that its quantity fell in, the steps from the quantity to the rounded amount,
what credits paid of it, and the usage events behind it."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
import polars as pl
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api.dashboard.drawn import Part, parts
from api.dashboard.rendering import PageRoute, page
from api.engine import Engine
from api.event_list import shown_event
from api.rated_events import Explained
from api.routes.lines import line_items
from api.wiring import TheEngine
from rating.core.money import plain

router = APIRouter(route_class=PageRoute)

PAGE = 50
SEQUENCE_MAX = 2**63 - 1
Id = Annotated[str, Path(max_length=200)]
Run = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True)
class Tiers:
    """The tiers that a line used, as they are in JSON, and their shares of its quantity and of its amount."""

    rows: list[dict[str, Any]]
    quantities: list[Part]
    amounts: list[Part]


@router.get("/lines/{id}")
def line(
    request: Request,
    engine: TheEngine,
    id: Id,
    run: Run = "",
    part: Literal["", "events"] = "",
    after: Annotated[int, Query(ge=0, le=SEQUENCE_MAX)] = 0,
) -> Response:
    """A line as the newest run has it, or as `run` has it."""
    if part:
        return page(request, "line_events.html", **_events(engine, id, run, after))
    explained = engine.rated_events.explain(id, run or None)
    shown = line_items(explained.line)[0]
    return page(
        request,
        "line.html",
        line=shown,
        steps=explained.steps,
        tiers=tiers_of(shown["tiers"]),  # type: ignore[arg-type] # rows of JSON
        paid=_paid(engine, id, explained),
        explained=explained,
    )


def tiers_of(rows: list[dict[str, Any]]) -> Tiers:
    used = [row for row in rows if Decimal(row["quantity"]) or Decimal(row["amount"])]
    quantities = parts([Decimal(row["quantity"]) for row in used])
    return Tiers(used, quantities, parts([Decimal(row["amount"]) for row in used]))


def _paid(engine: Engine, id: str, explained: Explained) -> list[dict[str, Any]]:
    credits = engine.credits.paid_by(id, explained.line["run"][0])
    of_grants = explained.credits.select("grant", "line")
    return credits.join(of_grants, on="grant", how="left", validate="1:1", maintain_order="left").to_dicts()


def _events(engine: Engine, id: str, run: str, after: int) -> dict[str, Any]:
    """A page of them, in the order of acceptance. Raises NotReproducible."""
    found = engine.rated_events.of_line(id, run or None)
    rows = found.filter(pl.col("sequence") > after).head(PAGE)
    asked = {"part": "events", **({"run": run} if run else {})}
    is_more = rows.height == PAGE and rows["sequence"][-1] < found["sequence"][-1]
    following = f"/lines/{id}?{urlencode({**asked, 'after': rows['sequence'][-1]})}" if is_more else None
    return {
        "events": [_event(row) for row in rows.iter_rows(named=True)],
        "following": following,
        "count": found.height,
    }


def _event(row: dict[str, Any]) -> dict[str, Any]:
    properties = {
        name: value for name, value in msgspec.json.decode(shown_event(row)["data"]).items() if value is not None
    }
    shares = {name: plain(row[name]) for name in ("quantity", "amount")}
    named = {name: row[name] for name in ("sequence", "source", "id", "subject", "time")}
    return {**named, **shares, "properties": properties}
