"""`tallystick lines` and `explain`: what a run charges, and why."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.failing import Failure
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, money, table
from api.cli.service import Service, reach, segment
from api.cli.writing import STDOUT, records, write_table

if TYPE_CHECKING:
    import polars as pl

SHOWN = ("rounded_amount", "currency", "customer", "price", "group", "quantity", "events", "line")
_FILE = f"FILE|{STDOUT}"


def lines(
    run: Annotated[str | None, typer.Argument(help="The run; the newest that is done, unless given.")] = None,
    period: Annotated[str | None, typer.Option(help="The newest run of this month.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only lines of this customer.")] = None,
    price: Annotated[
        str | None, typer.Option(help="Only lines of this price; a trailing * stands for anything.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many lines to show, the largest amounts first.")] = 20,
    csv: Annotated[str | None, typer.Option(metavar=_FILE, help="Write all of them as CSV.")] = None,
    parquet: Annotated[str | None, typer.Option(metavar=_FILE, help="Write all of them as Parquet.")] = None,
    arrow: Annotated[str | None, typer.Option(metavar=_FILE, help="Write all of them as an Arrow stream.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show the charge lines of a run, or write them to a file."""
    with reach(data, url) as service:
        run_id = run or _newest(service, period)
        found = _read(service, run_id, customer, price)
    for format, target in (("csv", csv), ("parquet", parquet), ("arrow", arrow)):
        if target is not None:
            write_table(found, format, target)
    if json:
        document({"run": run_id, "items": records(found)})
    elif not any((csv, parquet, arrow)):
        _show(found, run_id, top)


def explain(
    line: Annotated[str, typer.Argument(help="Id of a charge line.")],
    run: Annotated[
        str | None, typer.Option(help="The run that it is of; the newest that has it, unless given.")
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show the arithmetic of a charge line, step by step, and how many events are behind it."""
    with reach(data, url) as service:
        explained = service.get(f"/v1/charge-lines/{segment(line)}/explain", run=run)
    document(explained) if json else show_explanation(explained)


def show_explanation(explained: dict[str, Any]) -> None:
    """A line and its steps, for people."""
    amount = f"{money(explained['rounded_amount'], explained['currency'])} {explained['currency']}"
    typer.echo(
        f"{explained['line']}: {amount} to {explained['customer']} for {explained['price']} in {explained['period']}"
    )
    steps = [
        (number, step["name"], step["text"], step["result"]) for number, step in enumerate(explained["steps"], start=1)
    ]
    table(
        f"{grouped(explained['events'])} events are behind it", ("", "step", "what", "result"), steps, right=("result",)
    )


def _newest(service: Service, period: str | None) -> str:
    for run in service.pages("/v1/rating-runs", period=period):
        if run["status"] == "done":
            return str(run["id"])
    of = f" of {period}" if period else ""
    raise Failure(
        f"there is no finished rating run{of}. Make one with `tallystick rate --period {period or '2026-10'}`."
    )


def _read(service: Service, run: str, customer: str | None, price: str | None) -> "pl.DataFrame":
    import polars as pl

    from api.frames import ARROW

    parameters = {"customer": customer} if customer is not None else {}
    path = f"/v1/rating-runs/{segment(run)}/lines"
    body = service.answer("GET", path, params=parameters, headers={"Accept": ARROW}).content
    found = pl.read_ipc_stream(body)
    if price is None:
        return found
    is_prefix = price.endswith("*")
    return found.filter(pl.col("price").str.starts_with(price[:-1]) if is_prefix else pl.col("price") == price)


def _show(found: "pl.DataFrame", run: str, top: int) -> None:
    largest = found.sort("rounded_amount", "line", descending=[True, False]).head(top)
    title = f"{grouped(found.height)} charge lines of {run}"
    show_lines(records(largest), f"{title}, the {top} largest" if found.height > top else title)


def show_lines(lines: Sequence[dict[str, Any]], title: str) -> None:
    """Charge lines, for people."""
    numbers = ("rounded_amount", "quantity", "events")
    rows = [
        (
            money(line["rounded_amount"], line["currency"]),
            *(line[name] for name in ("currency", "customer", "price")),
            ", ".join(map(str, line["group"].values())),
            *(grouped(line[name]) for name in ("quantity", "events")),
            line["line"],
        )
        for line in lines
    ]
    table(title, SHOWN, rows, right=numbers)
