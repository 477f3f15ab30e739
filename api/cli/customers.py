"""`tallystick customers`: who pays for which subjects."""

from typing import Annotated

import typer

from api.cli.imports import File, import_records
from api.cli.options import Data, Json, Url
from api.cli.printing import document, note, table
from api.cli.records import read_records
from api.cli.service import reach, segment

app = typer.Typer(help="Customers and the subjects whose usage they pay for.", no_args_is_help=True)


@app.command("list")
def list_customers(data: Data = None, url: Url = None, json: Json = False) -> None:
    """List all customers, in the order of their keys."""
    with reach(data, url) as service:
        found = list(service.pages("/v1/customers"))
    if json:
        document({"items": found})
        return
    rows = [(c["key"], c["name"], c["time_zone"], c["parent"], ", ".join(c["subjects"])) for c in found]
    table(f"{len(rows)} customers", ("customer", "name", "time zone", "paid by", "subjects"), rows)


@app.command("put")
def put_customer(
    key: Annotated[str, typer.Argument(help="The customer's key.")],
    name: Annotated[str | None, typer.Option(help="What people call it; the key, unless given.")] = None,
    time_zone: Annotated[str, typer.Option(help="Where its periods begin, such as Europe/Madrid.")] = "UTC",
    subject: Annotated[
        list[str] | None, typer.Option(help="`subject` of its usage events; the key, unless given; may be repeated.")
    ] = None,
    parent: Annotated[str | None, typer.Option(help="The customer who pays for it; itself, unless given.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Add a customer or replace it, its subjects included."""
    customer = {"name": name, "time_zone": time_zone, "subjects": subject or None, "parent": parent}
    with reach(data, url, make=True) as service:
        stored = service.answer("PUT", f"/v1/customers/{segment(key)}", json=customer).json()
    payer = f", paid by {stored['parent']}" if stored["parent"] else ""
    document(stored) if json else note(
        f"customer {key} is stored{payer}, with subjects {', '.join(stored['subjects'])}"
    )


@app.command("import")
def import_customers(file: File, data: Data = None, url: Url = None, json: Json = False) -> None:
    """Add or replace the customers of a file: key, name, time_zone, subjects (with spaces between them in CSV), parent.
    Parents come before those they pay for, wherever in the file they are."""
    rows = read_records(file, needed=("key",), optional=("name", "time_zone", "subjects", "parent"))
    for row in rows:
        if isinstance(row.get("subjects"), str):
            row["subjects"] = row["subjects"].split()
    import_records("/v1/customers", sorted(rows, key=lambda row: "parent" in row), "customers", data, url, json)
