"""`tallystick backfill`: staged events take the place of a range of usage, once they are looked at and committed."""

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.failing import BAD_DATA
from api.cli.ingesting import ingest_file, show_files
from api.cli.options import (
    Data,
    Decimals,
    FileFormat,
    IdColumn,
    Json,
    Only,
    Properties,
    SourceColumn,
    SubjectColumn,
    TimeColumn,
    TimeZone,
    TypeColumn,
    Url,
)
from api.cli.printing import document, grouped, money, progress, table
from api.cli.records import instant
from api.cli.service import Service, reach, segment
from api.cli.taken_files import usage_files
from api.cli.usage_files import opened, summed
from api.cli.writing import STDOUT, write_bytes

app = typer.Typer(no_args_is_help=True, help="Replace a range of usage: open, load, preview, commit or drop, revert.")

PARQUET = "application/vnd.apache.parquet"
Key = Annotated[str, typer.Argument(metavar="BACKFILL", help="The id of a backfill.")]


@app.command("open")
def open_(
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="Inclusive: 2026-09-01 or RFC 3339.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Exclusive, not in the future.")],
    type: Annotated[list[str] | None, typer.Option(help="Only events of this type; may be repeated.")] = None,
    subject: Annotated[list[str] | None, typer.Option(help="Only events of this subject; may be repeated.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Open a backfill of a range. It changes nothing until it is committed."""
    wanted = {"from": instant(start), "to": instant(end), "types": type or [], "subjects": subject or []}
    with reach(data, url) as service:
        _show(service.answer("POST", "/v1/backfills", json=wanted).json(), json)


@app.command()
def load(
    backfill: Key,
    files: Annotated[list[Path], typer.Argument(help="As `tallystick ingest` takes them.")],
    id: IdColumn = None,
    source: SourceColumn = None,
    type: TypeColumn = None,
    subject: SubjectColumn = None,
    time: TimeColumn = None,
    property: Properties = None,
    only: Only = False,
    time_zone: TimeZone = None,
    decimals: Decimals = None,
    format: FileFormat = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Stage usage files. What was interrupted is simply run again: events that are there already are duplicates.

    Exit code 65 when an event was rejected, for instance because it is outside the range, or conflicts.
    """
    mapping = (id, source, type, subject, time, property, only, time_zone, decimals)
    found = [opened(file, format, *mapping) for file in usage_files(files)]
    with reach(data, url) as service:
        path = f"{_path(backfill)}/events"
        places = [f"{number}/{len(found)} " for number in range(1, len(found) + 1)]
        sums = [
            ingest_file(service, file, place, quiet=json, path=path) for file, place in zip(found, places, strict=True)
        ]
    if json:
        document({"files": [one.as_json() for one in sums], **summed(sums)})
    else:
        show_files(sums, ())
    if any(one.refused for one in sums):
        raise typer.Exit(BAD_DATA)


@app.command()
def preview(
    backfill: Key,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="Of the largest changes of each list.")] = 10,
    usage: Annotated[
        str | None, typer.Option(metavar=f"FILE|{STDOUT}", help="Write all changes of usage here, as Parquet.")
    ] = None,
    charges: Annotated[
        str | None, typer.Option(metavar=f"FILE|{STDOUT}", help="Write all changes of charges here, as Parquet.")
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show what a backfill does to usage and charges. Nothing is changed."""
    with reach(data, url) as service, progress("comparing", quiet=json):
        found = service.get(f"{_path(backfill)}/preview", limit=limit)
        for part, file in (("usage", usage), ("charges", charges)):
            if file is not None:
                write_bytes(_table(service, backfill, part), file)
    if json:
        document(found)
    elif STDOUT not in (usage, charges):
        _show_preview(found)


@app.command()
def commit(backfill: Key, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Let the staged events count instead of what they replace."""
    _step(backfill, "commit", data, url, json)


@app.command()
def drop(backfill: Key, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Forget an open backfill and its staged events."""
    _step(backfill, "drop", data, url, json)


@app.command()
def revert(backfill: Key, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Let what a committed backfill has replaced count again."""
    _step(backfill, "revert", data, url, json)


@app.command()
def show(backfill: Key, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Show a backfill and its state."""
    with reach(data, url) as service:
        _show(service.get(_path(backfill)), json)


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help="open, committed, reverted or dropped.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List backfills, newest first."""
    with reach(data, url) as service:
        found = list(service.pages("/v1/backfills", state=state))
    if json:
        document({"items": found})
        return
    rows = [(b["id"], b["state"], b["from"], b["to"], _count(b["staged_events"]), _narrowed(b)) for b in found]
    columns = ("id", "state", "from", "to", "staged", "only")
    table(f"{grouped(len(rows))} backfills", columns, rows, right=("staged",))


def _step(backfill: str, step: str, data: Path | None, url: str | None, json: bool) -> None:
    with reach(data, url) as service, progress(step, quiet=json):
        done = service.answer("POST", f"{_path(backfill)}/{step}").json()
    _show(done, json)


def _show(backfill: dict[str, Any], json: bool) -> None:
    if json:
        document(backfill)
        return
    typer.echo(f"{backfill['id']}: {backfill['state']}, {backfill['from']} to {backfill['to']}{_narrowed(backfill)}")
    typer.echo(f"{_count(backfill['staged_events'])} staged events")
    if backfill["corrections"]:
        have = "have ended with it" if backfill["state"] == "reverted" else "count for as long as it does"
        see = f"tallystick events corrections --backfill {backfill['id']}"
        typer.echo(f"{_count(backfill['corrections'])} corrections of its events {have}: {see}")
    if backfill["failure"]:
        typer.echo(f"it cannot be used: {backfill['failure']}")


def _show_preview(found: dict[str, Any]) -> None:
    counts = ", ".join(f"{grouped(n)} {name.replace('_', ' ')}" for name, n in found["events"].items())
    typer.echo(f"{found['backfill']} ({found['state']}): {counts}")
    for event in found["refused"]:
        typer.echo(f"does not count, its identity stands outside the range: {event['source']} {event['id']}")
    sides = ("before", "after", "difference")
    usage = [(m["meter"], *(grouped(m[side]) for side in sides), grouped(m["changed"])) for m in found["usage"]]
    table("usage", ("meter", *sides, "subjects changed"), usage, right=(*sides, "subjects changed"))
    charges = [
        (c["period"], customer, *(money(row[side], c["currency"]) for side in sides), c["currency"])
        for c in found["charges"]
        for customer, row in [("all", c), *((one["customer"], one) for one in c["largest"])]
    ]
    table("charges", ("month", "customer", *sides, "currency"), charges, right=sides)


def _table(service: Service, backfill: str, part: str) -> bytes:
    path, headers = f"{_path(backfill)}/preview", {"Accept": PARQUET}
    return service.answer("GET", path, params={"part": part}, headers=headers).content


def _path(backfill: str) -> str:
    return f"/v1/backfills/{segment(backfill)}"


def _narrowed(backfill: dict[str, Any]) -> str:
    return "".join(f" {kind[:-1]} {name}" for kind in ("types", "subjects") for name in backfill[kind])


def _count(number: int | None) -> str:
    return "no" if number is None else grouped(number)
