"""`tallystick quota` and `signals`: may a subject go on, and who reached a limit."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from api.cli.failing import FAILED
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, table
from api.cli.service import Service, reach, segment


def quota(
    subject: Annotated[str, typer.Argument(help="`subject` of usage events.")],
    feature: Annotated[str, typer.Argument(help="A feature of the catalog.")],
    amount: Annotated[str, typer.Option(help="How much more it wants to use; 0 asks whether anything is left.")] = "0",
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Ask whether a subject may use more of a feature. Exit code 0: it may; 1: it may not."""
    with reach(data, url) as service:
        path = f"/v1/quota/{segment(subject)}/{segment(feature)}"
        answer: dict[str, Any] = service.answer("GET", path, params={"amount": amount}, also=(403, 429)).json()
    if json:
        document(answer)
    else:
        typer.echo(f"{'allowed' if answer['allowed'] else 'not allowed'}: {answer['message']}")
        if answer["resets_at"] is not None and answer["limit"] is not None:
            typer.echo(f"{answer['customer']} used {grouped(answer['used'])} of {grouped(answer['limit'])} "
                       f"since {answer['window_start']}; it starts again at {answer['resets_at']}")  # fmt: skip
    if not answer["allowed"]:
        raise typer.Exit(FAILED)


def signals(
    after: Annotated[int, typer.Option(help="Only those behind this sequence.")] = 0,
    type: Annotated[list[str] | None, typer.Option(help="Only of this type; may be repeated.")] = None,
    customer: Annotated[list[str] | None, typer.Option(help="Only of this customer; may be repeated.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List the signals: customers that reached a limit, were suspended, or may go on, and when."""
    with reach(data, url) as service:
        found = list(read_signals(service, after, type=type or None, customer=customer or None))
    if json:
        document({"items": found, "next": found[-1]["sequence"] if found else after})
        return
    rows = [
        (s["sequence"], s["type"], s["customer"], s["data"].get("feature"), s["data"].get("reached_at"),
         grouped(s["data"].get("used", "")), grouped(s["data"].get("limit", "")))
        for s in found
    ]  # fmt: skip
    columns = ("sequence", "type", "customer", "feature", "reached at", "used", "limit")
    table(f"{len(rows)} signals", columns, rows, right=("sequence", "used", "limit"))


def read_signals(service: Service, after: int, **selected: Any) -> Iterator[dict[str, Any]]:
    """All selected signals behind `after`; their pages end when there is nothing more, not with a null."""
    while items := service.get("/v1/signals", after=after, limit=1000, **selected)["items"]:
        yield from items
        after = items[-1]["sequence"]
