"""`tallystick keys`: who may come in by a program."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from api.cli.failing import USAGE, Failure
from api.cli.options import Data, Json, Url
from api.cli.printing import document, note, table
from api.cli.service import reach, segment

app = typer.Typer(help="API keys: create, list, rotate and revoke them.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="Id of a key, as `keys list` shows it.")]


class Scope(StrEnum):
    ingest = "ingest"
    quota = "quota"
    read = "read"
    rate = "rate"
    catalog = "catalog"
    admin = "admin"


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What it is for.")] = "admin",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; may be repeated. admin is everything.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="How long it is good.", show_default="for ever")] = None,
    rate_limit: Annotated[
        str | None, typer.Option(metavar="REQUESTS/SECONDS", help="Such as 100/1.", show_default="none")
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Make a key, and print it: it is shown this once. From the first key on every request needs one."""
    from api.engine import utc_now

    body: dict[str, Any] = {"name": name, "scopes": [each.value for each in scope or [Scope.admin]]}
    if days is not None:
        body["expires_at"] = (utc_now() + timedelta(days=days)).isoformat()
    if rate_limit is not None:
        body["rate_limit"] = _limit(rate_limit)
    with reach(data, url, make=True) as service:
        made = service.answer("POST", "/v1/api-keys", json=body).json()
    if json:
        document(made)
        return
    typer.echo(made["key"])
    note(f"key {made['id']} for {made['name']!r} may: {', '.join(made['scopes'])}. It is not shown again.")
    note("requests send it as `Authorization: Bearer ...`; commands take it from TALLYSTICK_API_KEY")


@app.command("list")
def list_keys(data: Data = None, url: Url = None, json: Json = False) -> None:
    """List the keys, those that were revoked too."""
    with reach(data, url) as service:
        found = service.get("/v1/api-keys")["items"]
    if json:
        document({"items": found})
        return
    columns = ("id", "name", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at")
    rows = [[",".join(key[c]) if c == "scopes" else key[c] for c in columns] for key in found]
    table(f"{len(rows)} keys", columns, rows)


@app.command()
def rotate(
    key: KeyId,
    hours: Annotated[int, typer.Option(min=0, max=720, help="For so long the secret of before is good, too.")] = 24,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Give a key another secret, and print it."""
    with reach(data, url) as service:
        made = service.answer("POST", f"/v1/api-keys/{segment(key)}/rotate", json={"hours": hours}).json()
    if json:
        document(made)
        return
    typer.echo(made["key"])
    until = made["secret_before_until"]
    note(f"the secret of before is good until {until}" if until else "the secret of before is refused from now on")


@app.command()
def revoke(key: KeyId, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Refuse a key from now on, and the subject tokens that it made."""
    with reach(data, url) as service:
        revoked = service.answer("DELETE", f"/v1/api-keys/{segment(key)}").json()
    document(revoked) if json else note(f"{key} is refused since {revoked['revoked_at']}")


def _limit(text: str) -> dict[str, int]:
    requests, _, seconds = text.partition("/")
    if not requests.isdecimal() or not (seconds or "1").isdecimal():
        raise Failure(f"--rate-limit {text!r} is not like 100/1: requests, and in how many seconds.", USAGE)
    return {"requests": int(requests), "seconds": int(seconds or "1")}
