"""Events and bodies for the tests of ingest, and a disk that keeps a list of what was done to it."""

import errno
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from ingest.limits import IngestLimits
from ingest.log import UsageLog
from ingest.verdicts import BatchVerdict
from rating.core.schema import PropertyType
from rating.disk import AppendFile, Disk

JSON = "application/json"
ONE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
ARROW = "application/vnd.apache.arrow.stream"

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
PROPERTIES: dict[str, PropertyType] = {"tokens": "number", "model": "string"}


def event(key: object, **changes: Any) -> dict[str, Any]:
    """A good event with the id `key`; a change to None leaves the attribute out."""
    good = {
        "specversion": "1.0",
        "id": str(key),
        "source": "/gateway",
        "type": "llm.request",
        "subject": "acme",
        "time": "2026-10-15T11:00:00Z",
        "data": {"tokens": 5, "model": "gpt-4o"},
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def json_body(events: object) -> bytes:
    return json.dumps(events).encode()


def arrow_body(columns: Mapping[str, Any]) -> bytes:
    table = pa.table(dict(columns))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def open_log(directory: Path, **changes: Any) -> UsageLog:
    """A log on `directory` whose clock stands at NOW."""
    return UsageLog.open(directory, **({"properties": PROPERTIES, "now": lambda: NOW} | changes))


def post(log: UsageLog, events: Sequence[object], content_type: str = JSON) -> BatchVerdict:
    return log.submit(json_body(events), content_type).result(30)


def codes(verdict: BatchVerdict) -> list[str]:
    return [event.code for event in verdict.events]


def stored(log: UsageLog, **bounds: Any) -> pl.DataFrame:
    return log.scan(**bounds).frame.sort("sequence").collect()


SMALL_SEGMENTS = IngestLimits(segment_bytes=1)
"""Each group becomes a segment, and a commit of the usage table, of its own."""


def open_files(directory: Path) -> list[str]:
    """The files in `directory`, also unlinked ones, that this process has open."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # another thread has closed it
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [name for name in found if name.startswith(f"{directory}/")]


class RecordingDisk(Disk):
    """The real disk; `calls` lists (step, file name), and `failing` raises `code` from the n-th call of a step on."""

    def __init__(self, code: int = errno.EIO) -> None:
        self.code = code
        self.calls: list[tuple[str, str]] = []
        self.failing: dict[str, int] = {}

    def note(self, step: str, path: Path) -> None:
        self.calls.append((step, path.name))
        if step in self.failing:
            self.failing[step] -= 1
            if self.failing[step] <= 0:
                raise OSError(self.code, f"injected at {step}", str(path))

    def create(self, path: Path) -> AppendFile:
        self.note("create", path)
        file = super().create(path)
        append, sync = file.append, file.sync

        def noted_append(pieces: Sequence[bytes | memoryview]) -> None:
            self.note("append", path)
            append(pieces)

        def noted_sync() -> None:
            self.note("sync", path)
            sync()

        file.append, file.sync = noted_append, noted_sync  # type: ignore[method-assign]  # this is the recording
        return file

    def rename(self, source: Path, target: Path) -> None:
        self.note("rename", target)
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self.note("unlink", path)
        super().unlink(path)

    def sync_file(self, path: Path) -> None:
        self.note("sync", path)
        super().sync_file(path)

    def sync_directory(self, path: Path) -> None:
        self.note("sync_directory", path)
        super().sync_directory(path)
