"""Overview: what happens now (ingest, signals, runs), and what the month has come to (usage, revenue, quotas)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dashboard.charts import Chart, Series
from api.dashboard.pages.runs_shown import RunShown, shown_run
from api.dashboard.rendering import PageRoute, page
from api.dashboard.state import DashboardState, state_of
from api.engine import Engine
from api.fullest import Fullest, fullest
from api.revenue import Revenue, recorded_revenue, revenue_of
from api.usage import UsageQuery
from api.usage_shown import sums_up
from api.wiring import TheEngine
from rating.core.metering import is_change
from rating.core.money import exact_sum, plain
from rating.core.periods import Month, month_of
from store.signals import RecordedSignal

METERS_SHOWN = 12
SIGNALS_SHOWN = 8
RUNS_SHOWN = 4
FULLEST_SHOWN = 12
PRICES_SHOWN = 8

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class MeterSoFar:
    """A meter in the month so far: one quantity a day, their total, and what it was by the same time a month before."""

    key: str
    unit: str
    total: Decimal
    before: Decimal
    days: list[Decimal]
    events: int


@router.get("/")
def overview(request: Request, engine: TheEngine) -> Response:
    return page(
        request,
        "overview.html",
        month=month_of(engine.now(), "UTC"),
        live=_live(engine, state_of(request)),
        activity=_activity(engine),
        has_catalog=engine.status()["catalog"] is not None,
        url=str(request.base_url).rstrip("/"),
    )


@router.get("/overview/live")
def live(request: Request, engine: TheEngine) -> Response:
    return page(request, "overview_live.html", live=_live(engine, state_of(request)))


@router.get("/overview/activity")
def activity(request: Request, engine: TheEngine) -> Response:
    return page(request, "overview_activity.html", activity=_activity(engine))


@router.get("/overview/usage")
def usage(request: Request, engine: TheEngine) -> Response:
    meters = state_of(request).kept.get("usage", lambda: meters_so_far(engine))
    return page(request, "overview_usage.html", meters=meters, left_out=_meters_left_out(engine))


@router.get("/overview/revenue")
def revenue(request: Request, engine: TheEngine) -> Response:
    now, before = state_of(request).kept.get("revenue", lambda: revenue_so_far(engine))
    return page(
        request,
        "overview_revenue.html",
        now=now,
        before=before,
        currencies=_currencies(now, before),
        month_now=month_of(engine.now(), "UTC"),
    )


@router.get("/overview/quotas")
def quotas(request: Request, engine: TheEngine) -> Response:
    found: Fullest = state_of(request).kept.get("quotas", lambda: fullest(engine, FULLEST_SHOWN))
    return page(request, "overview_quotas.html", near=found.near.to_dicts(), full=found.full.to_dicts(), found=found)


def meters_so_far(engine: Engine) -> list[MeterSoFar]:
    """The first METERS_SHOWN meters of the catalog that can be asked."""
    now = engine.now()
    month = month_of(now, "UTC")
    keys = [meter.key for meter in engine.in_force.book.meters if not is_change(meter)]
    return [_meter_so_far(engine, key, month, now) for key in keys[:METERS_SHOWN]]


def _meter_so_far(engine: Engine, key: str, month: Month, now: datetime) -> MeterSoFar:
    start = month.start(UTC)
    days = engine.usage(UsageQuery(key, start, now, window="day"))
    by_day = {at.day: quantity for at, quantity in zip(days["window_start"], days["quantity"], strict=True)}
    values = [by_day.get(day, Decimal(0)) for day in range(1, now.astimezone(UTC).day + 1)]
    began = month.before().start(UTC)
    before = _total(engine, key, began, min(began + (now - start), start))
    total = exact_sum(values) if sums_up(engine.in_force.meter(key)) else _total(engine, key, start, now)
    unit = getattr(engine.in_force.catalog.meters[key], "unit", None) or ""
    return MeterSoFar(key, unit, total, before, values, int(days["events"].sum()))


def _total(engine: Engine, key: str, start: datetime, end: datetime) -> Decimal:
    if end <= start:
        return Decimal(0)
    found = engine.usage(UsageQuery(key, start, end))["quantity"]
    return found[0] if len(found) and found[0] is not None else Decimal(0)


def _meters_left_out(engine: Engine) -> int:
    return max(sum(not is_change(meter) for meter in engine.in_force.book.meters) - METERS_SHOWN, 0)


def revenue_so_far(engine: Engine) -> tuple[Revenue | None, Revenue | None]:
    """Of this month as of now; and of the month before, as its newest run said or, without one, as of now."""
    month = month_of(engine.now(), "UTC")
    before = recorded_revenue(engine, month.before()) or revenue_of(engine, month.before())
    return revenue_of(engine, month), before


def _currencies(now: Revenue | None, before: Revenue | None) -> list[dict[str, Any]]:
    """One entry a currency: what it came to now and before, and a chart of the largest prices."""
    current = {row["currency"]: row for row in (now.totals if now else [])}
    last = {row["currency"]: row for row in (before.totals if before else [])}
    return [
        {
            "currency": currency,
            "now": Decimal(current[currency]["rounded_amount"]) if currency in current else None,
            "before": Decimal(last[currency]["rounded_amount"]) if currency in last else None,
            "lines": current.get(currency, {}).get("lines", 0),
            "chart": _price_chart(now, currency),
        }
        for currency in sorted(
            {*current, *last}, key=lambda code: -Decimal(current.get(code, {}).get("rounded_amount", 0))
        )
    ]


def _price_chart(now: Revenue | None, currency: str) -> Chart | None:
    if now is None or now.by_price is None:
        return None
    own = [row for row in now.by_price.iter_rows(named=True) if row["currency"] == currency]
    largest = own[:PRICES_SHOWN]
    rest = exact_sum(row["amount"] for row in own[PRICES_SHOWN:])
    names = [row["price"] or "of whole plans" for row in largest]
    values = [plain(row["amount"]) for row in largest]
    if rest:
        names, values = [*names, f"{len(own) - PRICES_SHOWN} others"], [*values, plain(rest)]
    return Chart(f"prices-{currency}", f"By price, {currency}", "rows", names, [Series(currency, values)], digits=2)


def _live(engine: Engine, state: DashboardState) -> dict[str, Any]:
    status = state.kept.get("status", engine.status)
    rates = state.rate.by_second
    return {
        "log": status["log"],
        "ready": status["ready"],
        "customers": status["customers"],
        "rate": state.rate.now,
        "rates": rates,
        "peak": max(rates, default=0),
        "waiting_webhooks": sum(each["waiting"] + each["behind"] for each in status["webhooks"]["endpoints"]),
    }


def _activity(engine: Engine) -> dict[str, Any]:
    month = month_of(engine.now(), "UTC")
    return {"signals": newest_signals(engine, SIGNALS_SHOWN), "runs": _runs(engine), "month": month}


def newest_signals(engine: Engine, count: int) -> list[RecordedSignal]:
    """The newest first."""
    signals = engine.store.signals
    last = signals.last_sequence()
    return signals.after(max(last - 4 * count, 0), limit=4 * count)[: -count - 1 : -1]


def _runs(engine: Engine) -> list[RunShown]:
    return [shown_run(run, engine) for run in engine.store.runs.page(period=None, after=None, limit=RUNS_SHOWN)]
