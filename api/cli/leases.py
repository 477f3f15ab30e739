"""`tallystick leases`: the slices of quotas that gateways hold, and ending one of them."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, note, table
from api.cli.service import reach, segment

app = typer.Typer(help="Leases of quotas: who holds how much, and until when.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The lease's id.")]


class State(StrEnum):
    open = "open"
    released = "released"
    expired = "expired"


@app.command("list")
def list_leases(
    customer: Annotated[str | None, typer.Option(help="Of this customer only.")] = None,
    state: Annotated[State | None, typer.Option(help="In this state only.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List leases by id. Those that ended more than 30 days ago are not kept."""
    with reach(data, url) as service:
        found = list(service.pages("/v1/leases", customer=customer, state=None if state is None else state.value))
    if json:
        document({"items": found})
        return
    rows = [
        (item["id"], item["customer"], item["subject"], item["feature"], grouped(item["granted"]),
         grouped(item["used"]), grouped(item["overspent"]), item["state"], item["expires_at"])
        for item in found
    ]  # fmt: skip
    columns = ("id", "customer", "subject", "feature", "granted", "used", "overspent", "state", "expires at")
    table(f"{len(rows)} leases", columns, rows, right=("granted", "used", "overspent"))


@app.command()
def show(id: Id, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Show one lease, and the quota that it is of."""
    with reach(data, url) as service:
        found = service.get(f"/v1/leases/{segment(id)}")
    document(found) if json else typer.echo(_said(found))


@app.command()
def release(
    id: Id,
    used: Annotated[str | None, typer.Option(help="What was used in all; as reported last, unless given.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """End a lease: what it did not use is anybody's at once."""
    body = {} if used is None else {"used": used}
    with reach(data, url) as service:
        found = service.answer("POST", f"/v1/leases/{segment(id)}/release", json=body).json()
    document(found) if json else note(_said(found))


def _said(lease: dict[str, Any]) -> str:
    quota = lease["quota"]
    slice = f"{grouped(lease['used'])} used of {grouped(lease['granted'])} of {lease['feature']}"
    over = f", {grouped(lease['overspent'])} more than it had" if lease["overspent"] != "0" else ""
    lines = [f"{lease['id']}: {lease['state']}, {slice} for {lease['subject']}{over}; until {lease['expires_at']}"]
    if quota["limit"] is not None:
        limit = f"{grouped(quota['used'])} of {grouped(quota['limit'])}"
        lines.append(f"{lease['customer']} used {limit}, {grouped(quota['reserved'])} are held, "
                     f"{grouped(quota['remaining'])} are left")  # fmt: skip
    return "\n".join(lines)
