"""Prepaid credits: granted, voided and refunded here, and the ledgers that say what became of them."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response

from api.credit_checks import EARLIEST, meters_of
from api.credit_models import GrantIn, GrantOut, GrantPage, LedgerPage, RefundIn, RefundOut, VoidIn
from api.documentation import problems, tables
from api.engine import Engine
from api.frames import JSON, json_response, media_of, rows, table_response
from api.models import Key
from api.paths import anything
from api.wiring import After, Limit, TheEngine
from rating.core.credits.schema import UNITS
from rating.core.money import grouped_sum, plain
from store.credits import Grant, Refund

router = APIRouter(prefix="/v1", tags=["credits"])

ENTRIES_MAX = 2**63 - 1
_CUSTOMER = f"/customers/{anything('key')}/credits"
_MICROSECOND = timedelta(microseconds=1)
_DECIMALS = ("increment", "factor", "rollover_minimum", "rollover_maximum", "cost_basis")
Customer = Annotated[Key, Path(description="of a customer")]


@router.post(_CUSTOMER, status_code=201, response_model=GrantOut, responses=problems(400, 404, 409, 413, 507))
def grant_credits(engine: TheEngine, key: Customer, given: GrantIn) -> Response:
    """Grant a customer money or units of usage. The same grant under the same id again changes nothing, and is answered
    as the first time."""
    in_force = engine.in_force
    grant = engine.credits.grant(_grant(engine, key, given), in_force.catalog, in_force.book)
    return json_response(_recorded(grant), 201)


@router.get(
    f"{_CUSTOMER}/ledger", response_model=LedgerPage, responses={200: tables("The entries"), **problems(404, 406)}
)
def read_ledger(
    engine: TheEngine,
    key: Customer,
    run: Annotated[str | None, Query(description="of this rating run; the newest that is done, unless given")] = None,
    period: Annotated[str | None, Query(description="of the newest run of this period")] = None,
    after: Annotated[int | None, Query(ge=0, le=ENTRIES_MAX, description="the `next` of the page before")] = None,
    limit: Limit = 100,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """What happened to the credits of a customer in a rating run, entry by entry: each burn with the line and the event
    that it paid, and the balance before and after. JSON comes in pages; Arrow, Parquet and CSV come whole."""
    media = media_of(accept)
    ledger = engine.credits.ledger(key, run, period)
    if media != JSON:
        return table_response(ledger.entries.collect(), media, f"{ledger.run.id}-credits")
    behind = ledger.entries if after is None else ledger.entries.filter(pl.col("entry") > after)
    page = behind.head(limit).collect()
    following = page["entry"][-1] if page.height == limit else None
    items = _entries(engine, page)
    return json_response({"run": ledger.run.id, "period": ledger.run.period, "items": items, "next": following})


@router.get(_CUSTOMER, response_model=GrantPage, responses=problems(404))
def list_credits(engine: TheEngine, key: Customer, after: After = None, limit: Limit = 100) -> Response:
    """Everything granted to a customer, by its plans too, in the order of ids, with what is left of it as of now: every
    acknowledged event counts, by the code that makes bills."""
    found = engine.credits.of_customer(key, engine.in_force.book)
    page = found.filter(pl.col("grant") > after).head(limit) if after is not None else found.head(limit)
    following = page["grant"][-1] if page.height == limit else None
    sums = grouped_sum(found.lazy(), ["unit"], ["balance", "pending", "available"]).sort("unit").collect()
    items = [_standing(row) for row in rows(page)]
    return json_response({"items": items, "totals": rows(sums), "next": following})


@router.post("/credits/{grant}/void", response_model=GrantOut, responses=problems(400, 404, 409, 413, 507))
def void_credits(
    engine: TheEngine, grant: Annotated[str, Path(description="id of a grant")], given: VoidIn | None = None
) -> Response:
    """Take what is left of a grant, now or at a later instant. What it has paid stays paid."""
    return json_response(_recorded(engine.credits.void(grant, given.at if given is not None else None)))


@router.post(
    "/charge-lines/{line}/refund",
    status_code=201,
    response_model=RefundOut,
    responses=problems(400, 404, 409, 413, 507),
)
def refund_credits(
    engine: TheEngine, line: Annotated[str, Path(description="id of a charge line")], given: RefundIn
) -> Response:
    """Give back what credits paid of a line, to the grants that paid it, the last one first; of a credit line, to its
    grant alone. A line keeps its id in every run, and it takes a run from after its month to refund it.

    The same refund under the same id again changes nothing, and is answered as the first time.
    """
    asked = {**given.model_dump(mode="json", exclude={"id"}), "line": line}
    amount = None if given.amount is None else Decimal(given.amount)
    return json_response(
        _refunded(engine.credits.refund(line, given.id, asked, amount, event=given.event, unit=given.unit)), 201
    )


def _grant(engine: Engine, customer: str, given: GrantIn) -> Grant:
    now, catalog = engine.now(), engine.in_force.catalog
    number, unit = (given.units, UNITS) if given.units is not None else (given.amount, str(given.currency))
    decimals = {name: getattr(given, name) for name in _DECIMALS}
    effective_at = given.effective_at or now
    return Grant(
        id=given.id,
        customer=customer,
        subscription=given.subscription,
        kind=given.kind,
        unit=unit,
        amount=Decimal(str(number)),
        priority=given.priority,
        created_at=now,
        effective_at=effective_at,
        expires_at=given.expires_at,
        voided_at=None,
        features=given.features,
        meters=meters_of(given.features, given.meters, catalog),
        prices=given.prices,
        recurs_every=given.recurs_every,
        recurs_from=given.recurs_from or (effective_at if given.recurs_every is not None else None),
        given=_asked(given),
        **{name: None if value is None else Decimal(value) for name, value in decimals.items()},
    )


def _asked(given: GrantIn) -> dict[str, Any]:
    """What was asked for, the same for numbers and instants that mean the same."""
    asked = given.model_dump(mode="json", exclude={"id"})
    numbers = {name: asked[name] for name in ("amount", "units", *_DECIMALS) if asked[name] is not None}
    instants = {name: getattr(given, name) for name in ("effective_at", "expires_at", "recurs_from")}
    microseconds = {name: None if at is None else (at - EARLIEST) // _MICROSECOND for name, at in instants.items()}
    return {**asked, **{name: plain(Decimal(value)) for name, value in numbers.items()}, **microseconds}


def _recorded(grant: Grant) -> dict[str, Any]:
    fields = {name: getattr(grant, name) for name in GrantOut.model_fields if hasattr(grant, name)}
    texts = {name: plain(value) for name, value in fields.items() if isinstance(value, Decimal)}
    scope = {"meters": grant.meters or None, "prices": grant.prices or None}
    return {**fields, **texts, **scope, "by": "customer"}


def _standing(row: dict[str, Any]) -> dict[str, Any]:
    return {("id" if name == "grant" else name): value for name, value in row.items()}


def _refunded(refund: Refund) -> dict[str, Any]:
    parts = [{**vars(part), "amount": plain(part.amount), "covered": plain(part.covered)} for part in refund.parts]
    fields = {name: value for name, value in vars(refund).items() if name != "given"}
    return {**fields, "amount": plain(refund.amount), "parts": parts}


def _entries(engine: Engine, page: pl.DataFrame) -> list[dict[str, Any]]:
    events = engine.credits.events(page)
    items = rows(page.drop("run", "customer", "period"))
    for item in items:
        if item["event"] is not None:
            source, event = events.get(item["event"], (None, None))
            item["event"] = {"sequence": item["event"], "source": source, "id": event}
    return items
