"""`tallystick customers` and `subscriptions`: who pays for which subjects, and on which plan."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.options import Data, Json, Url
from api.cli.printing import document, note, progress, table
from api.cli.records import instant, read_records
from api.cli.service import Service, reach, segment

customers_app = typer.Typer(help="Customers and the subjects whose usage they pay for.", no_args_is_help=True)
subscriptions_app = typer.Typer(help="Which customer is on which plan, and when.", no_args_is_help=True)

BULK_ROWS = 5_000
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, JSON or Parquet.")]


@customers_app.command("list")
def list_customers(data: Data = None, url: Url = None, json: Json = False) -> None:
    """List all customers, in the order of their keys."""
    with reach(data, url) as service:
        found = list(service.pages("/v1/customers"))
    if json:
        document({"items": found})
        return
    rows = [(c["key"], c["name"], c["time_zone"], ", ".join(c["subjects"])) for c in found]
    table(f"{len(rows)} customers", ("customer", "name", "time zone", "subjects"), rows)


@customers_app.command("put")
def put_customer(
    key: Annotated[str, typer.Argument(help="The customer's key.")],
    name: Annotated[str | None, typer.Option(help="What people call it; the key, unless given.")] = None,
    time_zone: Annotated[str, typer.Option(help="Where its periods begin, such as Europe/Madrid.")] = "UTC",
    subject: Annotated[
        list[str] | None, typer.Option(help="`subject` of its usage events; the key, unless given; may be repeated.")
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Add a customer or replace it, its subjects included."""
    customer = {"name": name, "time_zone": time_zone, "subjects": subject or None}
    with reach(data, url, make=True) as service:
        stored = service.answer("PUT", f"/v1/customers/{segment(key)}", json=customer).json()
    document(stored) if json else note(f"customer {key} is stored, with subjects {', '.join(stored['subjects'])}")


@customers_app.command("import")
def import_customers(file: File, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Add or replace the customers of a file: key, name, time_zone, subjects (with spaces between them in CSV)."""
    rows = read_records(file, needed=("key",), optional=("name", "time_zone", "subjects"))
    for row in rows:
        if isinstance(row.get("subjects"), str):
            row["subjects"] = row["subjects"].split()
    _import("/v1/customers", rows, "customers", data, url, json)


@subscriptions_app.command("list")
def list_subscriptions(
    customer: Annotated[str | None, typer.Option(help="Only those of this customer.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List subscriptions, in the order of their keys."""
    with reach(data, url) as service:
        found = list(service.pages("/v1/subscriptions", customer=customer))
    if json:
        document({"items": found})
        return
    columns = ("key", "customer", "plan", "starts_at", "ends_at")
    table(f"{len(found)} subscriptions", columns, [[s[c] for c in columns] for s in found])


@subscriptions_app.command("put")
def put_subscription(
    key: Annotated[str, typer.Argument(help="The subscription's key.")],
    customer: Annotated[str, typer.Option(help="Who pays.")],
    plan: Annotated[str, typer.Option(help="A plan of the catalog.")],
    starts_at: Annotated[str, typer.Option(help="2026-10-01 (midnight UTC), or an instant with its zone.")],
    ends_at: Annotated[str | None, typer.Option(help="Exclusive; an open end unless given.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Add a subscription or replace it."""
    body = {"customer": customer, "plan": plan, "starts_at": instant(starts_at), "ends_at": instant(ends_at)}
    with reach(data, url) as service:
        stored = service.answer("PUT", f"/v1/subscriptions/{segment(key)}", json=body).json()
    document(stored) if json else note(
        f"subscription {key} is stored: {customer} is on {plan} from {stored['starts_at']}"
    )


@subscriptions_app.command("import")
def import_subscriptions(file: File, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Add or replace the subscriptions of a file with the columns key, customer, plan, starts_at, ends_at."""
    rows = read_records(file, needed=("key", "customer", "plan", "starts_at"), optional=("ends_at",))
    given = [{**row, "starts_at": instant(row["starts_at"]), "ends_at": instant(row.get("ends_at"))} for row in rows]
    _import("/v1/subscriptions", given, "subscriptions", data, url, json)


def _import(
    path: str, rows: Sequence[dict[str, Any]], what: str, data: Path | None, url: str | None, json: bool
) -> None:
    with reach(data, url, make=True) as service, progress(what, quiet=json) as bar:
        stored = 0
        for stored in _post(service, path, rows):
            bar.advance(stored / len(rows))
    document({"stored": stored}) if json else note(f"{stored} {what} are stored")


def _post(service: Service, path: str, rows: Sequence[dict[str, Any]]) -> Iterator[int]:
    """Post in parts, each stored whole or not at all; how many are stored so far."""
    for start in range(0, len(rows), BULK_ROWS):
        service.answer("POST", path, json=rows[start : start + BULK_ROWS])
        yield min(start + BULK_ROWS, len(rows))
