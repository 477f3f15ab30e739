"""`tallystick credits`: prepaid credits of customers, what is left of them, and what they paid."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, note, table
from api.cli.records import instant
from api.cli.service import reach, segment

app = typer.Typer(help="Prepaid credits: grant, void and refund them, and see what they paid.", no_args_is_help=True)

Customer = Annotated[str, typer.Argument(help="The customer's key.")]
RequestId = Annotated[str, typer.Option("--id", help="Chosen by you: the same request again changes nothing.")]


class Kind(StrEnum):
    grant = "grant"
    top_up = "top_up"


@app.command()
def grant(
    customer: Customer,
    id: RequestId,
    amount: Annotated[str | None, typer.Option(help="So much money; with --currency.")] = None,
    currency: Annotated[str | None, typer.Option(help="Such as USD.")] = None,
    units: Annotated[str | None, typer.Option(help="So many units of usage, instead of money.")] = None,
    kind: Annotated[Kind, typer.Option(help="What the ledger calls it.")] = Kind.grant,
    priority: Annotated[int, typer.Option(help="The smaller is burnt first.")] = 100,
    effective_at: Annotated[str | None, typer.Option(help="2026-10-01, or an instant with its zone; now.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="Exclusive; it does not expire unless given.")] = None,
    subscription: Annotated[str | None, typer.Option(help="It pays for this subscription only.")] = None,
    feature: Annotated[list[str] | None, typer.Option(help="It pays usage of this feature; may be repeated.")] = None,
    meter: Annotated[list[str] | None, typer.Option(help="It pays usage of this meter; may be repeated.")] = None,
    price: Annotated[list[str] | None, typer.Option(help="It pays lines of this price; a trailing * is any.")] = None,
    increment: Annotated[str | None, typer.Option(help="It pays usage in whole steps of so much.")] = None,
    factor: Annotated[str | None, typer.Option(help="What one unit of usage takes of it; with --increment.")] = None,
    recurs_every: Annotated[str | None, typer.Option(help="Whole again after 1d, 2w, 3mo, 1y.")] = None,
    recurs_from: Annotated[str | None, typer.Option(help="Counted from here; --effective-at, by default.")] = None,
    rollover_minimum: Annotated[str | None, typer.Option(help="Raised to this at a period's end.")] = None,
    rollover_maximum: Annotated[str | None, typer.Option(help="No more is kept at a period's end.")] = None,
    cost_basis: Annotated[str | None, typer.Option(help="What was paid for one unit of it.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Grant a customer money or units of usage; a top-up is a grant too."""
    instants = {"effective_at": effective_at, "expires_at": expires_at, "recurs_from": recurs_from}
    given: dict[str, Any] = {
        "id": id, "amount": amount, "currency": currency, "units": units, "kind": kind.value, "priority": priority,
        "subscription": subscription, "features": feature, "meters": meter, "prices": price, "increment": increment,
        "factor": factor, "recurs_every": recurs_every, "rollover_minimum": rollover_minimum,
        "rollover_maximum": rollover_maximum, "cost_basis": cost_basis,
        **{name: instant(value) for name, value in instants.items()},
    }  # fmt: skip
    body = {name: value for name, value in given.items() if value is not None}
    with reach(data, url) as service:
        made = service.answer("POST", f"/v1/customers/{segment(customer)}/credits", json=body).json()
    document(made) if json else note(
        f"{made['id']}: {grouped(made['amount'])} {made['unit']} for {customer} from {made['effective_at']}"
    )


@app.command("list")
def list_credits(customer: Customer, data: Data = None, url: Url = None, json: Json = False) -> None:
    """List what is granted to a customer, by its plans too, and what is left of it now.

    Pending is what the open period so far will take at its end, where money pays lines.
    """
    path = f"/v1/customers/{segment(customer)}/credits"
    with reach(data, url) as service:
        found = list(service.pages(path))
        totals = service.get(path, limit=1)["totals"]
    if json:
        document({"items": found, "totals": totals})
        return
    numbers = ("amount", "balance", "pending", "available")
    columns = ("id", "unit", *numbers, "priority", "state", "effective_at", "expires_at")
    rows = [[grouped(g[c]) if c in numbers else g[c] for c in columns] for g in found]
    table(f"{len(rows)} grants of {customer}", columns, rows, right=(*numbers, "priority"))
    for total in totals:
        typer.echo(f"available: {grouped(total['available'])} {total['unit']}")


@app.command()
def void(
    grant: Annotated[str, typer.Argument(help="Id of a grant.")],
    at: Annotated[str | None, typer.Option(help="An instant that has not passed; now, unless given.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Take what is left of a grant. What it has paid stays paid."""
    body = {} if at is None else {"at": instant(at)}
    with reach(data, url) as service:
        voided = service.answer("POST", f"/v1/credits/{segment(grant)}/void", json=body).json()
    document(voided) if json else note(f"{grant} is void from {voided['voided_at']}")


@app.command()
def refund(
    line: Annotated[str, typer.Argument(help="Id of a charge line that credits paid, or of a credit line.")],
    id: RequestId,
    amount: Annotated[str | None, typer.Option(help="How much of it; all that is left, unless given.")] = None,
    unit: Annotated[str | None, typer.Option(help="Such as USD or units, where a line was paid in both.")] = None,
    event: Annotated[int | None, typer.Option(help="Only what units paid of this event: its sequence.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Give back what credits paid of a charge line, to the grants that paid it, the last one first."""
    asked = {"id": id, "amount": amount, "unit": unit, "event": event}
    body = {name: value for name, value in asked.items() if value is not None}
    with reach(data, url) as service:
        made = service.answer("POST", f"/v1/charge-lines/{segment(line)}/refund", json=body).json()
    if json:
        document(made)
        return
    rows = [(part["grant"], part["event"], grouped(part["amount"]), grouped(part["covered"])) for part in made["parts"]]
    title = (
        f"{made['id']}: {grouped(made['amount'])} {made['unit']} of line {made['line']} go back to {made['customer']}"
    )
    table(title, ("grant", "event", "gets", "of the line"), rows, right=("gets", "of the line"))


@app.command()
def ledger(
    customer: Customer,
    run: Annotated[str | None, typer.Option(help="Of this rating run; the newest that is done, unless given.")] = None,
    period: Annotated[str | None, typer.Option(help="Of the newest run of this month.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show what happened to a customer's credits in a rating run: what each grant paid, and what was left."""
    path = f"/v1/customers/{segment(customer)}/credits/ledger"
    with reach(data, url) as service:
        head = service.get(path, run=run, period=period, limit=1)
        found = list(service.pages(path, run=head["run"]))
    if json:
        document({"run": head["run"], "period": head["period"], "items": found})
        return
    columns = ("time", "grant", "kind", "amount", "before", "after", "unit", "pays")
    rows = [
        (
            *(entry[name] for name in ("time", "grant", "kind")),
            *(grouped(entry[name]) for name in ("amount", "balance_before", "balance_after")),
            entry["unit"],
            _paid(entry),
        )
        for entry in found
    ]
    title = f"{len(rows)} entries of {customer} in {head['period']}, {head['run']}"
    table(title, columns, rows, right=("amount", "before", "after"))


def _paid(entry: dict[str, Any]) -> str:
    """What an entry paid or gave back."""
    if entry["refund"] is not None:
        return f"refund {entry['refund']}"
    if entry["line"] is None:
        return ""
    event = entry["event"]
    return f"line {entry['line']}" + (f", event {event['id']} ({event['sequence']})" if event is not None else "")
