"""Subscriptions: what was agreed, the changes since, and what holds when."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Body, Path, Query
from starlette.responses import Response

from api.credit_checks import EARLIEST
from api.documentation import problems
from api.engine import Engine
from api.frames import json_response
from api.models import BULK_MAX, Key, Stored
from api.paths import anything
from api.subscription_models import (
    OneOrMany,
    SegmentOut,
    SubscriptionChangeIn,
    SubscriptionChangeOut,
    SubscriptionChangePage,
    SubscriptionChanges,
    SubscriptionIn,
    SubscriptionOut,
    SubscriptionPage,
    SubscriptionWithKey,
    TimelineOut,
)
from api.subscriptions import AskedCycle
from api.wiring import After, AsOf, Limit, TheEngine
from rating.core.money import plain
from rating.core.subscriptions import PLAN_ITEM
from store.subscription_changes import AskedChange, SubscriptionChange
from store.subscriptions import Subscription

router = APIRouter(prefix="/v1/subscriptions", tags=["customers"])

SEQUENCE_MAX = 2**63 - 1
_MICROSECOND = timedelta(microseconds=1)
Many = Annotated[list[SubscriptionWithKey], Body(max_length=BULK_MAX)]
Changes = Annotated[OneOrMany, Body()]


@router.post("", response_model=Stored, responses=problems(400, 413, 507))
def put_subscriptions(engine: TheEngine, subscriptions: Many) -> Stored:
    """Add or replace many subscriptions at once: all of them, or none when one is refused."""
    engine.put_subscriptions([_subscription(given.key, given) for given in subscriptions])
    return Stored(stored=len(subscriptions))


@router.get("", response_model=SubscriptionPage)
def list_subscriptions(
    engine: TheEngine,
    customer: Annotated[str | None, Query(description="only those of this customer")] = None,
    after: After = None,
    limit: Limit = 100,
) -> SubscriptionPage:
    """Subscriptions in the order of their keys."""
    page = engine.store.subscriptions.page(customer=customer, after=after, limit=limit)
    following = page[-1].key if len(page) == limit else None
    return SubscriptionPage(items=[_shown(subscription) for subscription in page], next=following)


@router.post(
    f"/{anything('key')}/changes",
    status_code=201,
    response_model=SubscriptionChanges,
    responses=problems(400, 404, 409, 413, 507),
)
def change_subscription(engine: TheEngine, key: Annotated[Key, Path()], changes: Changes) -> Response:
    """Change a subscription from an instant on, in the past or to come: another plan, other seats or prices, an add-on,
    a pause, its end. One change or a list, recorded all or none; what is recorded stays, and is taken back by another
    change at the same instant.

    The same change under the same id again changes nothing, and is answered as the first time.
    """
    given = changes if isinstance(changes, list) else [changes]
    asked: list[AskedChange] = []
    for change in given:
        asked.append(_asked(engine, key, change, asked))
    recorded = engine.change_subscription(key, asked)
    return json_response({"items": [_recorded(change) for change in recorded]}, 201)


@router.get(f"/{anything('key')}/changes", response_model=SubscriptionChangePage, responses=problems(404, 409))
def list_changes(
    engine: TheEngine,
    key: Annotated[Key, Path()],
    as_of: AsOf = None,
    after: Annotated[int, Query(ge=0, le=SEQUENCE_MAX, description="the `next` of the page before")] = 0,
    limit: Limit = 100,
) -> Response:
    """The changes of a subscription, in the order of their record."""
    page = engine.subscription_changes(key, as_of, after=after, limit=limit)
    following = page[-1].sequence if len(page) == limit else None
    return json_response({"items": [_recorded(change) for change in page], "next": following})


@router.get(f"/{anything('key')}/timeline", response_model=TimelineOut, responses=problems(404, 409))
def read_timeline(engine: TheEngine, key: Annotated[Key, Path()], as_of: AsOf = None) -> Response:
    """What holds when: the times in which nothing of an item of the subscription changes, and the billing periods that
    contain now (or `as_of`) and follow it."""
    timeline = engine.subscription_timeline(key, as_of)
    terms = {name: timeline.terms[name] for name in TimelineOut.model_fields if name in timeline.terms}
    segments = [
        {
            "from": segment["starts_at"],
            "to": segment["ends_at"],
            **{name: segment[name] for name in SegmentOut.model_fields if name in segment},
        }
        for segment in timeline.segments
    ]
    periods = {"current_period": _period(timeline.current), "next_period": _period(timeline.next)}
    return json_response({**terms, "segments": segments, **periods})


@router.put(f"/{anything('key')}", response_model=SubscriptionOut, responses=problems(400, 413, 507))
def put_subscription(engine: TheEngine, key: Annotated[Key, Path()], subscription: SubscriptionIn) -> SubscriptionOut:
    """Add a subscription or replace what was agreed at first; the changes since stay."""
    engine.put_subscriptions([_subscription(key, subscription)])
    return _shown(engine.store.subscriptions.get(key))


@router.get(f"/{anything('key')}", response_model=SubscriptionOut, responses=problems(404))
def read_subscription(engine: TheEngine, key: Annotated[Key, Path()]) -> SubscriptionOut:
    return _shown(engine.store.subscriptions.get(key))


def _subscription(key: str, given: SubscriptionIn) -> Subscription:
    is_quarter = given.interval == "quarter"
    return Subscription(
        key=key,
        customer=given.customer,
        plan=given.plan,
        starts_at=given.starts_at,
        ends_at=given.ends_at,
        interval="month" if is_quarter else given.interval,
        intervals=given.intervals * 3 if is_quarter else given.intervals,
        anchor=given.anchor,
        seats=Decimal(given.seats),
        trial_ends_at=given.trial_ends_at,
    )


def _shown(subscription: Subscription) -> SubscriptionOut:
    return SubscriptionOut.model_validate({**vars(subscription), "seats": plain(subscription.seats)})


def _asked(engine: Engine, key: str, given: SubscriptionChangeIn, before: Sequence[AskedChange]) -> AskedChange:
    """What was asked for, with the changes `before` it in one request."""
    at = engine.subscriptions.instant(key, given.at)
    is_of_plan = any(value is not None for value in (given.plan, given.seats, given.prices))
    cycle = given.cycle and engine.subscriptions.cycle(key, at, AskedCycle(**dict(given.cycle)), before)
    return AskedChange(
        id=given.id or f"chg_{uuid4().hex}",
        effective_at=at,
        item=given.item or (PLAN_ITEM if is_of_plan else None),
        plan=given.plan,
        seats=None if given.seats is None else Decimal(given.seats),
        state=given.state,
        prices=given.prices,
        **(cycle or {}),
        given=_meaning(given),
    )


def _meaning(given: SubscriptionChangeIn) -> dict[str, Any]:
    """What was asked for, the same for numbers and instants that mean the same."""
    asked = given.model_dump(mode="json", exclude={"id", "cycle"})
    cycle = {} if given.cycle is None else {"cycle": {**dict(given.cycle), "anchor": _number(given.cycle.anchor)}}
    seats = None if given.seats is None else plain(Decimal(given.seats))
    return {**asked, "at": _number(given.at), "seats": seats, **cycle}


def _number(at: datetime | str | None) -> int | str | None:
    return (at - EARLIEST) // _MICROSECOND if isinstance(at, datetime) else at


def _recorded(change: SubscriptionChange) -> dict[str, Any]:
    fields = {name: getattr(change, name) for name in SubscriptionChangeOut.model_fields}
    return {**fields, "seats": None if change.seats is None else plain(change.seats)}


def _period(period: dict[str, Any]) -> dict[str, Any]:
    return {"period": period["period"], "from": period["period_start"], "to": period["period_end"]}
