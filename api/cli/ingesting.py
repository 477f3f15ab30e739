"""`tallystick ingest`: usage files go the same way as requests, in bulk."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.failing import BAD_DATA, TRY_AGAIN, Failure
from api.cli.options import (
    Data,
    Decimals,
    FileFormat,
    IdColumn,
    Json,
    Only,
    Properties,
    SourceColumn,
    SubjectColumn,
    TimeColumn,
    TimeZone,
    TypeColumn,
    Url,
)
from api.cli.printing import Bar, document, grouped, progress
from api.cli.service import Service, reach
from api.cli.usage_files import FileSum, bodies, opened, summed

if TYPE_CHECKING:
    from ingest.files import UsageFile

TRIES_MAX = 20
WAIT_SECONDS_MAX = 30


def ingest(
    files: Annotated[list[Path], typer.Argument(help="Parquet, CSV, NDJSON or Arrow; .gz and .zst too (CSV, NDJSON).")],
    id: IdColumn = None,
    source: SourceColumn = None,
    type: TypeColumn = None,
    subject: SubjectColumn = None,
    time: TimeColumn = None,
    property: Properties = None,
    only: Only = False,
    time_zone: TimeZone = None,
    decimals: Decimals = None,
    format: FileFormat = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Take usage files in. What was interrupted is simply run again: events that are there already are duplicates.

    Exit code 65 when an event was rejected or conflicts; the others are kept.
    """
    mapping = (id, source, type, subject, time, property, only, time_zone, decimals)
    usage_files = [opened(file, format, *mapping) for file in files]
    with reach(data, url, make=True) as service:
        sums = [_ingest(service, file, quiet=json) for file in usage_files]
    if json:
        document({"files": [one.as_json() for one in sums], **summed(sums)})
    else:
        for one in sums:
            one.show()
    if any(one.refused for one in sums):
        raise typer.Exit(BAD_DATA)


def _ingest(service: Service, file: "UsageFile", *, quiet: bool) -> FileSum:
    """Post a file, a body at a time."""
    total = FileSum(file.path)
    started = time.monotonic()
    with progress(file.path.name, quiet=quiet) as bar:
        for body, rows, part in bodies(file):
            total.add(rows, _post(service, body))
            _advance(bar, total, part, time.monotonic() - started)
    total.seconds = time.monotonic() - started
    return total


def _advance(bar: Bar, total: FileSum, part: float, seconds: float) -> None:
    bar.advance(part, f"{grouped(total.events)} events, {grouped(round(total.events / max(seconds, 1e-9)))}/s")


def _post(service: Service, body: bytes) -> dict[str, Any]:
    """The verdict on a body. A server that is busy is asked again: a resend is harmless."""
    from api.frames import ARROW

    for wait in _waits():
        response = service.answer(
            "POST", "/v1/events", content=body, headers={"Content-Type": ARROW}, also=(422, 429, 503)
        )
        if response.status_code not in (429, 503):
            answer: dict[str, Any] = response.json()
            if "events" not in answer:
                raise Failure(str(answer.get("detail", "the server refused a batch")), BAD_DATA)
            return answer
        time.sleep(min(float(response.headers.get("Retry-After", wait)), WAIT_SECONDS_MAX))
    raise Failure(
        "the server is overloaded. Run the same again later: what is in already is not counted twice.", TRY_AGAIN
    )


def _waits() -> Iterator[int]:
    return (min(2**number, WAIT_SECONDS_MAX) for number in range(TRIES_MAX))
