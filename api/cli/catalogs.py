"""`tallystick catalog`: the file of meters, prices and plans. It lives in the user's git and is applied as a whole."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from api.cli.failing import BAD_DATA, Failure
from api.cli.options import Data, Json, Url
from api.cli.printing import document, note
from api.cli.service import Service, reach
from api.cli.writing import write_bytes

if TYPE_CHECKING:
    from rating.catalog import Catalog

app = typer.Typer(help="Meters, prices and plans: one file, applied as a whole.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A catalog file, YAML or JSON.")]


class Source(StrEnum):
    genai_prices = "genai-prices"


@app.command("import")
def import_catalog(
    source: Annotated[Source, typer.Argument(help="Where the prices come from: the installed package genai-prices.")],
    out: Annotated[str, typer.Option(metavar="FILE|-", help="Where to write the catalog; .json or YAML.")] = "-",
    group_by: Annotated[
        list[str] | None,
        typer.Option(help="A property of events by whose values every price is rated apart; may be repeated."),
    ] = None,
    plan: Annotated[str, typer.Option(help="The key of the plan that has all prices.")] = "llm",
    json: Json = False,
) -> None:
    """Write a catalog with the published prices of every provider and model: dated steps, size tiers, times of day."""
    from rating.catalog.genai_prices import import_genai_prices, render_document

    imported, report = import_genai_prices(group_by=tuple(group_by or ()), plan=plan)
    format: Literal["yaml", "json"] = "json" if (json and out == "-") or out.endswith(".json") else "yaml"
    write_bytes(render_document(imported, report, format=format).encode(), out)
    counts = f"{report.providers} providers, {report.models} models, {report.prices} prices, {report.versions} versions"
    note(f"imported from {report.source}: {counts}")
    for warning in report.warnings():
        note(f"mind: {warning}")
    if json and out != "-":
        numbers = {name: getattr(report, name) for name in ("source", "providers", "models", "prices", "versions")}
        document({**numbers, "out": out, "warnings": report.warnings()})


@app.command()
def validate(file: File, json: Json = False) -> None:
    """Check a catalog file; every problem is listed with its path, the value and the cure. Needs no data directory."""
    catalog = read_catalog(file)
    parts = {name: len(getattr(catalog, name)) for name in ("meters", "features", "prices", "plans")}
    if json:
        document({"valid": True, "version": catalog.version, **parts})
    else:
        typer.echo(
            f"{file.name} is valid: {', '.join(f'{n} {name}' for name, n in parts.items())}, version {catalog.version}"
        )


@app.command("diff")
def show_difference(file: File, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Show what applying the file would change."""
    _put(file, data, url, json, dry_run=True)


@app.command()
def apply(
    file: File,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Bring the file into force, as a whole; when anything in it is wrong, nothing changes."""
    _put(file, data, url, json, dry_run=dry_run)


@app.command()
def show(
    version: Annotated[
        str | None, typer.Option(help="One that was in force once; the current one unless given.")
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Print the catalog in force, in its canonical form: a catalog file itself."""
    with reach(data, url) as service:
        found = service.get("/v1/catalog", version=version)
    if json:
        document(found)
        return
    import yaml

    note(f"version {found['version']}")
    typer.echo(yaml.safe_dump(found["document"], sort_keys=False, allow_unicode=True, width=120), nl=False)


def read_catalog(file: Path) -> "Catalog":
    """The catalog in a file. Raises Failure with every problem."""
    from rating.catalog import CatalogInvalid, parse_catalog

    try:
        return parse_catalog(read_file(file), format=format_of(file))
    except CatalogInvalid as invalid:
        problems = [{n: getattr(p, n) for n in ("path", "value", "message", "cure")} for p in invalid.problems]
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise Failure(f"{file.name} is no valid catalog, it has {count}:", BAD_DATA, problems) from invalid


def read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}.", BAD_DATA) from error


def format_of(file: Path) -> Literal["yaml", "json"]:
    return "json" if file.suffix.lower() == ".json" else "yaml"


def _put(file: Path, data: Path | None, url: str | None, json: bool, *, dry_run: bool) -> None:
    read_catalog(file)  # before a data directory is made for nothing
    with reach(data, url, make=True) as service:
        answer = put_catalog(service, read_file(file), format_of(file), dry_run=dry_run)
    if json:
        document(answer)
        return
    for change in answer["changes"]:
        typer.echo(_line(change))
    if dry_run:
        note(f"{len(answer['changes'])} changes from {answer['previous']} to {answer['version']}; nothing was applied")
    elif answer["applied"]:
        note(f"{answer['version']} is in force; before it {answer['previous'] or 'there was none'}")
    else:
        note(f"{answer['version']} was in force already")


def put_catalog(service: Service, content: bytes, format: str, *, dry_run: bool = False) -> dict[str, Any]:
    """What the service says to a catalog file."""
    media = {"Content-Type": f"application/{format}"}
    parameters = {"dry_run": "true"} if dry_run else {}
    answer: dict[str, Any] = service.answer(
        "PUT", "/v1/catalog", content=content, headers=media, params=parameters
    ).json()
    return answer


def _line(change: dict[str, Any]) -> str:
    from rating.catalog import Change

    return str(Change(change["kind"], change["path"], change.get("before"), change.get("after")))
