"""`tallystick lines --format ... --out FILE` and `--summary`: charge lines for others to read, and for a person."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from api.cli.failing import USAGE, Failure
from api.cli.printing import grouped, money, note, table
from api.cli.rated_events import ENDINGS as TABLE_ENDINGS
from api.cli.service import Service, segment
from api.cli.writing import STDOUT, write_bytes

_JSON = {".json": "application/json"}


class Form(StrEnum):
    lines = "lines"
    focus = "focus"
    en16931 = "en16931"


_PATHS = {Form.lines: "lines", Form.focus: "focus", Form.en16931: "invoice-lines"}
_ENDINGS: Mapping[Form, Mapping[str, str]] = {
    Form.lines: {**TABLE_ENDINGS, **_JSON},
    Form.focus: TABLE_ENDINGS,
    Form.en16931: {**_JSON, ".csv": TABLE_ENDINGS[".csv"]},
}
_STDOUT_ENDING = {Form.lines: ".ndjson", Form.focus: ".csv", Form.en16931: ".json"}


def media_of_export(form: Form, target: str) -> str:
    """By the ending of the name. Raises Failure for one that the form does not come in."""
    ending = _STDOUT_ENDING[form] if target == STDOUT else Path(target).suffix.lower()
    media = _ENDINGS[form].get(ending)
    if media is None:
        raise Failure(f"{target}: --format {form} is written as {', '.join(_ENDINGS[form])}. Use one of them.", USAGE)
    return media


def write_export(service: Service, run: str, form: Form, target: str, parameters: Mapping[str, Any]) -> None:
    """The lines of a run in this form as a file, whole or not at all, or on stdout."""
    media = media_of_export(form, target)
    given = {name: value for name, value in parameters.items() if value is not None}
    path = f"/v1/rating-runs/{segment(run)}/{_PATHS[form]}"
    if form == Form.lines and media in _JSON.values():  # it comes in pages
        content = json.dumps(list(service.pages(path, **given)), ensure_ascii=False, indent=1).encode() + b"\n"
    else:
        content = service.answer("GET", path, params=given, headers={"Accept": media}).content
    write_bytes(content, target)
    if target != STDOUT:
        note(f"the charge lines of {run} are in {target}")


def show_summary(found: dict[str, Any]) -> None:
    """Sums by currency, by price and by customer, for people."""
    numbers = ("rounded_amount", "lines", "customers", "events")
    typer.echo(f"charges of {found['run']}")
    for title, name, columns in (
        ("Totals", "totals", ("rounded_amount", "currency", "lines", "customers", "events")),
        ("By price", "prices", ("rounded_amount", "currency", "kind", "price", "plan", "lines", "customers", "events")),
        ("By customer", "customers", ("rounded_amount", "currency", "customer", "lines", "events")),
    ):
        table(f"\n{title}", columns, [_row(item, columns) for item in found[name]], right=numbers)
    if found["customers_more"]:
        typer.echo(f"and {grouped(found['customers_more'])} more: --top shows them")


def _row(item: dict[str, Any], columns: Sequence[str]) -> list[str | None]:
    shown = {**item, "rounded_amount": money(item["rounded_amount"], item["currency"])}
    return [grouped(shown[name]) if isinstance(shown[name], int) else shown[name] for name in columns]
