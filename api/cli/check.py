"""`tallystick check`: what leaks in a period, before it is closed."""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.failing import FAILED, USAGE, Failure
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, money, table
from api.cli.service import reach

COULD_NOT = 2
_RULE = "History"
_COLUMNS = (
    "customer", "subject", "subscription", "plan", "meter", "group", "type", "quantity", "expected", "events",
    "first", "last",
)  # fmt: skip
_NUMBERS = ("quantity", "expected", "events")


def check(
    period: Annotated[str, typer.Option(help="The month to look at, such as 2026-10; it need not be over.")],
    months: Annotated[
        int, typer.Option(min=1, max=60, rich_help_panel=_RULE, help="How many months before are the history.")
    ] = 6,
    months_min: Annotated[
        int, typer.Option(min=1, max=60, rich_help_panel=_RULE, help="Fewer months are too little history.")
    ] = 3,
    drop: Annotated[
        str, typer.Option(rich_help_panel=_RULE, help="A drop is less than this part of the median.")
    ] = "0.5",
    spike: Annotated[
        str, typer.Option(rich_help_panel=_RULE, help="A spike is more than so many times the median.")
    ] = "2",
    deviations: Annotated[
        str, typer.Option(rich_help_panel=_RULE, help="Both are farther from it than so many median distances.")
    ] = "3",
    top: Annotated[
        int, typer.Option(min=0, max=10_000, help="How many findings of each kind, the largest first.")
    ] = 20,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Look for leaks in a month: events that no meter counts, usage without a price or a subscription, subscriptions
    without usage, and usage out of line with the customer's own history. It needs no rating run and writes nothing.

    Exit code 0: nothing found. 1: something was found. 2: it could not be checked.
    """  # fmt: skip
    factors = {"drop": drop, "spike": spike, "deviations": deviations}
    rule = {"months": months, "months_min": months_min, **{name: _factor(name, it) for name, it in factors.items()}}
    found = _found(data, url, period=period, limit=top, **rule)
    document(found) if json else show_check(found)
    if found["found"]:
        raise typer.Exit(FAILED)


def _factor(name: str, text: str) -> str:
    try:
        Decimal(text)
    except InvalidOperation:
        raise Failure(f"--{name} {text!r} is no number. Use one like 0.5.", USAGE) from None
    return text


def _found(data: Path | None, url: str | None, **parameters: Any) -> Any:
    """Whatever goes wrong has another exit code than a finding."""
    try:
        with reach(data, url) as service:
            return service.get("/v1/checks", **parameters)
    except Failure as failure:
        raise Failure(failure.message, COULD_NOT, failure.problems) from failure


def show_check(found: dict[str, Any]) -> None:
    """What was found, for people: each kind with what to do about it."""
    count = found["found"]
    said = "nothing found" if not count else "1 finding" if count == 1 else f"{grouped(count)} findings"
    typer.echo(f"{found['period']} until {found['until']}: {said}")
    for kind in found["checks"]:
        if kind["found"]:
            _show_kind(kind)
    few = found["too_little_history"]["found"]
    if few:
        months = found["rule"]["months_min"]
        pairs = "pair" if few == 1 else "pairs"
        typer.echo(f"too little history (less than {months} months) for {grouped(few)} {pairs} of customer and meter")
    if found["not_compared"]:
        typer.echo(f"not compared with history: {', '.join(found['not_compared'])}")


def _show_kind(kind: dict[str, Any]) -> None:
    sums = [f"{money(it['amount'], it['currency'])} {it['currency']}" for it in kind["at_stake"]]
    at_stake = f", at stake {' and '.join(sums)}" if sums else ""
    title = f"\n{kind['kind']}: {grouped(kind['found'])} ({kind['what']}){at_stake}"
    items = kind["items"]
    columns = [name for name in _COLUMNS if any(name in item for item in items)]
    rows = [(_at_stake(item), *(_cell(name, item.get(name)) for name in columns)) for item in items]
    table(title, ("at stake", *columns), rows, right=("at stake", *_NUMBERS))
    if kind["found"] > len(items):
        typer.echo(f"and {grouped(kind['found'] - len(items))} more: --top shows them")
    typer.echo(f"-> {kind['do']}")


def _at_stake(item: dict[str, Any]) -> str:
    return f"{money(item['amount'], item['currency'])} {item['currency']}" if "amount" in item else "?"


def _cell(name: str, value: Any) -> str:
    return "" if value is None else grouped(value) if name in _NUMBERS else str(value)
