"""Which customer is on which plan, and when."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query

from api.documentation import problems
from api.models import (
    BULK_MAX,
    Key,
    Stored,
    SubscriptionIn,
    SubscriptionOut,
    SubscriptionPage,
    SubscriptionWithKey,
)
from api.paths import anything
from api.wiring import After, Limit, TheEngine
from store.subscriptions import Subscription

router = APIRouter(prefix="/v1/subscriptions", tags=["customers"])

Many = Annotated[list[SubscriptionWithKey], Body(max_length=BULK_MAX)]


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
    return SubscriptionPage(items=[SubscriptionOut.model_validate(s) for s in page], next=following)


@router.put(f"/{anything('key')}", response_model=SubscriptionOut, responses=problems(400, 413, 507))
def put_subscription(engine: TheEngine, key: Annotated[Key, Path()], subscription: SubscriptionIn) -> SubscriptionOut:
    """Add a subscription or replace it."""
    engine.put_subscriptions([_subscription(key, subscription)])
    return SubscriptionOut.model_validate(engine.store.subscriptions.get(key))


@router.get(f"/{anything('key')}", response_model=SubscriptionOut, responses=problems(404))
def read_subscription(engine: TheEngine, key: Annotated[Key, Path()]) -> SubscriptionOut:
    return SubscriptionOut.model_validate(engine.store.subscriptions.get(key))


def _subscription(key: str, given: SubscriptionIn) -> Subscription:
    return Subscription(key, given.customer, given.plan, given.starts_at, given.ends_at)
