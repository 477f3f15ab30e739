"""`tallystick verify`: can a run be made again from its recorded inputs, to the same digest?"""

from typing import Annotated, Any

import typer

from api.cli.failing import FAILED, USAGE
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, progress, table
from api.cli.service import reach, segment

_EXIT_CODES = {"equal": 0, "different": FAILED, "unknown": USAGE}
_COLUMNS = ("customer", "subscription", "kind", "price", "part", "tier", "unit_amount", "quantity", "amount")


def verify(
    run: Annotated[str, typer.Argument(help="A rating run that is done.")],
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Rate a run again from its recorded inputs, and compare. Exit code 0: the same digest; 1: it differs; 2: it cannot
    be made again."""
    with reach(data, url) as service, progress(f"rating {run} again", quiet=json):
        found: dict[str, Any] = service.answer("POST", f"/v1/rating-runs/{segment(run)}/verify").json()
    document(found) if json else _show(found)
    if found["result"] != "equal":
        raise typer.Exit(_EXIT_CODES[found["result"]])


def _show(found: dict[str, Any]) -> None:
    typer.echo(f"{found['run']} ({found['period']}): {_SAID[found['result']]}")
    if found["reason"] is not None:
        typer.echo(found["reason"])
    for what in found["notes"]:
        typer.echo(f"note: {what}")
    typer.echo(f"recorded digest: {found['digest']}, code {found['rated_by']}")
    if found["rerated_digest"] is not None:
        typer.echo(f"digest made now: {found['rerated_digest']}, code {found['rerated_by']}")
    changes, lines = found["changes"], found["lines"]
    if found["result"] != "different":
        return
    typer.echo(f"{grouped(lines['gone']['count'])} stored lines are not made again, and "
               f"{grouped(lines['new']['count'])} other ones are")  # fmt: skip
    rows = [[c[name] for name in _COLUMNS] for c in changes["largest"]]
    more = f", the {len(rows)} largest" if changes["count"] > len(rows) else ""
    title = f"{grouped(changes['count'])} parts of lines changed{more}"
    table(title, _COLUMNS, rows, right=("tier", "unit_amount", "quantity", "amount"))


_SAID = {
    "equal": "the same lines come of its recorded inputs",
    "different": "it is not what comes of its recorded inputs",
    "unknown": "it cannot be made again",
}
