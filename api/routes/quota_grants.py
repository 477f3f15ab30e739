"""Entitlements of customers: granted, overridden and shown here."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, TypeAdapter, ValidationError
from starlette.responses import Response

from api.credit_models import VoidIn
from api.documentation import problems
from api.engine import Engine
from api.entitlement_models import (
    EntitlementPage,
    OverrideIn,
    OverrideOut,
    OverridePage,
    QuotaGrantIn,
    QuotaGrantOut,
    QuotaGrantPage,
)
from api.frames import json_response
from api.models import Key
from api.paths import anything
from api.wiring import After, Limit, TheEngine
from rating.catalog.check_entitlements import check_window
from rating.catalog.entitlements import SomeWindow
from rating.core.money import plain
from rating.core.quota.judging import quantity_of
from rating.core.quota.windows import WindowRule
from rating.entitlements_at import Entitled
from store.errors import Refused
from store.quota_grants import QuotaGrantRecord
from store.quota_overrides import QuotaOverride

router = APIRouter(prefix="/v1", tags=["quota"])

Customer = Annotated[Key, Path(description="of a customer")]
Feature = Annotated[Key, Path(description="key of a feature of the catalog")]
Subject = Annotated[Key | None, Query(description="the limit of this subject alone; the customer's, unless given")]
_CUSTOMER = f"/customers/{anything('key')}"
_OVERRIDE = f"{_CUSTOMER}/overrides/{anything('feature')}"
_WINDOW: TypeAdapter[Any] = TypeAdapter(SomeWindow)


@router.post(
    f"{_CUSTOMER}/quota-grants",
    status_code=201,
    response_model=QuotaGrantOut,
    responses=problems(400, 404, 409, 413, 507),
)
def grant_quota(engine: TheEngine, key: Customer, given: QuotaGrantIn) -> Response:
    """Grant a customer an amount of a feature beside what its plans give. The same grant under the same id again
    changes nothing, and is answered as the first time."""
    made = engine.quota_records.grant(_grant(engine, key, given), engine.in_force.catalog)
    return json_response(_plain(made, "given"), 201)


@router.get(f"{_CUSTOMER}/quota-grants", response_model=QuotaGrantPage, responses=problems(404))
def list_quota_grants(engine: TheEngine, key: Customer, after: After = None, limit: Limit = 100) -> Response:
    """Everything recorded as granted to a customer, by id; what plans grant is among its entitlements."""
    engine.store.customers.get(key)
    found = engine.store.quota_grants.of_customer(key, after=after, limit=limit)
    following = found[-1].id if len(found) == limit else None
    return json_response({"items": [_plain(grant, "given") for grant in found], "next": following})


@router.post("/quota-grants/{grant}/void", response_model=QuotaGrantOut, responses=problems(400, 404, 409, 413, 507))
def void_quota_grant(
    engine: TheEngine, grant: Annotated[str, Path(description="id of a grant")], given: VoidIn | None = None
) -> Response:
    """Take what is left of a grant, now or at a later instant. What it has paid stays paid."""
    return json_response(_plain(engine.quota_records.void(grant, given.at if given is not None else None), "given"))


@router.put(_OVERRIDE, response_model=OverrideOut, responses=problems(400, 404, 413, 507))
def put_override(
    engine: TheEngine, key: Customer, feature: Feature, given: OverrideIn, subject: Subject = None
) -> Response:
    """Let something stand in for what the plans of a customer give of a feature, or limit one of its subjects alone.
    The override before ends where this one takes effect; the same again changes nothing."""
    asked = _override(engine, key, feature, subject, given)
    is_included = given.included is not None
    return json_response(_shown(engine.quota_records.override(asked, engine.in_force.catalog, is_included=is_included)))


@router.get(f"{_CUSTOMER}/overrides", response_model=OverridePage, responses=problems(404))
def list_overrides(engine: TheEngine, key: Customer) -> Response:
    """All overrides of a customer, those that have ended too, in the order in which they were put."""
    engine.store.customers.get(key)
    return json_response({"items": [_shown(one) for one in engine.store.quota_overrides.of_customer(key)]})


@router.delete(_OVERRIDE, response_model=OverrideOut, responses=problems(404, 507))
def delete_override(engine: TheEngine, key: Customer, feature: Feature, subject: Subject = None) -> Response:
    """Let the plans say it again from now on."""
    return json_response(_shown(engine.quota_records.end_override(key, feature, subject)))


@router.get(f"{_CUSTOMER}/entitlements", response_model=EntitlementPage, responses=problems(400, 404))
def list_entitlements(
    engine: TheEngine,
    key: Customer,
    at: Annotated[AwareDatetime | None, Query(description="at this instant; now, unless given")] = None,
) -> Response:
    """What a customer may use of each feature of the catalog, by its plans, what was granted and what stands in, and
    what is left of each grant; counted from its usage up to then."""
    found = engine.quota_records.entitlements(key, at)
    shown_at = at or engine.now()
    return json_response({"at": shown_at, "items": [_entitlement(one) for one in found]})


def _grant(engine: Engine, customer: str, given: QuotaGrantIn) -> QuotaGrantRecord:
    now = engine.now()
    effective_at = given.effective_at or now
    numbers = {name: getattr(given, name) for name in ("rollover_minimum", "rollover_maximum")}
    return QuotaGrantRecord(
        id=given.id or f"quota-grant-{uuid4().hex}",
        customer=customer,
        feature=given.feature,
        amount=Decimal(given.amount),
        priority=given.priority,
        created_at=now,
        effective_at=effective_at,
        expires_at=given.expires_at,
        voided_at=None,
        recurs_every=given.recurs_every,
        recurs_from=given.recurs_from or (effective_at if given.recurs_every is not None else None),
        given=_asked(given.model_dump(mode="json", exclude={"id"})),
        **{name: None if value is None else Decimal(value) for name, value in numbers.items()},
    )


def _asked(given: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, the same for numbers that mean the same."""
    numbers = ("amount", "limit", "rollover_minimum", "rollover_maximum")
    return {n: plain(Decimal(v)) if n in numbers and v is not None else v for n, v in given.items()}


