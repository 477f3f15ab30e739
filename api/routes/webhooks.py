"""Webhook endpoints: where signals are delivered to, and how far they are."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api.documentation import problems
from api.frames import json_response
from api.models import Key
from api.webhook_models import (
    DeliveryOut,
    DeliveryPage,
    EndpointChange,
    EndpointIn,
    EndpointOut,
    EndpointPage,
    EndpointWithSecret,
    ReplayIn,
    ReplayOut,
    RotateIn,
    TestOut,
)
from api.wiring import TheEngine
from store.errors import Refused
from store.webhooks import DeliveryState

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

Endpoint = Annotated[Key, Path(description="id of an endpoint")]


@router.post("", status_code=201, response_model=EndpointWithSecret, responses=problems(400, 413, 507))
def add_endpoint(engine: TheEngine, given: EndpointIn) -> EndpointWithSecret:
    """Deliver the signals from now on to a URL. The answer has the secret that they are signed with; it is shown this
    once."""
    made = engine.signalling.endpoints.add(given.url, given.types, given.customers)
    return EndpointWithSecret.model_validate(made)


@router.get("", response_model=EndpointPage)
def list_endpoints(engine: TheEngine) -> EndpointPage:
    """All endpoints, by id."""
    return EndpointPage(items=[EndpointOut.model_validate(e) for e in engine.store.webhooks.all()], next=None)


@router.get("/{id}", response_model=EndpointOut, responses=problems(404))
def read_endpoint(engine: TheEngine, id: Endpoint) -> EndpointOut:
    return EndpointOut.model_validate(engine.store.webhooks.get(id))


@router.patch("/{id}", response_model=EndpointOut, responses=problems(400, 404, 413, 507))
def change_endpoint(engine: TheEngine, id: Endpoint, given: EndpointChange) -> EndpointOut:
    """Change an endpoint; what is not given stays. One that is active again goes on where it was."""
    changed = engine.signalling.endpoints.change(id, given.url, given.types, given.customers, given.state)
    return EndpointOut.model_validate(changed)


@router.delete("/{id}", status_code=204, responses=problems(404, 507))
def remove_endpoint(engine: TheEngine, id: Endpoint) -> Response:
    """Remove an endpoint, what is on its way to it, and the log of it."""
    engine.signalling.endpoints.remove(id)
    return Response(status_code=204)


@router.post("/{id}/rotate", response_model=EndpointWithSecret, responses=problems(400, 404, 413, 507))
def rotate_secret(engine: TheEngine, id: Endpoint, given: RotateIn) -> EndpointWithSecret:
    """Give an endpoint another secret. Deliveries are signed with both until the one of before ends."""
    return EndpointWithSecret.model_validate(engine.signalling.endpoints.rotate(id, given.hours))


@router.post("/{id}/test", response_model=TestOut, responses=problems(404))
def test_endpoint(engine: TheEngine, id: Endpoint) -> TestOut:
    """Send a `webhook.test` to an endpoint, at once and once, whatever its state."""
    return TestOut.model_validate(engine.signalling.endpoints.test(id))


@router.post("/{id}/replay", response_model=ReplayOut, responses=problems(400, 404, 413, 507))
def replay_signals(engine: TheEngine, id: Endpoint, given: ReplayIn) -> ReplayOut:
    """Deliver signals again: under the same ids, so a receiver knows those that it has."""
    if (given.after is None) == (not given.dead) or (given.dead and given.until is not None):
        raise Refused(["give `after` (and `until`), or `dead`"])
    endpoints = engine.signalling.endpoints
    done = endpoints.replay_dead(id) if given.after is None else endpoints.replay(id, given.after, given.until)
    return ReplayOut.model_validate(done)


@router.get("/{id}/deliveries", response_model=DeliveryPage, responses=problems(404))
def list_deliveries(
    engine: TheEngine,
    id: Endpoint,
    state: Annotated[DeliveryState | None, Query(description="all, unless given")] = None,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="the `next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """What became of the signals of an endpoint, by their sequence, each with the tries."""
    found = engine.store.webhooks.deliveries(id, state, after=after, limit=limit)
    tried = engine.store.webhooks.attempts(id, [delivery.signal for delivery in found])
    items = [
        DeliveryOut.model_validate({**vars(each), "tries": [one for one in tried if one.signal == each.signal]})
        for each in found
    ]
    following = found[-1].signal if len(found) == limit else None
    return json_response(DeliveryPage(items=items, next=following).model_dump())
