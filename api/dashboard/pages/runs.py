"""Rating runs: what there is, how far one is, what it came to beside the one before it, and leaks; started here."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import polars as pl
from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.access.audit import nothing_changes
from api.dashboard.charts import Chart, Series
from api.dashboard.forms import Form, form_of
from api.dashboard.pages.runs_shown import shown_run
from api.dashboard.rendering import PageRoute, go_to, is_partial, page, said
from api.engine import Engine
from api.routes.lines import line_items
from api.run_comparison import RunsCompared, compared
from api.wiring import TheEngine
from rating.core.money import plain
from rating.core.periods import month_of
from rating.core.usage_history import HistoryRule
from store.errors import Refused
from store.runs import Run

router = APIRouter(route_class=PageRoute)

PAGE = 30
LINES_PAGE = 50
MOVES_SHOWN = 8
FINDINGS_SHOWN = 10
Id = Annotated[str, Path(max_length=200)]
Part = Literal["", "live", "comparison", "leaks", "lines"]


@router.get("/runs")
def runs(request: Request, engine: TheEngine, period: str = "", after: str = "") -> Response:
    found = engine.store.runs.page(period=period or None, after=after or None, limit=PAGE)
    asked = {"period": period} if period else {}
    following = f"/runs?{urlencode({**asked, 'after': found[-1].id})}" if len(found) == PAGE else None
    month = month_of(engine.now(), "UTC")
    return page(
        request,
        "runs_list.html" if is_partial(request) else "runs.html",
        found=[shown_run(run, engine) for run in found],
        period=period,
        following=following,
        has_catalog=engine.status()["catalog"] is not None,
        months=[str(month), str(month.before())],
        is_running=any(run.status == "running" for run in found),
    )


@router.post("/runs")
async def start(request: Request, engine: TheEngine) -> Response:
    """Rate a month, or close what is due; `dry` says first what closing would post, and records nothing."""
    form = await form_of(request)
    if form.get("what") == "month":
        run = await run_in_threadpool(engine.rate, form.get("period"))
        return go_to(request, f"/runs/{run.id}")
    until, since = _instant(form, "until"), _instant(form, "since")
    if form.get("dry"):
        nothing_changes()
        would = await run_in_threadpool(engine.dry_close, until, since)
        return page(request, "runs_dry.html", would=would, asked={name: form.get(name) for name in ("until", "since")})
    made = await run_in_threadpool(lambda: engine.close_due(until, since, draft=form.get("draft") == "true"))
    return go_to(request, f"/runs/{made[-1].id}") if made else said(request, "Nothing is due: no period has ended.")


def _instant(form: Form, name: str) -> datetime | None:
    """The midnight (UTC) that a date begins with. Raises Refused."""
    if not form.get(name):
        return None
    try:
        return datetime.fromisoformat(form.get(name)).replace(tzinfo=UTC)
    except ValueError:
        raise Refused([f"{name} is {form.get(name)[:80]!r}: write a date like 2026-11-01"]) from None


@router.post("/runs/{run_id}/finalize")
async def finalize(request: Request, engine: TheEngine, run_id: Id) -> Response:
    await run_in_threadpool(engine.finalize, run_id)
    return go_to(request, f"/runs/{run_id}")


@router.get("/runs/{id}")
def run(
    request: Request,
    engine: TheEngine,
    id: Id,
    part: Annotated[Part, Query()] = "",
    after: str = "",
    customer: str = "",
    price: str = "",
    kind: str = "",
) -> Response:
    """A whole page, or the `part` of it that takes longer."""
    found = engine.store.runs.get(id)
    if part == "live":
        return page(request, "run_live.html", shown=shown_run(found, engine))
    if part == "comparison":
        return page(request, "run_comparison.html", **_comparison(compared(engine, found)))
    if part == "leaks":
        return page(request, "run_leaks.html", **_leaks(engine, found))
    if part == "lines":
        asked = {"customer": customer, "price": price, "kind": kind}
        return page(request, "run_lines.html", run=found, **_lines(engine, found, asked, after))
    return page(request, "run.html", run=found, report=found.report or {}, shown=shown_run(found, engine))


def _comparison(found: RunsCompared | None) -> dict[str, Any]:
    """The largest rises and falls of each currency, with a chart of both."""
    if found is None:
        return {"before": None, "currencies": []}
    currencies = []
    for (currency,), own in found.moves.partition_by("currency", as_dict=True, maintain_order=True).items():
        rose = own.filter(pl.col("difference") > 0).head(MOVES_SHOWN)
        fell = own.filter(pl.col("difference") < 0).sort("difference").head(MOVES_SHOWN)
        rows = [*rose.to_dicts(), *reversed(fell.to_dicts())]
        currencies.append({"currency": currency, "rows": rows, "chart": _moves_chart(str(currency), rows)})
    return {"before": found.before, "currencies": currencies}


def _moves_chart(currency: str, rows: list[dict[str, Any]]) -> Chart:
    names = [row["price"] or "of whole plans" for row in rows]
    values = [plain(row["difference"]) for row in rows]
    title = "What rose and fell the most"
    return Chart(f"moves-{currency}", title, "rows", names, [Series("Change", values)], currency, digits=2)


def _leaks(engine: Engine, run: Run) -> dict[str, Any]:
    """What the checks find in the month of the run."""
    if run.due_until is not None:
        period = str(month_of(run.due_until - timedelta(microseconds=1), "UTC"))
    else:
        period = run.period
    found = engine.check(period, HistoryRule())
    checks = [check for check in found.as_json(FINDINGS_SHOWN)["checks"] if check["found"]]
    return {"checks": checks, "period": period, "count": found.count}


def _lines(engine: Engine, run: Run, asked: dict[str, str], after: str) -> dict[str, Any]:
    kept = {name: value for name, value in asked.items() if value}
    lines = engine.rating.lines(run.id)
    for name, value in kept.items():
        lines = lines.filter(pl.col(name) == value)
    ordered = lines.sort("line") if not after else lines.filter(pl.col("line") > after).sort("line")
    found = ordered.head(LINES_PAGE).collect()
    following = None
    if found.height == LINES_PAGE:
        following = f"/runs/{run.id}?{urlencode({'part': 'lines', **kept, 'after': found['line'][-1]})}"
    return {"lines": line_items(found), "following": following, "asked": asked}
