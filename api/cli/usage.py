"""`tallystick usage`: what a meter makes of the events, now or as it was known at any instant."""

from typing import Annotated, Any

import typer

from api.cli.options import AsOf, Data, Json, Url
from api.cli.printing import document, grouped, table
from api.cli.service import reach, segment


def usage(
    meter: Annotated[str, typer.Argument(help="A meter of the catalog.")],
    start: Annotated[str | None, typer.Option("--from", metavar="INSTANT", help="Inclusive.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="INSTANT", help="Exclusive.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only usage of this subject.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only usage of this customer.")] = None,
    group_by: Annotated[
        list[str] | None, typer.Option(help="A dimension of the meter, subject or customer; may be repeated.")
    ] = None,
    window: Annotated[str | None, typer.Option(help="A row for each minute, hour, day or month.")] = None,
    time_zone: Annotated[str, typer.Option(metavar="ZONE", help="Whose hours, days and months.")] = "UTC",
    as_of: AsOf = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Ask for metered usage, counted by the code that bills are made with. Instants are like 2026-10-01T00:00:00Z."""
    asked = {
        "from": start,
        "to": end,
        "subject": subject,
        "customer": customer,
        "group_by": group_by,
        "window": window,
        "time_zone": time_zone,
        "as_of": as_of,
    }
    with reach(data, url) as service:
        found: dict[str, Any] = service.get(f"/v1/meters/{segment(meter)}/usage", **asked)
    if json:
        document(found)
        return
    groups = list(dict.fromkeys(group_by or ()))
    first = ["window_start"] if window else []
    rows = [
        [*(item[name] for name in first), *(item["group"][name] for name in groups),
         grouped(item["quantity"]), grouped(item["events"])]
        for item in found["items"]
    ]  # fmt: skip
    title = f"usage by {meter}" + (f", as it was known at {as_of}" if as_of else "")
    table(title, (*first, *groups, "quantity", "events"), rows, right=("quantity", "events"))
