"""Rated events and the events behind a line, to files: part by part, so that no file has to fit into memory."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.failing import FAILED, USAGE, Failure
from api.cli.service import Service, segment
from api.cli.writing import STDOUT

if TYPE_CHECKING:
    import polars as pl

ENDINGS = {
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.stream",
    ".arrows": "application/vnd.apache.arrow.stream",
    ".csv": "text/csv",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
}
FILE = f"FILE|{STDOUT}"


def media_of_file(target: str) -> str:
    """By the ending of the name; stdout is NDJSON. Raises Failure for another one."""
    if target == STDOUT:
        return ENDINGS[".ndjson"]
    media = ENDINGS.get(Path(target).suffix.lower())
    if media is None:
        raise Failure(f"{target}: its ending is no format. Use one of {', '.join(ENDINGS)}.", USAGE)
    return media


def write_events_behind(service: Service, line: str, run: str | None, target: str) -> None:
    """The events behind a line, with their share of it."""
    media = media_of_file(target)
    parameters = {} if run is None else {"run": run}
    path = f"/v1/charge-lines/{segment(line)}/events"
    write_pieces([service.answer("GET", path, params=parameters, headers={"Accept": media}).content], target)


def write_rated_events(service: Service, run: str, lines: "pl.DataFrame", target: str) -> int:
    """SHARE of the `lines` of a run, whole customers at a time; how many rows it were."""
    return write_frames(_fetched(service, run, lines), target)


def write_frames(frames: "Iterable[pl.DataFrame]", target: str) -> int:
    """Frames of SHARE as one file; how many rows it were."""
    from api.rated_events import SHARE
    from api.table_streams import encoded

    rows = 0

    def counted() -> "Iterator[pl.DataFrame]":
        nonlocal rows
        for frame in frames:
            rows += frame.height
            yield frame

    write_pieces(encoded(counted(), SHARE, media_of_file(target)), target)
    return rows


def _fetched(service: Service, run: str, lines: "pl.DataFrame") -> "Iterator[pl.DataFrame]":
    import polars as pl

    from api.rated_events import parts_of

    path, after = f"/v1/rating-runs/{segment(run)}/rated-events", None
    for part in parts_of(lines):
        until = part["customer"][-1]
        range_: dict[str, Any] = {"until": until} if after is None else {"after": after, "until": until}
        headers = {"Accept": ENDINGS[".arrow"]}
        yield pl.read_ipc_stream(service.answer("GET", path, params=range_, headers=headers).content)
        after = until


def write_pieces(pieces: Iterable[bytes], target: str) -> None:
    """Put a file at `target` piece by piece, whole or not at all, or write to stdout."""
    from rating.disk import Disk

    if target == STDOUT:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    path = Path(target).absolute()
    temporary = path.with_name(f"{path.name}.tmp")
    disk = Disk()
    try:
        temporary.unlink(missing_ok=True)
        file = disk.create(temporary)
        try:
            for piece in pieces:
                file.append([piece])
            file.sync()
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            file.close()
        disk.rename(temporary, path)
    except OSError as error:
        raise Failure(f"{target} cannot be written: {error.strerror or error}.", FAILED) from error
