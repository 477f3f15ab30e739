"""The options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    parquet = "parquet"
    csv = "csv"
    ndjson = "ndjson"
    arrow = "arrow"


Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="TALLYSTICK_DATA", help="The data directory.", show_default="data/live"),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="TALLYSTICK_URL",
        help="A running server; without it the one that serves the data directory, or none.",
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="INSTANT", help="Answer as it was known then, such as 2026-11-01T00:00:00Z."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; messages on stderr.")]

_MAPPING = "Columns"
_FORM = "COLUMN|=CONSTANT"
IdColumn = Annotated[
    str | None,
    typer.Option(
        "--id",
        metavar=_FORM,
        rich_help_panel=_MAPPING,
        help="Unique for each event within its source. Without it: file digest and row.",
    ),
]
SourceColumn = Annotated[
    str | None, typer.Option("--source", metavar=_FORM, rich_help_panel=_MAPPING, help="Where the ids are unique.")
]
TypeColumn = Annotated[
    str | None,
    typer.Option("--type", metavar=_FORM, rich_help_panel=_MAPPING, help="Such as --type =llm.request."),
]
SubjectColumn = Annotated[
    str | None, typer.Option("--subject", metavar=_FORM, rich_help_panel=_MAPPING, help="Whose usage it is.")
]
TimeColumn = Annotated[
    str | None, typer.Option("--time", metavar=_FORM, rich_help_panel=_MAPPING, help="When it happened.")
]
Properties = Annotated[
    list[str] | None,
    typer.Option(
        "--property",
        metavar="NAME=COLUMN",
        rich_help_panel=_MAPPING,
        help="A property under another name than its column; may be repeated.",
    ),
]
Only = Annotated[
    bool, typer.Option("--only", rich_help_panel=_MAPPING, help="Leave out the columns that no option names.")
]
TimeZone = Annotated[
    str | None,
    typer.Option(
        "--time-zone", metavar="ZONE", rich_help_panel=_MAPPING, help="Of times without one: UTC, Europe/Madrid."
    ),
]
Decimals = Annotated[
    int | None,
    typer.Option(
        "--decimals",
        min=0,
        max=9,
        rich_help_panel=_MAPPING,
        help="Take float columns, each value rounded to so many decimals (ties to even).",
    ),
]
FileFormat = Annotated[
    Format | None, typer.Option("--format", rich_help_panel=_MAPPING, help="Instead of the one that the name ends in.")
]
