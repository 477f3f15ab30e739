"""`tallystick shadow`: a catalog rated beside the one in force, until it is switched to or dropped."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.catalogs import read_catalog
from api.cli.options import Data, Json, Url
from api.cli.printing import document, note, progress
from api.cli.records import instant
from api.cli.service import reach
from api.cli.simulate import mapping, show_simulation

app = typer.Typer(
    help="A catalog that is rated beside the one in force, until it is switched to or dropped.", no_args_is_help=True
)
_PATH = "/v1/shadow-catalog"


@app.command("set")
def set_shadow(
    catalog: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The catalog file.")],
    plan: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="Rate subscriptions of a plan by another one; may be repeated."),
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Rate a catalog beside the one in force from now on; nobody is charged by it."""
    body = {"catalog": read_catalog(catalog).document(), "plans": dict(map(mapping, plan or []))}
    with reach(data, url) as service:
        found = service.answer("PUT", _PATH, json=body).json()
    document(found) if json else note(f"{found['version']} is rated beside the catalog in force")


@app.command()
def show(data: Data = None, url: Url = None, json: Json = False) -> None:
    """Which catalog it is, and since when."""
    with reach(data, url) as service:
        found = service.get(_PATH)
    document(found) if json else typer.echo(f"{found['version']} since {found['set_at']}")


@app.command()
def compare(
    first: Annotated[
        str | None, typer.Option("--from", help="The first month, such as 2026-10; since it was set, unless given.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last month; the present one, unless given.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Both side by side, as `simulate` shows them: who pays more or less, and why."""
    with reach(data, url) as service, progress("rating both", quiet=json):
        found = service.get(f"{_PATH}/comparison", **{"from": first, "to": last})
    document(found) if json else show_simulation(found)


@app.command()
def switch(
    at: Annotated[str, typer.Option(help="2026-12-01 (midnight UTC), or an instant with its zone.")],
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Charge by it from a date on: its prices become later versions of the present ones."""
    with reach(data, url) as service:
        found = service.answer("POST", f"{_PATH}/switch", json={"at": instant(at)}).json()
    document(found) if json else note(f"{found['version']} is in force: the other prices hold from {at} on")


@app.command()
def drop(data: Data = None, url: Url = None, json: Json = False) -> None:
    """Rate it no more."""
    with reach(data, url) as service:
        service.answer("DELETE", _PATH)
    document({"dropped": True}) if json else note("no catalog is rated beside the one in force any more")
