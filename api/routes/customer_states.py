"""States of customers that checks obey: suspended, restricted, overage."""

from collections.abc import Container
from decimal import Decimal
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Path
from starlette.responses import Response

from api.documentation import problems
from api.frames import json_response
from api.models import Key
from api.paths import anything
from api.webhook_models import StateIn, StateOut, StatePage
from api.wiring import After, Limit, TheEngine
from rating.core.money import plain
from rating.core.quota.seam import CustomerState
from store.customer_states import RecordedState
from store.customers import refuse

router = APIRouter(prefix="/v1/customers", tags=["quota"])

_STATES = f"/{anything('key')}/states"
Customer = Annotated[Key, Path(description="of a customer")]


@router.post(_STATES, status_code=201, response_model=StateOut, responses=problems(400, 404, 409, 413, 507))
def begin_state(engine: TheEngine, key: Customer, given: StateIn) -> Response:
    """Suspend a customer, restrict it to another plan's limits, or let it use more than its limit. The next check
    obeys. The same again under the same id changes nothing."""
    now = engine.now()
    refuse(_problems(given, engine.in_force.catalog.plans if given.plan is not None else ()))
    if given.until is not None:
        refuse([f"`until` {given.until.isoformat()} has passed"] if given.until <= now else [])
    state = CustomerState(
        given.id or f"state_{uuid4().hex}",
        key,
        tuple(given.features),
        given.state,
        given.plan,
        None if given.amount is None else Decimal(given.amount),
        given.reason,
        now,
        given.until,
    )
    return json_response(_shown(engine.signalling.states.begin(state)), 201)


@router.get(_STATES, response_model=StatePage, responses=problems(404))
def list_states(engine: TheEngine, key: Customer, after: After = None, limit: Limit = 100) -> Response:
    """The states of a customer by id, also those that have ended."""
    page = engine.store.customer_states.of_customer(key, after=after, limit=limit)
    following = page[-1].id if len(page) == limit else None
    return json_response({"items": [_shown(state) for state in page], "next": following})


@router.delete(f"{_STATES}/{anything('id')}", response_model=StateOut, responses=problems(404, 507))
def end_state(engine: TheEngine, key: Customer, id: Annotated[Key, Path(description="of a state")]) -> Response:
    """End a state. One that has ended stays as it is."""
    return json_response(_shown(engine.signalling.states.end(key, id)))


def _problems(given: StateIn, plans: Container[str]) -> list[str]:
    problems = []
    if (given.plan is None) == (given.state == "restricted"):
        problems.append("`plan` goes with `restricted`, and only with that")
    elif given.plan is not None and given.plan not in plans:
        problems.append(f"plan: the catalog has no plan {given.plan!r}")
    if (given.amount is None) == (given.state == "overage"):
        problems.append("`amount` goes with `overage`, and only with that")
    return problems


def _shown(state: RecordedState) -> dict[str, object]:
    return {**vars(state), "amount": None if state.amount is None else plain(state.amount)}
