"""`tallystick quota` and `signals`: may a subject go on, and who reached a limit."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from api.cli.failing import FAILED, USAGE, Failure
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, table
from api.cli.records import read_records
from api.cli.service import Service, reach, segment

REFUSALS = (402, 403, 429)
CHECKS_MAX = 10_000
"""That the server takes at once."""


class _CheckUnlessNamed(TyperGroup):
    """`quota SUBJECT FEATURE` is `quota check SUBJECT FEATURE`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        named = args and (args[0] in self.commands or args[0].startswith("-"))
        return super().resolve_command(ctx, args if named else ["check", *args])


app = typer.Typer(cls=_CheckUnlessNamed, help="Ask whether subjects may use more of a feature.", no_args_is_help=True)


@app.command()
def check(
    subject: Annotated[str, typer.Argument(help="`subject` of usage events.")],
    feature: Annotated[str, typer.Argument(help="A feature of the catalog.")],
    amount: Annotated[str, typer.Option(help="How much more it wants to use; 0 asks whether anything is left.")] = "0",
    estimate: Annotated[bool, typer.Option("--estimate", help="What it would cost, too.")] = False,
    property: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of the estimated event, such as model=large; may be repeated."),
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Ask whether a subject may use more of a feature. Exit code 0: it may; 1: it may not."""
    with reach(data, url) as service:
        path = f"/v1/quota/{segment(subject)}/{segment(feature)}"
        asked = {"amount": amount, **_estimated(estimate, property or [])}
        answer: dict[str, Any] = service.answer("GET", path, params=asked, also=REFUSALS).json()
    if json:
        document(answer)
    else:
        _show(answer)
        if estimate:
            _show_estimate(answer["estimate"])
    if not answer["allowed"]:
        raise typer.Exit(FAILED)


@app.command()
def batch(
    file: Annotated[Path, typer.Argument(help="CSV, JSON or Parquet: subject, feature and, if need be, amount.")],
    refused: Annotated[bool, typer.Option("--refused", help="List only those that may not.")] = False,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Ask for every row of a file. Exit code 0: all of them may; 1: some may not."""
    rows = read_records(file, needed=("subject", "feature"), optional=("amount",))
    asked = iter([{name: _text(value) for name, value in row.items()} for row in rows])
    answers: list[dict[str, Any]] = []
    with reach(data, url) as service:
        while items := list(islice(asked, CHECKS_MAX)):
            answers += service.answer("POST", "/v1/quota/check", json={"items": items}).json()["items"]
    not_allowed = [answer for answer in answers if not answer["allowed"]]
    shown = not_allowed if refused else answers
    if json:
        document({"asked": len(answers), "refused": len(not_allowed), "items": shown})
    else:
        _show_all(f"{len(answers)} asked, {len(not_allowed)} refused", shown)
    if not_allowed:
        raise typer.Exit(FAILED)


def _estimated(wanted: bool, properties: list[str]) -> dict[str, str]:
    if any("=" not in text for text in properties):
        raise Failure(f"--property is {' and '.join(properties)}. Write NAME=VALUE.", USAGE)
    named = dict(text.split("=", 1) for text in properties)
    return {"estimate": "true", **{f"data.{name}": value for name, value in named.items()}} if wanted else {}


def _show_estimate(found: dict[str, str] | None) -> None:
    if found is None:
        typer.echo("nobody knows what it costs: no price sees an event of this amount with these properties")
    else:
        typer.echo(f"it would cost {grouped(found['amount'])} {found['currency']}")


def _text(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _show(answer: dict[str, Any]) -> None:
    typer.echo(f"{'allowed' if answer['allowed'] else 'not allowed'}: {answer['message']}")
    if answer["limit"] is None:
        return
    held = f", {grouped(answer['reserved'])} reserved" if answer["reserved"] not in (None, "0") else ""
    since = f" since {answer['window_start']}" if answer["window_start"] is not None else ""
    again = f"; it starts again at {answer['resets_at']}" if answer["resets_at"] is not None else ""
    typer.echo(f"{answer['owner']} used {grouped(answer['used'])} of {grouped(answer['limit'])}{held}{since}{again}")


def _show_all(title: str, answers: list[dict[str, Any]]) -> None:
    numbers = ("amount", "used", "reserved", "limit", "remaining")
    names = ("subject", "feature", "amount", "allowed", "reason", "customer", *numbers[1:], "resets_at")
    rows = [[grouped(a[n]) if n in numbers and a[n] is not None else a[n] for n in names] for a in answers]
    table(title, [name.replace("_", " ") for name in names], rows, right=numbers)


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
