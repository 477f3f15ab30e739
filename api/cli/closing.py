"""`tallystick rate --due` and `finalize`: closing billing periods."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, note, progress
from api.cli.records import instant
from api.cli.runs import show_report, show_run
from api.cli.service import reach, segment
from api.cli.watching import watched


@dataclass(frozen=True)
class Due:
    """What is asked to be closed, as the options have it."""

    until: str | None
    since: str | None
    draft: bool
    dry_run: bool


def close_due(asked: Due, data: Path | None, url: str | None, json: bool) -> None:
    """Close what is due, and show the runs."""
    body = {**asdict(asked), "due": True, "until": instant(asked.until), "since": instant(asked.since)}
    with reach(data, url) as service, progress("closing what is due", quiet=json) as bar, watched(service, bar):
        found = service.answer("POST", "/v1/rating-runs", json=body).json()
    if json:
        document(found)
        return
    for run in found["runs"]:
        show_run(run)
        _show_closed(run["report"])
    for would in found["would"]:
        typer.echo(f"would be posted of {would['period']}:")
        show_report(would["report"])
        _show_closed(would["report"])
    if not found["runs"] and not found["would"]:
        note("nothing is due")


def finalize(
    run: Annotated[str, typer.Argument(help="A draft of what was due.")],
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Make a draft of what was due final: its lines are what is billed."""
    with reach(data, url) as service:
        made = service.answer("POST", f"/v1/rating-runs/{segment(run)}/finalize").json()
    document(made) if json else note(f"run {made['id']} is final: {made['period']} is closed")


def _show_closed(report: dict[str, Any]) -> None:
    periods = report["periods"]
    typer.echo(
        f"{grouped(periods['closed'])} billing periods closed; {grouped(periods['rated_again'])} rated again, "
        f"{grouped(report['adjustments'])} adjustments"
    )
    for one in report["skipped"]:
        typer.echo(f"left out: customer {one['customer']}: {one['reason']}", err=True)
    typer.echo(f"next due: {report['next_due']}")
