"""`tallystick entitlements`: what customers may use, by their plans, what was granted and what stands in."""

from typing import Annotated, Any

import typer

from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, note, table
from api.cli.records import instant
from api.cli.service import reach, segment

app = typer.Typer(help="What customers may use: list it, grant more, and override it.", no_args_is_help=True)

Customer = Annotated[str, typer.Argument(help="The customer's key.")]
Feature = Annotated[str, typer.Argument(help="A feature of the catalog.")]
Subject = Annotated[str | None, typer.Option(help="The limit of this subject alone.")]
ExpiresAt = Annotated[str | None, typer.Option(help="Exclusive: 2026-10-01, or an instant with its zone.")]
EffectiveAt = Annotated[str | None, typer.Option(help="2026-10-01, or an instant with its zone; now.")]


@app.command("list")
def list_entitlements(
    customer: Customer,
    at: Annotated[str | None, typer.Option(help="At this instant; now, unless given.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List what a customer may use of each feature, and what is left."""
    asked = {} if at is None else {"at": instant(at)}
    with reach(data, url) as service:
        found = service.get(f"/v1/customers/{segment(customer)}/entitlements", **asked)
    if json:
        document(found)
        return
    numbers = ("limit", "used", "remaining")
    columns = ("feature", "reason", *numbers, "value", "resets_at", "next_grant")
    rows = [[grouped(e[c]) if c in numbers and e[c] is not None else e[c] for c in columns] for e in found["items"]]
    table(f"{len(rows)} features of {customer} at {found['at']}", columns, rows, right=numbers)


@app.command()
def grant(
    customer: Customer,
    feature: Feature,
    amount: Annotated[str, typer.Argument(help="How much, in the unit of the feature's meter.")],
    id: Annotated[str | None, typer.Option("--id", help="Chosen by you: the same grant again changes nothing.")] = None,
    priority: Annotated[int, typer.Option(help="The smaller is burnt first; limits of plans have 100.")] = 100,
    effective_at: EffectiveAt = None,
    expires_at: ExpiresAt = None,
    recurs_every: Annotated[str | None, typer.Option(help="Whole again after 1h, 1d, 2w, 3mo, 1y.")] = None,
    rollover_maximum: Annotated[str | None, typer.Option(help="No more is kept when a window ends.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Grant a customer an amount of a feature beside what its plans give."""
    given: dict[str, Any] = {
        "id": id, "feature": feature, "amount": amount, "priority": priority, "effective_at": instant(effective_at),
        "expires_at": instant(expires_at), "recurs_every": recurs_every, "rollover_maximum": rollover_maximum,
    }  # fmt: skip
    body = {name: value for name, value in given.items() if value is not None}
    with reach(data, url) as service:
        made = service.answer("POST", f"/v1/customers/{segment(customer)}/quota-grants", json=body).json()
    document(made) if json else note(
        f"{made['id']}: {grouped(made['amount'])} of {feature} for {customer} from {made['effective_at']}"
    )


@app.command()
def grants(customer: Customer, data: Data = None, url: Url = None, json: Json = False) -> None:
    """List what was granted to a customer; what its plans grant is among its entitlements."""
    with reach(data, url) as service:
        found = list(service.pages(f"/v1/customers/{segment(customer)}/quota-grants"))
    if json:
        document({"items": found})
        return
    columns = ("id", "feature", "amount", "priority", "effective_at", "expires_at", "voided_at", "recurs_every")
    rows = [[grouped(g[c]) if c == "amount" else g[c] for c in columns] for g in found]
    table(f"{len(rows)} grants of {customer}", columns, rows, right=("amount", "priority"))


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
        voided = service.answer("POST", f"/v1/quota-grants/{segment(grant)}/void", json=body).json()
    document(voided) if json else note(f"{grant} is void from {voided['voided_at']}")


@app.command()
def override(
    customer: Customer,
    feature: Feature,
    limit: Annotated[str | None, typer.Option(help="In each window, or `unlimited`.")] = None,
    included: Annotated[bool | None, typer.Option(help="Of a feature that is there or not.")] = None,
    subject: Subject = None,
    window: Annotated[str | None, typer.Option(help="Such as day or billing; as the plan says.")] = None,
    effective_at: EffectiveAt = None,
    expires_at: ExpiresAt = None,
    reason: Annotated[str, typer.Option(help="Why, to show.")] = "",
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Let something stand in for what the plans of a customer give of a feature."""
    said: dict[str, Any] = {} if limit is None else {"limit": None if limit == "unlimited" else limit}
    more = {
        "included": included, "window": window, "effective_at": instant(effective_at),
        "expires_at": instant(expires_at), "reason": reason,
    }  # fmt: skip
    said |= {name: value for name, value in more.items() if value is not None}
    with reach(data, url) as service:
        put = service.answer("PUT", _path(customer, feature), params=_of(subject), json=said).json()
    document(put) if json else note(f"{feature} of {subject or customer} is overridden from {put['effective_at']}")


@app.command("end-override")
def end_override(
    customer: Customer,
    feature: Feature,
    subject: Subject = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Let the plans say again what a customer may use of a feature."""
    with reach(data, url) as service:
        ended = service.answer("DELETE", _path(customer, feature), params=_of(subject)).json()
    document(ended) if json else note(f"the plans say it again from {ended['ended_at']}")


def _path(customer: str, feature: str) -> str:
    return f"/v1/customers/{segment(customer)}/overrides/{segment(feature)}"


def _of(subject: str | None) -> dict[str, str]:
    return {} if subject is None else {"subject": subject}
