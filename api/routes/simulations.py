"""Simulations: another catalog tried on history before anyone is charged by it."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from api.documentation import problems
from api.frames import json_response
from api.models import DecimalText, Input, Key, Output
from api.simulation import Asked, Search
from api.simulation_shown import as_json
from api.wiring import TheEngine
from rating.catalog import load_catalog

router = APIRouter(prefix="/v1/simulations", tags=["rating"])

LISTED_MAX = 1_000_000
Period = Annotated[str, Field(description="a calendar month", examples=["2026-10"])]


class SearchIn(Input):
    """Which amount of a price gives the revenue of before."""

    price: Key = Field(description="of the other catalog; all its amounts are moved in proportion")
    tolerance: Annotated[str, Field(max_length=30, pattern=r"^\d+(\.\d+)?$")] = Field(
        "0.01", description="how far the revenue may be from that of before"
    )


class SimulationIn(Input):
    catalog: dict[str, Any] = Field(description="the other catalog, as in `PUT /v1/catalog`")
    from_: Period = Field(alias="from")
    to: Period = Field(description="the last month, inclusive")
    plans: dict[Key, Key] = Field({}, description="by which plan of the other catalog those of a plan are rated")
    solve: SearchIn | None = None
    limit: int | None = Field(100, ge=0, le=LISTED_MAX, description="of each list of customers; null is all of them")


class ChangeOut(Output):
    before: DecimalText = Field(description="what is charged by the catalog in force, rounded line by line")
    after: DecimalText
    difference: DecimalText
    percent: DecimalText | None = Field(description="of before; null where that is zero")


class CurrencyTotalOut(ChangeOut):
    currency: str
    customers: int
    more: int = Field(description="customers who pay more")
    less: int


class RecordedOut(Output):
    """The newest run of the month."""

    run: str
    catalog: str
    amount: DecimalText


class PeriodTotalOut(ChangeOut):
    period: str
    currency: str
    recorded: RecordedOut | None = Field(description="null where the month has no run")


class ReasonOut(Output):
    currency: str
    reason: str = Field(description="why: see docs/simulation.md", examples=["rate", "tier", "included", "minimum"])
    amount: DecimalText
    customers: int


class PercentileOut(Output):
    currency: str
    percentile: int = Field(description="so many percent of the customers have no larger change")
    difference: DecimalText | None
    percent: DecimalText | None


class PriceChangeOut(ChangeOut):
    currency: str
    kind: str
    price: str | None = Field(description="null for an adjustment of the plan")


class CustomerChangeOut(ChangeOut):
    customer: str
    currency: str
    reasons: dict[str, DecimalText] = Field(description="they sum to the difference")


class UnpricedOut(Output):
    plan: str
    meter: str
    group: str
    quantity: DecimalText
    events: int


class UnpricedSidesOut(Output):
    before: list[UnpricedOut]
    after: list[UnpricedOut]


class UnplannedOut(Output):
    """A plan that the other catalog does not have. Its subscriptions are not compared: map it with `plans`."""

    plan: str
    subscriptions: int
    customers: int


class SolvedOut(Output):
    """What came of a search. Where no amount earns the same, `problem` says why, and what was not found is null."""

    price: str
    currency: str
    field: str | None = Field(description="which amount of the price: unit_amount, percent or flat_amount")
    amount_given: DecimalText | None = Field(description="what it is in the other catalog")
    amount: DecimalText | None = Field(description="what it would have to be")
    revenue: DecimalText | None = Field(description="of all customers in that currency, with that amount")
    target: DecimalText | None
    gap: DecimalText | None
    ratings: int | None = Field(description="how many amounts were tried")
    problem: str | None


class SimulationOut(Output):
    catalog_before: str
    catalog_after: str
    totals: list[CurrencyTotalOut]
    periods: list[PeriodTotalOut]
    reasons: list[ReasonOut]
    percentiles: list[PercentileOut]
    prices: list[PriceChangeOut]
    losers: list[CustomerChangeOut] = Field(description="customers who pay more, the largest increase first")
    winners: list[CustomerChangeOut] = Field(description="customers who pay less")
    unpriced: UnpricedSidesOut = Field(description="usage that no price of the plan covers")
    unplanned: list[UnplannedOut]
    solved: SolvedOut | None


@router.post("", response_model=SimulationOut, responses=problems(400, 409, 413, 422))
def simulate(engine: TheEngine, body: SimulationIn) -> Response:
    """Rate months of history under another catalog beside the one in force. Nothing is written."""
    search = None if body.solve is None else Search(body.solve.price, Decimal(body.solve.tolerance))
    asked = Asked(load_catalog(body.catalog), body.from_, body.to, body.plans, search)
    return json_response(as_json(engine.simulate(asked), body.limit))