def _override(engine: Engine, customer: str, feature: str, subject: str | None, given: OverrideIn) -> QuotaOverride:
    rule = None if given.window is None else _rule(given.window)
    grace = given.enforcement["grace"] if isinstance(given.enforcement, dict) else None
    is_unlimited = given.included if given.included is not None else given.limit is None
    return QuotaOverride(
        customer=customer,
        subject=subject,
        feature=feature,
        is_unlimited=is_unlimited,
        limit=None if is_unlimited else Decimal(given.limit or 0),
        enforcement="grace" if grace is not None else given.enforcement if given.enforcement else None,  # type: ignore[arg-type]
        grace=None if grace is None else Decimal(grace),
        window=rule,
        effective_at=given.effective_at or engine.now(),
        expires_at=given.expires_at,
        reason=given.reason,
        given=_asked(given.model_dump(mode="json", exclude_unset=True)),
    )


def _rule(window: str | Mapping[str, Any]) -> dict[str, Any]:
    """The fields of WindowRule. Raises Refused with what is wrong, as the catalog has it."""
    try:
        read = _WINDOW.validate_python(window)
    except ValidationError as error:
        raise Refused([f"window: {details['msg']}" for details in error.errors()]) from None
    wrong = [str(problem) for problem in check_window("window", read)]
    if wrong:
        raise Refused(wrong)
    rule: WindowRule = read.rule()
    values = {field.name: getattr(rule, field.name) for field in fields(rule)}
    return {name: v.isoformat() if isinstance(v, datetime) else v for name, v in values.items()}


def _plain(record: Any, *hidden: str) -> dict[str, Any]:
    values = {name: value for name, value in vars(record).items() if name not in hidden}
    return {name: plain(value) if isinstance(value, Decimal) else value for name, value in values.items()}


def _shown(override: QuotaOverride) -> dict[str, Any]:
    is_included = override.given.get("included")
    shown = {**_plain(override, "given", "is_unlimited"), "included": is_included}
    return shown if is_included is None else {**shown, "limit": None}


def _entitlement(entitled: Entitled) -> dict[str, Any]:
    answer = entitled.answer
    values = {field.name: getattr(answer, field.name) for field in fields(answer)}
    shown = {name: plain(value) if isinstance(value, Decimal) else value for name, value in values.items()}
    own = next((view for view in entitled.views if view.scope == "customer"), None)
    left = own.standing.left_after(own.used) if own is not None else ()
    grants = [{"id": name or None, "left": plain(quantity_of(amount))} for name, amount in left]
    return {**shown, "subject": answer.customer or "", "grants": grants}
