"""Signals in the order in which they were recorded."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.models import SignalOut, SignalPage
from api.wiring import TheEngine

router = APIRouter(prefix="/v1/signals", tags=["quota"])


@router.get("", response_model=SignalPage)
def list_signals(
    engine: TheEngine,
    after: Annotated[
        int, Query(ge=0, le=2**63 - 1, description="the `next` of the page before; 0 is from the first")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> SignalPage:
    """The signals behind `after`. Each has a sequence that never changes; reading on from `next` misses none."""
    page = engine.signals(after, limit)
    return SignalPage(items=[SignalOut.model_validate(s) for s in page], next=page[-1].sequence if page else after)
