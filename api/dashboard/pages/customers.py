"""Customers: who there is; and of one what it uses, owes, may use, agreed to, and was told."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api.burn_down import BurnDown, burn_down
from api.current_charges import CurrentCharges
from api.dashboard.charts import Chart, Series
from api.dashboard.drawn import Spanned, share, spans
from api.dashboard.rendering import PageRoute, is_partial, page
from api.engine import Engine
from api.paths import anything
from api.routes.lines import line_items
from api.usage import UsageQuery
from api.wiring import TheEngine
from rating.core.metering import is_change, is_sum
from rating.core.money import exact_sum, plain
from rating.core.periods import month_of
from rating.core.quota.answer import QuotaAnswer
from rating.core.quota.judging import quantity_of
from store.customers import Customer
from store.signals import RecordedSignal, Selection
from store.subscription_changes import SubscriptionChange

router = APIRouter(route_class=PageRoute)

PAGE = 50
METERS_SHOWN = 12
SUBSCRIPTIONS_SHOWN = 20
LINES_SHOWN = 200
SIGNALS_SHOWN = 10
SIGNALS_LOOKED = 2_000
BEHIND, AHEAD = timedelta(days=180), timedelta(days=60)
"""How much of the past and of what is to come a timeline shows at least."""
Key = Annotated[str, Path(max_length=500)]
Part = Literal["", "usage", "charges", "entitlements", "credits", "signals"]


@dataclass(frozen=True)
class Listed:
    """A customer with its subscriptions that hold now: their plans."""

    customer: Customer
    plans: list[str]


@dataclass(frozen=True)
class EntitledShown:
    """What a customer may use of a feature; `left` of each grant (null: of the plan itself)."""

    answer: QuotaAnswer
    name: str
    chart: Chart | None
    grants: list[dict[str, Any]]


@dataclass(frozen=True)
class SubscriptionShown:
    """A subscription on a line of time from `first` to `last`, with `now` as a place on it; `changes` are recorded."""

    key: str
    terms: dict[str, Any]
    current: dict[str, Any]
    first: datetime
    last: datetime
    now: str
    items: list[tuple[str, list[Spanned]]]
    changes: list[SubscriptionChange]


@router.get("/customers")
def customers(request: Request, engine: TheEngine, search: str = "", after: str = "") -> Response:
    found = engine.store.customers.page(after=after or None, limit=PAGE + 1, holding=search)
    shown = found[:PAGE]
    asked = {"search": search} if search else {}
    following = f"/customers?{urlencode({**asked, 'after': shown[-1].key})}" if len(found) > PAGE else None
    template = "customers_list.html" if is_partial(request) else "customers.html"
    return page(
        request,
        template,
        found=_listed(engine, shown),
        search=search,
        after=after,
        following=following,
        count=engine.store.customers.count(),
        url=str(request.base_url).rstrip("/"),
    )


def _listed(engine: Engine, found: list[Customer]) -> list[Listed]:
    now = engine.now()
    frame = engine.store.subscriptions.subscriptions_frame(of=[one.key for one in found]) if found else None
    plans: dict[str, list[str]] = {}
    for row in [] if frame is None else frame.iter_rows(named=True):
        if row["starts_at"] <= now and (row["ends_at"] is None or row["ends_at"] > now):
            plans.setdefault(row["customer"], []).append(row["plan"].split("\n")[0])
    return [Listed(one, sorted(set(plans.get(one.key, [])))) for one in found]


@router.get(f"/customers/{anything('key')}")
def customer(
    request: Request, engine: TheEngine, key: Key, part: Annotated[Part, Query()] = "", meter: str = ""
) -> Response:
    """A whole page, or the `part` of it that takes longer."""
    found = engine.store.customers.get(key)
    if part:
        return page(request, f"customer_{part}.html", customer=found, **_PARTS[part](engine, found, meter))
    return page(
        request,
        "customer.html",
        customer=found,
        has_catalog=engine.status()["catalog"] is not None,
        subscriptions=_subscriptions(engine, found),
        states=engine.store.customer_states.of_customer(key, after=None, limit=50),
        month=month_of(engine.now(), found.time_zone),
        url=str(request.base_url).rstrip("/"),
    )


def _usage(engine: Engine, customer: Customer, meter: str) -> dict[str, Any]:
    now = engine.now()
    month = month_of(now, customer.time_zone)
    start, end = month.start(ZoneInfo(customer.time_zone)), now
    keys = [one.key for one in engine.in_force.book.meters if not is_change(one)][:METERS_SHOWN]
    totals = [(key, *_total(engine, customer, key, start, end)) for key in keys]
    totals = [row for row in totals if row[2]]
    chosen = meter if meter in keys else max(totals, key=lambda row: row[2], default=("",))[0]
    chart = _usage_chart(engine, customer, chosen, start, end) if chosen else None
    return {"totals": totals, "chart": chart, "chosen": chosen, "month": month}


def _total(engine: Engine, customer: Customer, key: str, start: datetime, end: datetime) -> tuple[Decimal, int]:
    found = engine.usage(UsageQuery(key, start, end, customer=customer.key))
    return (exact_sum(found["quantity"]), int(found["events"].sum())) if found.height else (Decimal(0), 0)


def _usage_chart(engine: Engine, customer: Customer, key: str, start: datetime, end: datetime) -> Chart:
    zone = customer.time_zone
    found = engine.usage(UsageQuery(key, start, end, customer=customer.key, window="day", time_zone=zone))
    x = [_iso(at) for at in found["window_start"]]
    values = [plain(value) for value in found["quantity"]]
    unit = getattr(engine.in_force.catalog.meters[key], "unit", None) or ""
    kind: Literal["bars", "line"] = "bars" if is_sum(engine.in_force.meter(key)) else "line"
    return Chart("usage", f"{key} by day", kind, x, [Series(key, values)], unit, "day", time_zone=zone)


def _charges(engine: Engine, customer: Customer, _: str) -> dict[str, Any]:
    found = engine.current_charges(customer.key)
    lines = sorted(line_items(found.lines), key=lambda line: -abs(Decimal(str(line["rounded_amount"]))))
    return {
        "found": found,
        "totals": found.totals.to_dicts(),
        "periods": found.periods.to_dicts(),
        "lines": lines[:LINES_SHOWN],
        "lines_all": len(lines),
        "chart": _charges_chart(found),
    }


def _charges_chart(found: CurrentCharges) -> Chart | None:
    """The largest lines of the first currency, by price."""
    if found.lines.is_empty():
        return None
    currency = found.totals["currency"][0]
    sums: dict[str, Decimal] = {}
    for price, kind, own, amount in found.lines.select("price", "kind", "currency", "amount").iter_rows():
        if own == currency:
            name = price or f"{kind} of the plan"
            sums[name] = sums.get(name, Decimal(0)) + amount
    largest = sorted(sums.items(), key=lambda pair: -abs(pair[1]))[:10]
    series = [Series(currency, [plain(amount) for _, amount in largest])]
    return Chart("charges", "Where it comes from", "rows", [name for name, _ in largest], series, currency, digits=2)


def _entitlements(engine: Engine, customer: Customer, _: str) -> dict[str, Any]:
    shown = []
    for entitled in engine.quota_records.entitlements(customer.key, None):
        answer = entitled.answer
        view = next((one for one in entitled.views if one.scope == "customer"), None)
        left = view.standing.left_after(view.used) if view is not None else ()
        recorded = {grant.id: grant for grant in _grants(engine, customer.key)}
        grants = [{"id": name, "left": quantity_of(amount), "grant": recorded.get(name)} for name, amount in left]
        name = engine.in_force.catalog.features[answer.feature].name or answer.feature
        chart = _burn_chart(answer, burn_down(engine, customer.key, answer), customer.time_zone)
        shown.append(EntitledShown(answer, name, chart, grants))
    return {"entitled": shown}


def _grants(engine: Engine, customer: str) -> list[Any]:
    return engine.store.quota_grants.of_customer(customer, after=None, limit=100)


def _burn_chart(answer: QuotaAnswer, found: BurnDown | None, zone: str) -> Chart | None:
    if found is None:
        return None
    left = [None if value is None else plain(value) for value in found.left]
    limit = [plain(found.limit) for _ in found.x]
    series = [Series("Left", left), Series("Limit", limit, "limit")]
    x = [_iso(at) for at in found.x]
    return Chart(f"burn-{answer.feature}", "What was left", "area", x, series, precision=found.window, time_zone=zone)


def _credits(engine: Engine, customer: Customer, _: str) -> dict[str, Any]:
    return {"grants": engine.credits.of_customer(customer.key, engine.in_force.book).to_dicts()}


def _signals(engine: Engine, customer: Customer, _: str) -> dict[str, Any]:
    """The newest first."""
    last = engine.store.signals.last_sequence()
    selected = Selection((), (customer.key,))
    found: list[RecordedSignal] = engine.store.signals.after(
        max(last - SIGNALS_LOOKED, 0), limit=SIGNALS_LOOKED, selected=selected
    )
    return {"signals": found[: -SIGNALS_SHOWN - 1 : -1]}


_PARTS = {
    "usage": _usage,
    "charges": _charges,
    "entitlements": _entitlements,
    "credits": _credits,
    "signals": _signals,
}


def _subscriptions(engine: Engine, customer: Customer) -> list[SubscriptionShown]:
    found = engine.store.subscriptions.page(customer=customer.key, after=None, limit=SUBSCRIPTIONS_SHOWN)
    return [_subscription(engine, one.key) for one in found]


def _subscription(engine: Engine, key: str) -> SubscriptionShown:
    timeline, now = engine.subscription_timeline(key, None), engine.now()
    changes = engine.subscription_changes(key, None, after=0, limit=50)
    starts = [segment["starts_at"] for segment in timeline.segments]
    ends = [segment["ends_at"] for segment in timeline.segments if segment["ends_at"]]
    first = max(min([now - BEHIND, *starts]), min(starts, default=now) - timedelta(days=10))
    last = max([now + AHEAD, *ends])
    items: dict[str, list[tuple[str, datetime, datetime | None]]] = {}
    for segment in timeline.segments:
        items.setdefault(segment["item"], []).append((_said(segment), segment["starts_at"], segment["ends_at"]))
    drawn = [(item, spans(found, first, last, now)) for item, found in items.items()]
    place = share(now, first, last)
    return SubscriptionShown(key, timeline.terms, timeline.current, first, last, place, drawn, changes)


def _said(segment: dict[str, Any]) -> str:
    seats = Decimal(segment["seats"])
    some = f", {plain(seats)} seats" if seats != 1 else ""
    trial = ", trial" if segment["state"] == "trial" else ""
    prices = "".join(f", {new} for {old}" for old, new in segment["prices"].items())
    return f"{segment['plan']}{some}{trial}{prices}"


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
