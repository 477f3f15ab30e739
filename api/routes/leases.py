"""Leases: a slice of a quota is held for a gateway, which spends it by itself and says now and then how much."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api.documentation import Responses, problems
from api.engine import Engine
from api.frames import json_response
from api.lease_models import LeaseIn, LeaseOut, LeasePage, ReleaseIn, ReportIn
from api.leases import LeaseAsked, ReportAsked
from api.models import QuotaOut
from api.quota_answers import body_of, headers_of, status_of
from api.wiring import After, TheEngine
from rating.core.money import plain
from rating.core.quota.answer import EXACT, QuotaAnswer
from store.errors import Refused
from store.leases import Lease, State

router = APIRouter(prefix="/v1/leases", tags=["quota"])

RENEW_SHARE = Decimal("0.8")
_NOTHING = Decimal(0)
_QUOTA = ("limit", "used", "reserved", "remaining", "resets_at")
_FIELDS = ("id", "subject", "customer", "feature", "sequence", "records", "expires_at", "state")
Id = Annotated[str, Path(description="of a lease")]
Limit = Annotated[int, Query(ge=1, le=1_000)]
_REFUSED: Responses = {
    402: {"model": QuotaOut, "description": "Not without more credit or another plan"},
    403: {"model": QuotaOut, "description": "No plan gives it, or the customer is suspended"},
    429: {"model": QuotaOut, "description": "Not now; `Retry-After` is when its window ends"},
}


@router.post("", status_code=201, response_model=LeaseOut, responses={**_REFUSED, **problems(400, 409, 413, 503, 507)})
def make_lease(engine: TheEngine, given: LeaseIn) -> Response:
    """Hold a slice of a quota: nobody else may use it until it is reported, released, or expires.

    It is granted whole while nobody else holds any, else no more than half of what is left, but at least `minimum`.
    The same again under the same id is answered as the first time, as the lease is by now.
    """
    made = engine.leases.make(_asked(engine, given))
    engine.quota.answers.add("lease", made.reason if isinstance(made, QuotaAnswer) else "allowed")
    if isinstance(made, QuotaAnswer):
        return json_response(body_of(made), status_of(made), headers_of(made, engine.now()))
    return json_response(_shown(engine, made), 201)


@router.get("", response_model=LeasePage)
def list_leases(
    engine: TheEngine,
    customer: Annotated[str | None, Query(description="of this customer only")] = None,
    state: Annotated[State | None, Query(description="in this state only")] = None,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """The leases by id. Those that ended more than 30 days ago are not kept."""
    found = engine.leases.page(customer, state, after, limit)
    following = found[-1].id if len(found) == limit else None
    return json_response({"items": [_shown(engine, lease, is_listed=True) for lease in found], "next": following})


@router.get("/{id}", response_model=LeaseOut, responses=problems(404))
def get_lease(engine: TheEngine, id: Id) -> Response:
    """One lease, and the quota that it is of."""
    lease = engine.leases.get(id)
    return json_response(_shown(engine, lease))


@router.post("/{id}/report", response_model=LeaseOut, responses=problems(400, 404, 409, 413, 503, 507))
def report_lease(engine: TheEngine, id: Id, given: ReportIn) -> Response:
    """Say how much of a lease was used, and renew it. What is reported becomes an event with an identity of its own, so
    the same report again, or an older one, changes nothing; `used` below the last is refused.

    Usage of a lease that has expired or above its slice is recorded too: it is usage.
    """
    renew = None if given.renew is None else Decimal(given.renew)
    asked = ReportAsked(given.sequence, Decimal(given.used), given.at, given.data, renew)
    lease = engine.leases.report(id, asked)
    return json_response(_shown(engine, lease))


@router.post("/{id}/release", response_model=LeaseOut, responses=problems(400, 404, 409, 413, 503, 507))
def release_lease(engine: TheEngine, id: Id, given: ReleaseIn) -> Response:
    """End a lease, with a last report: what it did not use is anybody's at once."""
    used = None if given.used is None else Decimal(given.used)
    lease = engine.leases.release(id, ReportAsked(given.sequence, used, given.at, given.data))
    return json_response(_shown(engine, lease))


def _asked(engine: Engine, given: LeaseIn) -> LeaseAsked:
    amount, minimum = Decimal(given.amount), Decimal(given.minimum or given.amount)
    seconds_max = engine.settings.lease_seconds_max
    problems = []
    if not 0 < minimum <= amount:
        problems.append(f"`minimum` {plain(minimum)} is not above 0 and at most `amount` {plain(amount)}")
    if given.seconds > seconds_max:
        problems.append(f"`seconds` is {given.seconds}; a lease is valid for at most {seconds_max}, and can be renewed")
    if problems:
        raise Refused(problems)
    return LeaseAsked(given.id, given.subject, given.feature, amount, minimum, given.seconds, given.records, given.data)


def _shown(engine: Engine, lease: Lease, *, is_listed: bool = False) -> dict[str, Any]:
    whole = {name: getattr(lease, name) for name in _FIELDS}
    over = max(EXACT.subtract(lease.used, lease.granted), _NOTHING)
    amounts = {"granted": lease.granted, "used": lease.used, "renew_at": _renew_at(lease), "overspent": over}
    texts = {name: plain(value) for name, value in amounts.items()}
    seconds = max((lease.expires_at - engine.now()).total_seconds(), 0.0) if lease.state == "open" else 0.0
    quota = None if is_listed else body_of(engine.leases.standing(lease))
    of_quota = None if quota is None else {name: quota[name] for name in _QUOTA}
    return {**whole, **texts, "expires_in": seconds, "quota": of_quota}


def _renew_at(lease: Lease) -> Decimal:
    """When a fifth of the slice is left; of a whole one in whole units."""
    slice = min(Decimal(lease.given["amount"]), lease.granted)
    left = EXACT.multiply(slice, 1 - RENEW_SHARE)
    is_whole = slice == slice.to_integral_value()
    return EXACT.subtract(lease.granted, left.to_integral_value() if is_whole else left)
