"""`tallystick ingest`: usage files go the same way as requests, in bulk."""

import time
from collections.abc import Iterator, Sequence
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
from api.cli.taken_files import TakenFiles, usage_files
from api.cli.usage_files import FileSum, bodies, opened, summed

if TYPE_CHECKING:
    from ingest.files import UsageFile

TRIES_MAX = 20
WAIT_SECONDS_MAX = 30


def ingest(
    files: Annotated[
        list[Path],
        typer.Argument(help="Parquet, CSV, NDJSON or Arrow; .gz and .zst too (CSV, NDJSON). Or directories of them."),
    ],
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
    record: Annotated[
        Path | None, typer.Option(help="Note here which files were taken in whole, and skip them another time.")
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Take usage files in. What was interrupted is simply run again: events that are there already are duplicates.

    Exit code 65 when an event was rejected or conflicts; the others are kept.
    """
    mapping = (id, source, type, subject, time, property, only, time_zone, decimals)
    taken = TakenFiles(record, format, mapping, url or (data and data.absolute()))
    keys = [(file, taken.key(file)) for file in usage_files(files)]
    known = [file for file, key in keys if taken.has(key)]
    new = [(opened(file, format, *mapping), key) for file, key in keys if not taken.has(key)]
    sums = []
    with reach(data, url, make=True) as service:
        for number, (file, key) in enumerate(new, 1):
            sums.append(ingest_file(service, file, f"{number}/{len(new)} ", quiet=json))
            if not sums[-1].refused:
                taken.add(file.path, key, {"events": sums[-1].events})
    if json:
        document({"files": [one.as_json() for one in sums], "skipped": [str(file) for file in known], **summed(sums)})
    else:
        show_files(sums, known)
    if any(one.refused for one in sums):
        raise typer.Exit(BAD_DATA)


def show_files(sums: Sequence[FileSum], known: Sequence[Path]) -> None:
    """What became of the files."""
    for one in sums:
        one.show()
    if len(sums) > 1:
        counts = ", ".join(f"{grouped(count)} {name}" for name, count in summed(sums).items())
        print(f"all {grouped(len(sums))} files: {counts}")
    if known:
        print(f"skipped {grouped(len(known))} files that were taken in before")


def ingest_file(service: Service, file: "UsageFile", place: str, *, quiet: bool, path: str = "/v1/events") -> FileSum:
    """Post a file, a body at a time."""
    total = FileSum(file.path)
    started = time.monotonic()
    with progress(place + file.path.name, quiet=quiet) as bar:
        for body, rows, part in bodies(file):
            total.add(rows, _post(service, body, path))
            _advance(bar, total, part, time.monotonic() - started)
    total.seconds = time.monotonic() - started
    return total


def _advance(bar: Bar, total: FileSum, part: float, seconds: float) -> None:
    bar.advance(part, f"{grouped(total.events)} events, {grouped(round(total.events / max(seconds, 1e-9)))}/s")


def _post(service: Service, body: bytes, path: str) -> dict[str, Any]:
    """The verdict on a body. A server that is busy is asked again: a resend is harmless."""
    from api.frames import ARROW

    for wait in _waits():
        response = service.answer(
            "POST", path, content=body, headers={"Content-Type": ARROW}, also=(422, 429, 503, 507)
        )
        if response.status_code not in (429, 503, 507):
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
