"""`tallystick lines` and `explain`: what a run charges, and why."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.failing import USAGE, Failure
from api.cli.line_exports import Form, media_of_export, show_summary, write_export
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, money, note, table
from api.cli.rated_events import FILE, media_of_file, write_events_behind, write_rated_events
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
    rated_events: Annotated[
        str | None,
        typer.Option(metavar=FILE, help="Write each event with its share: .parquet, .csv, .ndjson or .arrow."),
    ] = None,
    format: Annotated[
        Form, typer.Option(help="What --out writes: the lines, FOCUS 1.2 cost data, or EN 16931 invoice lines.")
    ] = Form.lines,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar=_FILE, help="Write all of them; the ending says as what.")
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="FOCUS: who sells and invoices, such as 'Acme Ltd'.")] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(metavar="METER=CODE", help="EN 16931: what a meter counts (UN/ECE Rec. 20); may be repeated."),
    ] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Sums by currency, price and customer.")] = False,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show the charge lines of a run, or write them to a file; with --rated-events the events that they are made of."""
    written = {"csv": csv, "parquet": parquet, "arrow": arrow}
    part = {"customer": customer, "price": price}
    is_export = out is not None or format != Form.lines
    if rated_events is not None:
        media_of_file(rated_events)
        _refuse_parts(**part)
    if is_export or summary:
        _refuse_beside(**written, rated_events=rated_events)
    if is_export:
        media_of_export(format, out or STDOUT)
    with reach(data, url) as service:
        run_id = run or _newest(service, period)
        if is_export:
            write_export(service, run_id, format, out or STDOUT, {**part, "issuer": issuer, "unit": unit})
        elif summary:
            _summarise(service, run_id, top, part, json=json)
        else:
            found = read_lines(service, run_id, customer, price)
            if rated_events is not None:
                shares = write_rated_events(service, run_id, found, rated_events)
                note(f"{grouped(shares)} shares of events are in {rated_events}")
            _write_or_show(found, run_id, written, top, json=json, is_quiet=rated_events is not None)


def _summarise(service: Service, run: str, top: int, part: dict[str, str | None], *, json: bool) -> None:
    sums = service.get(f"/v1/rating-runs/{segment(run)}/summary", limit=top, **part)
    document(sums) if json else show_summary(sums)


def _write_or_show(
    found: "pl.DataFrame", run: str, written: dict[str, str | None], top: int, *, json: bool, is_quiet: bool
) -> None:
    for form, target in written.items():
        if target is not None:
            write_table(found, form, target)
    if json:
        document({"run": run, "items": records(found)})
    elif not any(written.values()) and not is_quiet:
        _show(found, run, top)


def explain(
    line: Annotated[str, typer.Argument(help="Id of a charge line.")],
    run: Annotated[
        str | None, typer.Option(help="The run that it is of; the newest that has it, unless given.")
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(metavar=FILE, help="Write the events behind it: .parquet, .csv, .ndjson or .arrow."),
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Show the arithmetic of a charge line, step by step, and which events are behind it."""
    if events is not None:
        media_of_file(events)
    with reach(data, url) as service:
        explained = service.get(f"/v1/charge-lines/{segment(line)}/explain", run=run)
        if events is not None:
            write_events_behind(service, line, explained["run"], events)
    if events == STDOUT:
        return
    document(explained) if json else show_explanation(explained)


def show_explanation(explained: dict[str, Any]) -> None:
    """A line and its steps, for people."""
    amount = f"{money(explained['rounded_amount'], explained['currency'])} {explained['currency']}"
    what = f"plan {explained['plan']}" if explained["price"] is None else explained["price"]
    typer.echo(f"{explained['line']}: {amount} to {explained['customer']} for {what} in {explained['period']}")
    steps = [
        (number, step["name"], step["text"], step["result"]) for number, step in enumerate(explained["steps"], start=1)
    ]
    table("How it comes about", ("", "step", "what", "result"), steps, right=("result",))
    for paid in explained["paid_by"]:
        left = f"{grouped(paid['balance_before'])} before, {grouped(paid['balance_after'])} after"
        line = f", line {paid['line']}" if paid["line"] is not None else ""
        typer.echo(f"grant {paid['grant']} paid {grouped(paid['amount'])} {paid['unit']} ({left}){line}")
    if explained["events_behind"] is not None:
        _show_events_behind(explained["events_behind"])


def _show_events_behind(behind: dict[str, Any]) -> None:
    count = behind["count"]
    said = "1 event is behind it" if count == 1 else f"{grouped(count)} events are behind it"
    if behind["unknown"] is not None:
        typer.echo(f"{said}; they cannot be shown: {behind['unknown']}")
    elif behind["first"] is None:
        typer.echo(said)
    else:
        when = f"at {behind['first']}" if count == 1 else f"from {behind['first']} to {behind['last']}"
        typer.echo(f"{said}, {when}: --events FILE has them")


def _refuse_parts(**given: str | None) -> None:
    unused = [f"--{name}" for name, value in given.items() if value is not None]
    if unused:
        raise Failure(f"--rated-events writes a whole run; leave out {' and '.join(unused)}.", USAGE)


def _refuse_beside(**given: str | None) -> None:
    unused = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if unused:
        raise Failure(
            f"{', '.join(unused)}: not beside --out, --format and --summary. Give one of them at a time.", USAGE
        )


def _newest(service: Service, period: str | None) -> str:
    for run in service.pages("/v1/rating-runs", period=period):
        if run["status"] == "done" and run["as_of"] is None:
            return str(run["id"])
    of = f" of {period}" if period else ""
    raise Failure(
        f"there is no finished rating run{of}. Make one with `tallystick rate --period {period or '2026-10'}`."
    )


def read_lines(service: Service, run: str, customer: str | None = None, price: str | None = None) -> "pl.DataFrame":
    """The charge lines of a run."""
    import polars as pl

    from api.frames import ARROW

    given = {name: value for name, value in {"customer": customer, "price": price}.items() if value is not None}
    path = f"/v1/rating-runs/{segment(run)}/lines"
    return pl.read_ipc_stream(service.answer("GET", path, params=given, headers={"Accept": ARROW}).content)


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
