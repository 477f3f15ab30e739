"""Signals: what was raised, the endpoints that are told, and how far each delivery is; sent again from here."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.dashboard.forms import form_of
from api.dashboard.rendering import PageRoute, go_to, is_partial, page, said
from api.dashboard.shown import instant, many, number
from api.engine import Engine
from api.signal_json import signal_json
from api.wiring import TheEngine
from store.errors import Refused
from store.signals import RecordedSignal, Selection
from store.webhooks import Attempt, Delivery, DeliveryState, EndpointState, Replayed

router = APIRouter(route_class=PageRoute)

PAGE = 50
LOOKED_BACK = 5_000
"""So far back the newest signals that fit a filter are looked for at one time."""
_QUANTITIES = ("limit", "used", "left", "amount")
_is_number = re.compile(r"-?[0-9]+(\.[0-9]+)?").fullmatch
SEQUENCE_MAX = 2**63 - 1
TYPES = (
    "quota.threshold",
    "quota.exhausted",
    "quota.restored",
    "quota.negative",
    "usage.anomaly",
    "grant.expiring",
    "customer.suspended",
    "customer.restricted",
    "customer.overage",
    "customer.resumed",
)
Before = Annotated[int, Query(ge=0, le=SEQUENCE_MAX)]
Id = Annotated[str, Path(max_length=200)]


@dataclass(frozen=True)
class DeliveryShown:
    """A delivery with its signal, null where that is gone, and its tries, oldest first."""

    delivery: Delivery
    signal: RecordedSignal | None
    tries: list[Attempt]


@router.get("/signals")
def signals(request: Request, engine: TheEngine, type: str = "", customer: str = "", before: Before = 0) -> Response:
    found, following = _newest(engine, type, customer, before)
    asked = {name: value for name, value in (("type", type), ("customer", customer)) if value}
    template = "signals_list.html" if is_partial(request) else "signals.html"
    return page(
        request,
        template,
        found=found,
        asked={"type": type, "customer": customer},
        following=f"/signals?{urlencode({**asked, 'before': following})}" if following else None,
        types=sorted({*TYPES, *(each.type for each in found)}),
        endpoints=_endpoints(engine),
        last=engine.store.signals.last_sequence(),
        made=None,
    )


def _newest(engine: Engine, type: str, customer: str, before: int) -> tuple[list[RecordedSignal], int | None]:
    """The newest signals in front of `before` (0: all), the newest first; and where the next page begins."""
    end = before or engine.store.signals.last_sequence() + 1
    selected = Selection((type,) if type else (), (customer,) if customer else ())
    start = max(end - LOOKED_BACK, 1)
    found = engine.store.signals.after(start - 1, limit=LOOKED_BACK, selected=selected)
    inside = [signal for signal in found if signal.sequence < end]
    shown = inside[: -PAGE - 1 : -1]
    following = shown[-1].sequence if len(inside) > len(shown) else start if start > 1 else None
    return shown, following


def _endpoints(engine: Engine) -> list[dict[str, Any]]:
    standing = {each.endpoint: each for each in engine.store.webhooks.standing()}
    return [{"endpoint": each, "standing": standing.get(each.id)} for each in engine.store.webhooks.all()]


@router.get("/signals/{sequence}")
def signal(request: Request, engine: TheEngine, sequence: Annotated[int, Path(ge=1, le=SEQUENCE_MAX)]) -> Response:
    found = engine.store.signals.numbered([sequence])
    if not found:
        raise Refused([f"there is no signal {sequence}"])
    return page(request, "signal.html", signal=found[0], facts=facts(found[0]), text=_laid_out(found[0]))


def facts(signal: RecordedSignal) -> list[tuple[str, str]]:
    """What its data says beside the rest of it, as a person reads it; what has parts is left to the text."""
    plain = {name: value for name, value in signal.data.items() if isinstance(value, str | int) and name != "feature"}
    return [(name.replace("_", " ").capitalize(), _said(name, str(value))) for name, value in plain.items()]


def _said(name: str, value: str) -> str:
    if name.endswith(("_at", "_start", "_end")):
        return instant(datetime.fromisoformat(value), "second")
    is_quantity = name in _QUANTITIES and _is_number(value)
    return number(value) if is_quantity else value


def _laid_out(signal: RecordedSignal) -> str:
    return msgspec.json.format(signal_json(signal), indent=2).decode()


@router.post("/signals/endpoints")
async def add(request: Request, engine: TheEngine) -> Response:
    """The answer shows the secret, this once."""
    form = await form_of(request)
    types, customers = form.get("types").split(), form.get("customers").split()
    made = await run_in_threadpool(engine.signalling.endpoints.add, form.get("url"), types, customers)
    return page(request, "endpoint_made.html", made=made)


@router.get("/signals/endpoints/{key}")
def endpoint(
    request: Request,
    engine: TheEngine,
    key: Id,
    state: Literal[DeliveryState, ""] = "",
    after: Annotated[int, Query(ge=0, le=SEQUENCE_MAX)] = 0,
) -> Response:
    found = engine.store.webhooks.deliveries(key, state or None, after=after, limit=PAGE)
    following = found[-1].signal if len(found) == PAGE else None
    kept = {"state": state} if state else {}
    return page(
        request,
        "endpoint.html",
        endpoint=engine.store.webhooks.get(key),
        standing=next((each for each in engine.store.webhooks.standing() if each.endpoint == key), None),
        state=state,
        deliveries=_with_tries(engine, key, found),
        following=f"/signals/endpoints/{key}?{urlencode({**kept, 'after': following})}" if following else None,
    )


def _with_tries(engine: Engine, key: str, found: list[Delivery]) -> list[DeliveryShown]:
    numbers = [each.signal for each in found]
    signals = {each.sequence: each for each in engine.store.signals.numbered(numbers)}
    tries: dict[int, list[Attempt]] = {}
    for one in engine.store.webhooks.attempts(key, numbers):
        tries.setdefault(one.signal, []).append(one)
    return [DeliveryShown(each, signals.get(each.signal), tries.get(each.signal, [])) for each in found]


@router.post("/signals/endpoints/{key}/test")
def test(request: Request, engine: TheEngine, key: Id) -> Response:
    sent = engine.signalling.endpoints.test(key)
    answer = f"answered {sent.status}" if sent.status is not None else sent.error
    return said(request, f"A test was sent: {answer}.", "good" if sent.is_taken else "bad")


@router.post("/signals/endpoints/{key}/state")
async def change_state(request: Request, engine: TheEngine, key: Id) -> Response:
    asked = (await form_of(request)).get("state")
    if asked not in ("active", "paused"):
        raise Refused([f"state is {asked[:80]!r}: active or paused"])
    state: EndpointState = "active" if asked == "active" else "paused"
    await run_in_threadpool(engine.signalling.endpoints.change, key, None, None, None, state)
    return go_to(request, f"/signals/endpoints/{key}")


@router.post("/signals/endpoints/{key}/replay")
async def replay(request: Request, engine: TheEngine, key: Id) -> Response:
    """What was given up, one signal, or all behind a sequence."""
    form = await form_of(request)
    endpoints = engine.signalling.endpoints
    if form.get("what") == "dead":
        done = await run_in_threadpool(endpoints.replay_dead, key)
    else:
        numbers = form.numbers("signal")
        if len(numbers) != 1:
            raise Refused(["say which signal to deliver again"])
        until = None if form.get("what") == "behind" else numbers[0]
        done = await run_in_threadpool(endpoints.replay, key, numbers[0] - 1, until)
    return said(request, _replayed(done))


def _replayed(done: Replayed) -> str:
    more = f" There was no room for all; go on behind signal {done.next}." if done.next is not None else ""
    return f"{many(done.replayed, 'signal')} on the way again, under the same ids.{more}"
