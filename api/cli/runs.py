"""`tallystick runs`: the record of rating runs; and what a run's report looks like."""

from typing import Annotated, Any

import typer

from api.cli.options import AsOf, Data, Json, Url
from api.cli.printing import document, grouped, money, table
from api.cli.service import reach, segment


def runs(
    run: Annotated[str | None, typer.Argument(help="Only this one, with its report.")] = None,
    period: Annotated[str | None, typer.Option(help="Only those of this month, such as 2026-10.")] = None,
    as_of: AsOf = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List rating runs, the newest first, or show one."""
    with reach(data, url) as service:
        if run is not None:
            found = service.get(f"/v1/rating-runs/{segment(run)}")
            document(found) if json else show_run(found)
            return
        items = list(service.pages("/v1/rating-runs", period=period, as_of=as_of))
    if json:
        document({"items": items})
        return
    rows = [
        (
            r["id"],
            r["period"],
            r["kind"],
            r["status"],
            r["started_at"],
            (r["report"] or {}).get("lines"),
            (r["digest"] or "")[:16],
        )
        for r in items
    ]
    table(
        f"{len(rows)} rating runs",
        ("run", "period", "kind", "status", "started", "lines", "digest"),
        rows,
        right=("lines",),
    )


def show_run(run: dict[str, Any]) -> None:
    """A run and its report, for people."""
    made_by = f"catalog {run['catalog_version']}, code {run['code_version']}"
    typer.echo(f"{run['id']}: {run['period']} {run['kind']} {run['status']}, {made_by}")
    if run["as_of"] is not None:
        typer.echo(f"of what was known at {run['as_of']}")
    typer.echo(f"digest of its charge lines: {run['digest']}")
    if run["report"] is not None and "totals" in run["report"]:
        show_report(run["report"])
    elif run["report"] is not None:
        typer.echo(str(run["report"].get("error", "")))


_CREDITS = (
    "unit", "opening", "granted", "refunded", "rollover", "burnt", "expired", "voided", "closing",
)  # fmt: skip


def show_report(report: dict[str, Any]) -> None:
    """Totals, and all usage that did not become a charge line."""
    totals = [
        (t["currency"], money(t["rounded_amount"], t["currency"]), grouped(t["amount"]), grouped(t["lines"]))
        for t in report["totals"]
    ]
    table("Totals", ("currency", "amount", "exact", "lines"), totals, right=("amount", "exact", "lines"))
    burnt = [[grouped(t[c]) for c in _CREDITS] for t in report.get("credits", {}).get("totals", [])]
    if burnt:
        table("Prepaid credits", _CREDITS, burnt, right=_CREDITS[1:])
    if "unpriced" not in report:
        return
    _listed(
        "Unpriced usage: no price of the plan covers it",
        report["unpriced"],
        ("plan", "meter", "group", "quantity", "events"),
    )
    _listed("Usage without a subscription", report["unsubscribed"], ("subject", "customer", "events", "first", "last"))
    _listed("Events that no meter counts", report["unmetered"], ("type", "events"))


def _listed(title: str, listed: dict[str, Any], columns: tuple[str, ...], shown_max: int = 10) -> None:
    if not listed["rows"]:
        return
    shown = listed["largest"][:shown_max]
    more = f", the {len(shown)} largest" if listed["rows"] > len(shown) else ""
    rows = [[grouped(row[c]) if c in ("quantity", "events") else row[c] for c in columns] for row in shown]
    heading = f"{title}: {grouped(listed['events'])} events in {grouped(listed['rows'])} rows{more}"
    table(heading, columns, rows, right=("quantity", "events"))
