"""`tallystick users`: who may log in to the dashboard."""

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from api.cli.options import Data, Json, Url
from api.cli.printing import document, note, table
from api.cli.service import reach, segment

app = typer.Typer(help="Users of the dashboard: create, list, change and remove them.", no_args_is_help=True)

User = Annotated[str, typer.Argument(metavar="NAME", help="Such as ada@example.com.")]


class Role(StrEnum):
    admin = "admin"
    finance = "finance"
    developer = "developer"
    viewer = "viewer"


_ROLES = "admin: everything; finance: read, rate; developer: ingest, quota, read, catalog; viewer: read."
AnyRole = Annotated[Role, typer.Option(help=_ROLES)]


@app.command()
def create(name: User, role: AnyRole = Role.viewer, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Let somebody log in. The password (12 characters or more) is asked for, or read from stdin."""
    body = {"name": name, "role": role.value, "password": _password()}
    with reach(data, url, make=True) as service:
        made = service.answer("POST", "/v1/users", json=body).json()
    document(made) if json else note(f"{name} may log in at /login as {made['role']}")


@app.command("list")
def list_users(data: Data = None, url: Url = None, json: Json = False) -> None:
    """List the users."""
    with reach(data, url) as service:
        found = service.get("/v1/users")["items"]
    if json:
        document({"items": found})
        return
    columns = ("name", "role", "created_at")
    table(f"{len(found)} users", columns, [[user[column] for column in columns] for user in found])


@app.command()
def set_role(
    name: User,
    role: Annotated[Role, typer.Argument(help="What the user is from now on.")],
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Give a user another role. The sessions of the user end."""
    _change(name, {"role": role.value}, data, url, json)


@app.command()
def set_password(name: User, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Give a user another password: asked for, or read from stdin. The sessions of the user end."""
    _change(name, {"password": _password()}, data, url, json)


@app.command()
def remove(name: User, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Remove a user. The sessions of the user end."""
    with reach(data, url) as service:
        removed = service.answer("DELETE", f"/v1/users/{segment(name)}").json()
    document(removed) if json else note(f"{name} is removed")


def _change(name: str, body: dict[str, Any], data: Any, url: str | None, json: bool) -> None:
    with reach(data, url) as service:
        changed = service.answer("PATCH", f"/v1/users/{segment(name)}", json=body).json()
    document(changed) if json else note(f"{name} is {changed['role']}; open sessions have ended")


def _password() -> str:
    """Never from the command line, which other users of the machine can read."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")
