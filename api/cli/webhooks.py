"""`tallystick webhooks`: where signals are delivered to, and how far they are."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from api.cli.failing import FAILED
from api.cli.options import Data, Json, Url
from api.cli.printing import document, note, table
from api.cli.service import reach, segment

app = typer.Typer(help="Deliver signals to a URL: add endpoints, try, pause and replay them.", no_args_is_help=True)

Endpoint = Annotated[str, typer.Argument(help="Id of an endpoint.")]
Types = Annotated[list[str] | None, typer.Option("--type", help="Only signals of this type; may be repeated.")]
Customers = Annotated[list[str] | None, typer.Option("--customer", help="Only of this customer; may be repeated.")]


class DeliveryState(StrEnum):
    waiting = "waiting"
    delivered = "delivered"
    dead = "dead"


@app.command()
def add(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Where signals are posted: an https URL.")],
    type: Types = None,
    customer: Customers = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Deliver the signals from now on to a URL. Prints the secret that they are signed with: keep it, it is shown once.

    A server delivers them (`tallystick serve`); commands do not.
    """
    body = {"url": target, "types": type or [], "customers": customer or []}
    with reach(data, url) as service:
        made = service.answer("POST", "/v1/webhooks", json=body).json()
    if json:
        document(made)
    else:
        typer.echo(f"{made['id']} {made['secret']}")
        note(f"signals from now on go to {made['url']}, signed with this secret")


@app.command("list")
def list_endpoints(data: Data = None, url: Url = None, json: Json = False) -> None:
    """List the endpoints, and what waits for each of them."""
    with reach(data, url) as service:
        found = service.get("/v1/webhooks")["items"]
        detail = service.answer("GET", "/readyz", also=(503,)).json()["detail"]
    standing = {each["endpoint"]: each for each in detail["webhooks"]["endpoints"]}
    numbers = ("waiting", "behind", "dead")
    if json:
        document({"items": [{**e, **{name: standing[e["id"]][name] for name in numbers}} for e in found]})
        return
    rows = [(e["id"], e["url"], e["state"], *(standing[e["id"]][name] for name in numbers), e["reason"]) for e in found]
    table(f"{len(rows)} endpoints", ("id", "url", "state", *numbers, "reason"), rows, right=numbers)


@app.command()
def pause(endpoint: Endpoint, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Send nothing to an endpoint until it is resumed. Nothing is lost."""
    _change(endpoint, {"state": "paused"}, data, url, json)


@app.command()
def resume(endpoint: Endpoint, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Let an endpoint that is paused or disabled go on where it was."""
    _change(endpoint, {"state": "active"}, data, url, json)


@app.command()
def change(
    endpoint: Endpoint,
    to: Annotated[str | None, typer.Option("--to", metavar="TARGET", help="Another URL to post to.")] = None,
    type: Types = None,
    customer: Customers = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Change where signals are posted, or which. What is not given stays."""
    given = {"url": to, "types": type, "customers": customer}
    _change(endpoint, {name: value for name, value in given.items() if value is not None}, data, url, json)


@app.command()
def remove(endpoint: Endpoint, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Remove an endpoint, and what is on its way to it."""
    with reach(data, url) as service:
        service.answer("DELETE", f"/v1/webhooks/{segment(endpoint)}")
    document({"id": endpoint, "removed": True}) if json else note(f"{endpoint} is removed")


@app.command()
def rotate(
    endpoint: Endpoint,
    hours: Annotated[int, typer.Option(min=0, max=720, help="For so long the secret of before signs, too.")] = 24,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Give an endpoint another secret, and print it."""
    with reach(data, url) as service:
        made = service.answer("POST", f"/v1/webhooks/{segment(endpoint)}/rotate", json={"hours": hours}).json()
    document(made) if json else typer.echo(made["secret"])


@app.command("test")
def try_out(endpoint: Endpoint, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Send a `webhook.test` to an endpoint, once. Exit code 0: it was taken; 1: it was not."""
    with reach(data, url) as service:
        sent = service.answer("POST", f"/v1/webhooks/{segment(endpoint)}/test").json()
    is_taken = sent["status"] is not None and 200 <= sent["status"] < 300
    if json:
        document(sent)
    else:
        what = sent["error"] or f"the receiver answered {sent['status']}"
        typer.echo(f"{'taken' if is_taken else 'not taken'}: {what} ({sent['milliseconds']} ms)")
    if not is_taken:
        raise typer.Exit(FAILED)


@app.command()
def replay(
    endpoint: Endpoint,
    after: Annotated[int | None, typer.Option(min=0, help="What is behind this sequence; 0: everything.")] = None,
    until: Annotated[int | None, typer.Option(min=0, help="Up to this sequence.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="What was given up, instead.")] = False,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Deliver signals again, under the same ids."""
    asked: dict[str, Any] = {"after": after, "until": until, "dead": dead}
    body = {name: value for name, value in asked.items() if value is not None and value is not False}
    with reach(data, url) as service:
        done = service.answer("POST", f"/v1/webhooks/{segment(endpoint)}/replay", json=body).json()
    if json:
        document(done)
        return
    note(f"{done['replayed']} signals are delivered again")
    if done["next"] is not None:
        note(f"there was no room for more: go on with --after {done['next']} when these are taken")


@app.command()
def deliveries(
    endpoint: Endpoint,
    state: Annotated[DeliveryState | None, typer.Option(help="Only these.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List what became of the signals of an endpoint."""
    with reach(data, url) as service:
        path = f"/v1/webhooks/{segment(endpoint)}/deliveries"
        found = list(service.pages(path, state=None if state is None else state.value))
    if json:
        document({"items": found})
        return
    columns = ("signal", "customer", "state", "attempts", "last_status", "last_error", "next_at", "delivered_at")
    rows = [[each[column] for column in columns] for each in found]
    table(f"{len(rows)} deliveries to {endpoint}", columns, rows, right=("signal", "attempts"))


def _change(endpoint: str, body: dict[str, Any], data: Any, url: str | None, json: bool) -> None:
    with reach(data, url) as service:
        changed = service.answer("PATCH", f"/v1/webhooks/{segment(endpoint)}", json=body).json()
    document(changed) if json else note(f"{endpoint} is {changed['state']}: {changed['url']}")
