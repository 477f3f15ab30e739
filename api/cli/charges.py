"""`tallystick charges`: what a customer's open billing periods come to by now."""

from decimal import Decimal
from typing import Annotated, Any

import typer

from api.cli.lines import show_lines
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, money, table
from api.cli.service import reach, segment


def charges(
    customer: Annotated[str, typer.Argument(help="The customer's key.")],
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show what the open billing periods of a customer come to by now. Nothing is recorded."""
    with reach(data, url) as service:
        found: dict[str, Any] = service.get(f"/v1/customers/{segment(customer)}/charges/current")
    document(found) if json else _show(found)


def _show(found: dict[str, Any]) -> None:
    periods = [[one[name] for name in ("subscription", "period", "from", "to")] for one in found["periods"]]
    table(f"open billing periods of {found['customer']}", ("subscription", "period", "from", "to"), periods)
    largest = sorted(found["items"], key=lambda line: -Decimal(line["rounded_amount"]))
    show_lines(largest, f"{grouped(len(largest))} charges so far, as of {found['as_of']}")
    for total in found["totals"]:
        typer.echo(f"total: {money(total['rounded_amount'], total['currency'])} {total['currency']}")
