"""Usage files as the commands `ingest` and `rate` take them: options to mapping to Arrow bodies; verdicts added up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.failing import BAD_DATA, USAGE, Failure
from api.cli.printing import grouped, note

if TYPE_CHECKING:
    import pyarrow as pa

    from api.cli.options import Format
    from ingest.files import UsageFile

BODY_BYTES_MAX = 16 << 20
KEPT_PROBLEMS_MAX = 100
SHOWN_PROBLEMS_MAX = 10

Rows = Sequence[int]


@dataclass
class FileSum:
    """What became of the events of a file. `problems` are the first that were not kept, by their row."""

    path: Path
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    seconds: float = 0.0
    problems: list[dict[str, Any]] = field(default_factory=list)

    @property
    def events(self) -> int:
        return self.accepted + self.duplicates + self.conflicts + self.rejected

    @property
    def refused(self) -> int:
        return self.conflicts + self.rejected

    def add(self, rows: Rows, answer: dict[str, Any]) -> None:
        """Count the answer to a batch; `rows` are the rows of its events."""
        for name in ("accepted", "duplicates", "conflicts", "rejected"):
            setattr(self, name, getattr(self, name) + answer[name])
        for event in answer["events"]:
            if event["verdict"] != "duplicate" and len(self.problems) < KEPT_PROBLEMS_MAX:
                named = {name: event[name] for name in ("source", "id", "code", "message")}
                self.problems.append({"row": rows[event["index"]], **named})

    def as_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("events", "accepted", "duplicates", "conflicts", "rejected")}
        return {"file": str(self.path), **counts, "seconds": round(self.seconds, 3), "problems": self.problems}

    def show(self) -> None:
        """The counts, and the first problems."""
        rate = f", {grouped(round(self.events / self.seconds))} events/s" if self.seconds else ""
        counts = ", ".join(
            f"{grouped(getattr(self, n))} {n}" for n in ("accepted", "duplicates", "conflicts", "rejected")
        )
        print(f"{self.path.name}: {grouped(self.events)} events, {counts}{rate}")
        for problem in self.problems[:SHOWN_PROBLEMS_MAX]:
            note(f"  row {problem['row']}: {problem['code']}: {problem['message']}")
        if self.refused > SHOWN_PROBLEMS_MAX:
            note(f"  and {grouped(self.refused - SHOWN_PROBLEMS_MAX)} more")


def summed(sums: Sequence[FileSum]) -> dict[str, int]:
    """The counts of several files."""
    return {
        name: sum(getattr(one, name) for one in sums) for name in ("accepted", "duplicates", "conflicts", "rejected")
    }


def opened(
    file: Path,
    format: "Format | None",
    id: str | None,
    source: str | None,
    type: str | None,
    subject: str | None,
    time: str | None,
    properties: Sequence[str] | None,
    only: bool,
    time_zone: str | None,
    decimals: int | None,
) -> "UsageFile":
    """The file, read as the options say. Raises Failure."""
    from ingest.files import BadMapping, ColumnMapping, FileProblem, open_usage_file, parse_origin, parse_property

    given = {"id": id, "source": source, "type": type, "subject": subject, "time": time}
    _check_time_zone(time_zone)
    try:
        attributes = {name: parse_origin(text) for name, text in given.items() if text is not None}
        named = dict(parse_property(text) for text in properties or ())
        mapping = ColumnMapping(attributes, named, only, time_zone, decimals)
        return open_usage_file(file, format=format.value if format else None, mapping=mapping)
    except BadMapping as error:
        raise Failure(str(error), USAGE) from error
    except FileProblem as error:
        raise Failure(str(error), BAD_DATA) from error


def bodies(file: "UsageFile") -> Iterator[tuple[bytes, Rows, float]]:
    """Arrow bodies of limited size, the rows of their events, and the part of the file that is read with each."""
    from ingest.files import FileProblem

    try:
        for batch in file.batches():
            for events, rows in _parts(batch.events, batch.rows):
                yield _stream(events), rows, batch.part
    except FileProblem as error:
        raise Failure(str(error), BAD_DATA) from error


def _parts(events: "pa.Table", rows: Rows) -> Iterator[tuple["pa.Table", Rows]]:
    """The table in as many parts as its size asks for."""
    number = min(max(-(-events.nbytes // BODY_BYTES_MAX), 1), max(events.num_rows, 1))
    size = max(-(-events.num_rows // number), 1)
    for start in range(0, events.num_rows, size):
        yield events.slice(start, size), rows[start : start + size]


def _stream(events: "pa.Table") -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, events.schema) as writer:
        writer.write_table(events)
    return bytes(sink.getvalue())


def _check_time_zone(time_zone: str | None) -> None:
    if time_zone is not None:
        from store.customers import is_time_zone

        if not is_time_zone(time_zone):
            raise Failure(f"--time-zone {time_zone!r} is no IANA time zone. Use one like UTC or Europe/Madrid.", USAGE)
