"""`tallystick audit`: who changed what."""

from typing import Annotated

import typer

from api.cli.failing import FAILED
from api.cli.options import Data, Json, Url
from api.cli.printing import document, note, table
from api.cli.service import reach

app = typer.Typer(help="The log of changes: list and verify it.", no_args_is_help=True)


@app.command("list")
def list_entries(
    after: Annotated[int, typer.Option(min=0, help="Behind this sequence.")] = 0,
    action: Annotated[str | None, typer.Option(help="Only these, such as catalog.apply.")] = None,
    object: Annotated[str | None, typer.Option("--object", help="Only of what has this key or id.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List the changes, oldest first. With --json what was before and after, too."""
    with reach(data, url) as service:
        first = service.get("/v1/audit", after=after, limit=1000, action=action, object=object)
        found, following = first["items"], first["next"]
        while following is not None:
            page = service.get("/v1/audit", after=following, limit=1000, action=action, object=object)
            found, following = found + page["items"], page["next"]
    if json:
        document({"items": found})
        return
    columns = ("sequence", "at", "caller_name", "action", "object")
    table(f"{len(found)} changes", columns, [[entry[c] for c in columns] for entry in found], right=("sequence",))


@app.command()
def verify(data: Data = None, url: Url = None, json: Json = False) -> None:
    """Check that no entry was altered, removed or put between. Exit code 1: one was."""
    with reach(data, url) as service:
        found = service.get("/v1/audit/verify")
    if json:
        document(found)
    elif found["problem"] is None:
        typer.echo(f"ok: {found['entries']} entries; the newest has the hash {found['head']}")
        note("keep that hash elsewhere: with it a whole new log would be seen")
    else:
        typer.echo(f"PROBLEM: {found['problem']} ({found['entries']} entries before it fit)")
    if found["problem"] is not None:
        raise typer.Exit(FAILED)
