"""`tallystick rejections`: events that were refused or conflict, looked at, taken home, corrected and sent again."""

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.failing import BAD_DATA, USAGE, Failure
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, table
from api.cli.service import Service, reach
from api.cli.writing import STDOUT, write_bytes

app = typer.Typer(no_args_is_help=True, help="Events that were refused or conflict: list, show, download, replay.")

NDJSON = "application/x-ndjson"
REPLAYED_AT_ONCE = 1000
Code = Annotated[str | None, typer.Option(help="Only those with this code, such as invalid_time.")]
Source = Annotated[str | None, typer.Option(help="Only those of this source.")]
Subject = Annotated[str | None, typer.Option(help="Only those of this subject.")]
Backfill = Annotated[str | None, typer.Option(help="Only those that were sent into this backfill.")]
Number = Annotated[int, typer.Argument(min=1, help="The number of a rejection.")]


@app.command("list")
def list_(
    code: Code = None,
    source: Source = None,
    subject: Subject = None,
    backfill: Backfill = None,
    replayed: Annotated[
        bool | None, typer.Option("--replayed/--waiting", help="Only those that were, or were not, replayed.")
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List them, oldest first."""
    with reach(data, url) as service:
        wanted = _wanted(code, source, subject, backfill)
        found = list(service.pages("/v1/rejections", **wanted, replayed=replayed))
    if json:
        document({"items": found})
        return
    rows = [
        (
            r["rejection"],
            r["received_at"],
            r["code"],
            r["source"],
            r["id"],
            r["subject"],
            r["backfill"],
            r["replayed_as"],
        )
        for r in found
    ]
    columns = ("number", "received", "code", "source", "id", "subject", "backfill", "replayed as")
    table(f"{grouped(len(rows))} rejections", columns, rows, right=("number",))


@app.command()
def show(number: Number, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Show one: what is wrong with it, and its event as it came."""
    with reach(data, url) as service:
        found = service.get(f"/v1/rejections/{number}")
    if json:
        document(found)
        return
    typer.echo(f"{number}: {found['code']}: {found['message']}")
    typer.echo(f"received {found['received_at']} as {found['content_type']}, event {found['index']} of its batch")
    if found["backfill"]:
        typer.echo(f"sent into backfill {found['backfill']}")
    if found["replayed_at"]:
        typer.echo(f"replayed {found['replayed_at']} as {found['replayed_as']}")
    typer.echo(found["body"] if found["body"] is not None else f"base64: {found['body_base64']}")


@app.command()
def download(
    file: Annotated[str, typer.Argument(metavar=f"FILE|{STDOUT}", help="One rejection a line, as JSON.")],
    code: Code = None,
    source: Source = None,
    subject: Subject = None,
    backfill: Backfill = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Write them to a file, one a line."""
    wanted = _wanted(code, source, subject, backfill)
    with reach(data, url) as service:
        content = service.answer("GET", "/v1/rejections", params=wanted, headers={"Accept": NDJSON}).content
    write_bytes(content, file)
    if json and file != STDOUT:
        document({"file": file, "rejections": content.count(b"\n")})


@app.command()
def replay(
    numbers: Annotated[list[int] | None, typer.Argument(help="Which; or say a filter, or --all.")] = None,
    code: Code = None,
    source: Source = None,
    subject: Subject = None,
    backfill: Backfill = None,
    all: Annotated[bool, typer.Option("--all", help="All that were not replayed yet.")] = False,
    corrections: Annotated[
        Path | None, typer.Option(help="JSON file: number -> JSON merge patch (RFC 7396) of its event.")
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Send them again, corrected or as they are. What was replayed before is left alone.

    What was sent into a backfill goes into that again, while it is open. Exit code 65 when one was refused again; the
    others are accepted.
    """
    wanted = _wanted(code, source, subject, backfill)
    if bool(numbers) == bool(wanted or all):
        raise Failure("say either numbers, or --code, --source, --subject, --backfill or --all.", USAGE)
    chosen = f'"rejections": {json_module.dumps(numbers)}' if numbers else f'"filter": {json_module.dumps(wanted)}'
    with reach(data, url) as service:
        total = _replay(service, f"{chosen}, " + f'"corrections": {_text(corrections)}')
    document(total) if json else _show(total)
    if total["conflicts"] or total["rejected"]:
        raise typer.Exit(BAD_DATA)


def _wanted(code: str | None, source: str | None, subject: str | None, backfill: str | None) -> dict[str, str]:
    named = {"code": code, "source": source, "subject": subject, "backfill": backfill}
    return {name: value for name, value in named.items() if value}


def _replay(service: Service, chosen: str) -> dict[str, Any]:
    """Page by page; corrections go as the text that they are, so that no number changes."""
    total: dict[str, Any] = {}
    after: int | None = 0
    while after is not None:
        content = f'{{{chosen}, "after": {after}, "limit": {REPLAYED_AT_ONCE}}}'.encode()
        headers = {"Content-Type": "application/json"}
        answer = service.answer("POST", "/v1/rejections/replay", content=content, headers=headers).json()
        after = answer.pop("next")
        total = {name: total[name] + value if total else value for name, value in answer.items()}
    return total


def _show(total: dict[str, Any]) -> None:
    counts = ", ".join(
        f"{grouped(value)} {name.replace('_', ' ')}" for name, value in total.items() if name != "events"
    )
    rows = [(e["rejection"], e["verdict"], e["code"], e["message"]) for e in total["events"]]
    table(counts, ("number", "verdict", "code", "why"), rows, right=("number",))


def _text(corrections: Path | None) -> str:
    if corrections is None:
        return "{}"
    try:
        text = corrections.read_text("utf-8")
        json_module.loads(text)
    except (OSError, ValueError) as error:
        raise Failure(f"{corrections.name} cannot be read as JSON: {error}.", BAD_DATA) from error
    return text
