"""Whether live counters are right: what `tallystick doctor` asks."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from api.frames import json_response, rows
from api.models import DecimalText, Output
from api.wiring import TheEngine

router = APIRouter(prefix="/v1/quota", tags=["quota"])


class ComparedOut(Output):
    """One counter: a feature of a customer in the window that begins at `window_start`."""

    customer: str
    feature: str
    window_start: datetime
    counted: DecimalText
    metered: DecimalText


class ComparisonOut(Output):
    """Live counters beside a metering query over the log."""

    compared: int = Field(description="how many counters there are")
    different: int = Field(description="how many of them are not what was metered")
    items: list[ComparedOut] = Field(description="the first of these")
    uncounted: dict[str, str] = Field(
        description="features (`tokens`, or of one subject: `tokens of acme`) that cannot be counted, and why"
    )


@router.get("/comparison", response_model=ComparisonOut)
def compare_counters(engine: TheEngine, limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> Response:
    """Compare every live counter with what its meter makes of the whole log. It takes as long as metering does."""
    found = engine.quota.comparison()
    body = {"compared": found.compared, "different": found.different.height, "uncounted": found.uncounted}
    return json_response({**body, "items": rows(found.different.head(limit))})
