"""What the open billing periods of a customer come to, asked at any time."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import Response

from api.documentation import problems
from api.frames import json_response, rows
from api.line_models import CurrentChargesOut
from api.models import Key
from api.paths import anything
from api.routes.lines import line_items
from api.wiring import TheEngine

router = APIRouter(prefix="/v1", tags=["rating"])


@router.get(
    f"/customers/{anything('key')}/charges/current",
    response_model=CurrentChargesOut,
    responses=problems(404),
)
def read_current_charges(engine: TheEngine, key: Annotated[Key, Path(description="of a customer")]) -> Response:
    """The charges of the billing periods in which the subscriptions of a customer are now, with every acknowledged
    event, by the code that makes bills. Nothing is recorded.

    What a change that is known by now makes of the rest of a period is in it; what late events change of closed periods
    is not: the next close posts that.
    """
    found = engine.current_charges(key)
    return json_response(
        {
            "customer": found.customer,
            "as_of": found.as_of,
            "last_sequence": found.last_sequence,
            "periods": [_period(row) for row in found.periods.iter_rows(named=True)],
            "totals": rows(found.totals),
            "items": line_items(found.lines),
        }
    )


def _period(row: dict[str, Any]) -> dict[str, Any]:
    named = {name: row[name] for name in ("subscription", "period", "time_zone")}
    return {**named, "from": row["period_start"], "to": row["period_end"]}
