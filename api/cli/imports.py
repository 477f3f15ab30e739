"""Small tables of people's files on their way into the service, part by part."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.printing import document, note, progress
from api.cli.service import Service, reach

BULK_ROWS = 5_000
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, JSON or Parquet.")]


def import_records(
    path: str, rows: Sequence[dict[str, Any]], what: str, data: Path | None, url: str | None, json: bool
) -> None:
    """Post `rows` to `path`, and say how many `what` are stored."""
    with reach(data, url, make=True) as service, progress(what, quiet=json) as bar:
        stored = 0
        for stored in _post(service, path, rows):
            bar.advance(stored / len(rows))
    document({"stored": stored}) if json else note(f"{stored} {what} are stored")


def _post(service: Service, path: str, rows: Sequence[dict[str, Any]]) -> Iterator[int]:
    """Post in parts, each stored whole or not at all; how many are stored so far."""
    for start in range(0, len(rows), BULK_ROWS):
        service.answer("POST", path, json=rows[start : start + BULK_ROWS])
        yield min(start + BULK_ROWS, len(rows))
