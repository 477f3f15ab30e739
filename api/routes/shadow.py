"""A catalog beside the one in force: set, compared month by month, switched to on a date, or dropped."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from api.documentation import problems
from api.frames import json_response
from api.models import CatalogApplied, Input, Key, Output
from api.routes.simulations import LISTED_MAX, SimulationOut
from api.simulation_shown import as_json
from api.wiring import TheEngine
from rating.catalog import load_catalog

router = APIRouter(prefix="/v1/shadow-catalog", tags=["catalog"])

Month = Annotated[str | None, Query(description="a calendar month; since it was set, unless given")]


class ShadowIn(Input):
    catalog: dict[str, Any] = Field(description="the other catalog, as in `PUT /v1/catalog`")
    plans: dict[Key, Key] = Field({}, description="by which plan of the other catalog those of a plan are rated")


class SwitchIn(Input):
    at: AwareDatetime = Field(description="from when on the other catalog charges", examples=["2026-12-01T00:00:00Z"])


class ShadowOut(Output):
    """The catalog that is rated beside the one in force."""

    version: str
    plans: dict[str, str]
    set_at: datetime


@router.put("", response_model=ShadowOut, responses=problems(400, 409, 413, 422, 507))
def put_shadow(engine: TheEngine, given: ShadowIn) -> ShadowOut:
    """Rate another catalog beside the one in force from now on, in place of another; nobody is charged by it."""
    return ShadowOut.model_validate(engine.shadow.put(load_catalog(given.catalog), given.plans))


@router.get("", response_model=ShadowOut, responses=problems(404))
def read_shadow(engine: TheEngine) -> ShadowOut:
    return ShadowOut.model_validate(engine.store.shadows.get())


@router.delete("", status_code=204, responses=problems(404))
def drop_shadow(engine: TheEngine) -> None:
    """Rate no catalog beside the one in force any more."""
    engine.store.shadows.end()


@router.get("/comparison", response_model=SimulationOut, responses=problems(400, 404, 409, 422))
def compare_shadow(
    engine: TheEngine,
    from_: Annotated[Month, Query(alias="from")] = None,
    to: Month = None,
    limit: Annotated[int, Query(ge=0, le=LISTED_MAX, description="of each list of customers")] = 100,
) -> Response:
    """Both side by side: as a simulation of the months since it was set, up to now."""
    return json_response(as_json(engine.simulate(engine.shadow.asked(from_, to)), limit))


@router.post("/switch", response_model=CatalogApplied, responses=problems(400, 404, 409, 413, 422, 507))
def switch_to_shadow(engine: TheEngine, given: SwitchIn) -> CatalogApplied:
    """Bring a catalog into force that charges as the present one until a date, and as the other one from then on: its
    prices become later versions of the present ones. Refused where something else than versions of prices changes."""
    return CatalogApplied.model_validate(engine.switch_to_shadow(given.at))
