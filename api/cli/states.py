"""`tallystick states`: suspend a customer, or let it use more, by hand."""

from enum import StrEnum
from typing import Annotated

import typer

from api.cli.options import Data, Json, Url
from api.cli.printing import document, note, table
from api.cli.records import instant
from api.cli.service import reach, segment

app = typer.Typer(help="States of customers that quota checks obey: begin, list and end them.", no_args_is_help=True)

Customer = Annotated[str, typer.Argument(help="The customer's key.")]


class Kind(StrEnum):
    suspended = "suspended"
    restricted = "restricted"
    overage = "overage"


@app.command()
def begin(
    customer: Customer,
    state: Annotated[Kind, typer.Argument(help="suspended, restricted (to --plan) or overage (up to --amount).")],
    reason: Annotated[str, typer.Option(help="Shown to whoever is refused.")],
    id: Annotated[str | None, typer.Option("--id", help="Chosen by you: the same again changes nothing.")] = None,
    feature: Annotated[list[str] | None, typer.Option(help="Only this feature; may be repeated.")] = None,
    plan: Annotated[str | None, typer.Option(help="The plan whose limits hold.")] = None,
    amount: Annotated[str | None, typer.Option(help="How much above the limit may be used.")] = None,
    until: Annotated[str | None, typer.Option(help="2026-11-01, or an instant with its zone.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Begin a state of a customer; the next quota check obeys it."""
    given = {"id": id, "state": state.value, "features": feature, "plan": plan, "amount": amount, "reason": reason,
             "until": instant(until)}  # fmt: skip
    body = {name: value for name, value in given.items() if value is not None}
    with reach(data, url) as service:
        begun = service.answer("POST", f"/v1/customers/{segment(customer)}/states", json=body).json()
    document(begun) if json else note(f"{begun['id']}: {customer} is {begun['state']} ({begun['reason']})")


@app.command("list")
def list_states(customer: Customer, data: Data = None, url: Url = None, json: Json = False) -> None:
    """List the states of a customer, also those that have ended."""
    with reach(data, url) as service:
        found = list(service.pages(f"/v1/customers/{segment(customer)}/states"))
    if json:
        document({"items": found})
        return
    columns = ("id", "state", "features", "reason", "since", "until", "ended_at", "ended_because")
    rows = [[", ".join(each[c]) or "all" if c == "features" else each[c] for c in columns] for each in found]
    table(f"{len(rows)} states of {customer}", columns, rows)


@app.command()
def end(
    customer: Customer,
    state: Annotated[str, typer.Argument(help="Id of a state.")],
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """End a state: the next quota check does not obey it any more."""
    with reach(data, url) as service:
        ended = service.answer("DELETE", f"/v1/customers/{segment(customer)}/states/{segment(state)}").json()
    document(ended) if json else note(f"{state} ended at {ended['ended_at']}")
