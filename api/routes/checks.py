"""Leaks in a period: what brings no money, and what is not what it was."""

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.check_models import CheckOut
from api.documentation import problems
from api.frames import json_response
from api.wiring import TheEngine
from rating.core.usage_history import HistoryRule

router = APIRouter(prefix="/v1", tags=["rating"])

_DEFAULT = HistoryRule()
Factor = Annotated[Decimal, Query(ge=0, le=1_000_000, decimal_places=9)]


@router.get("/checks", response_model=CheckOut, responses=problems(422))
def check_period(
    engine: TheEngine,
    period: Annotated[str, Query(description="a calendar month", examples=["2026-10"])],
    months: Annotated[int, Query(ge=1, le=60, description="of history")] = _DEFAULT.months,
    months_min: Annotated[int, Query(ge=1, le=60, description="fewer are no history")] = _DEFAULT.months_min,
    drop: Annotated[Factor, Query(description="less than this part of the median is a drop")] = _DEFAULT.drop,
    spike: Annotated[Factor, Query(description="more than so many times the median is a spike")] = _DEFAULT.spike,
    deviations: Annotated[
        Factor, Query(description="and farther from it than so many median distances")
    ] = _DEFAULT.deviations,
    limit: Annotated[int, Query(ge=0, le=10_000, description="findings shown of each kind, the largest")] = 100,
) -> Response:
    """What leaks: events that no meter counts, usage without a price or a subscription, subscriptions without usage,
    and usage out of line with the customer's own history. Nothing is written, and no run has to be there."""
    rule = HistoryRule(months, months_min, drop, spike, deviations)
    return json_response(engine.check(period, rule).as_json(limit))
