"""`tallystick events`: events that were accepted are looked at and corrected, and their corrections looked at."""

import hashlib
import json as json_module
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.failing import BAD_DATA, Failure
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, note, table
from api.cli.service import Service, reach
from api.cli.writing import STDOUT

app = typer.Typer(no_args_is_help=True, help="Events that were accepted: list, correct, void, list corrections.")

PATH = "/v1/events/corrections"
AT_ONCE = 1000
DESK = "tallystick"
"""The source of voids that do not say theirs."""

_COUNTS = ("accepted", "duplicates", "conflicts", "rejected")


@app.command("list")
def list_(
    source: Annotated[str | None, typer.Option(help="Only those of this source.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Only those with this id.")] = None,
    type: Annotated[str | None, typer.Option("--type", help="Only those of this type.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only those of this subject.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Only from this time on, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Only before this time.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List those that count, the newest first."""
    wanted = {"source": source, "id": id, "type": type, "subject": subject, "from": start, "to": end, "limit": limit}
    with reach(data, url) as service:
        content = service.answer("GET", "/v1/events", params={k: v for k, v in wanted.items() if v is not None}).text
    if json:
        print(content)
        return
    found = json_module.loads(content, parse_float=str, parse_int=str)["items"]
    rows = [
        (e["sequence"], e["time"], e["source"], e["id"], e["type"], e["subject"], _members(e["data"])) for e in found
    ]
    columns = ("sequence", "time", "source", "id", "type", "subject", "data")
    table(f"{grouped(len(rows))} events", columns, rows, right=("sequence",))


def _members(data: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in data.items())


@app.command()
def correct(
    file: Annotated[
        str, typer.Argument(metavar=f"FILE|{STDOUT}", help="Corrections as JSON: one, an array, or one a line.")
    ],
    atomic: Annotated[bool, typer.Option("--atomic", help="All of them or none.")] = False,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Void or replace events, as the file says. Run it again after any doubt: each correction counts once.

    Exit code 65 when one was rejected or conflicts; the others are kept.
    """
    corrections = _items(file)
    size = len(corrections) if atomic else AT_ONCE
    total: dict[str, Any] = {**dict.fromkeys(_COUNTS, 0), "events": []}
    with reach(data, url) as service:
        for start in range(0, len(corrections), max(size, 1)):
            _add(total, _post(service, corrections[start : start + size], atomic=atomic), start)
    _tell(total, as_json=json)


@app.command()
def void(
    source: Annotated[str, typer.Argument(help="The source of the event.")],
    id: Annotated[str, typer.Argument(metavar="ID", help="Its id.")],
    reason: Annotated[str | None, typer.Option(help="Why, for the audit.")] = None,
    as_source: Annotated[str, typer.Option(help="The source of the void itself.")] = DESK,
    as_id: Annotated[
        str | None, typer.Option(help="The id of the void itself.", show_default="made of the event's identity")
    ] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """Put one event out of force. Run it again after any doubt: it is the same void.

    To undo it, send the event again under a new id.
    """
    own_id = as_id or f"void-{hashlib.sha256(json_module.dumps([source, id]).encode()).hexdigest()[:32]}"
    correction = {"action": "void", "corrects": {"source": source, "id": id}, "source": as_source, "id": own_id}
    if reason is not None:
        correction["reason"] = reason
    with reach(data, url) as service:
        total = _post(service, [json_module.dumps(correction).encode()], atomic=False)
    _tell(total, as_json=json)


@app.command()
def corrections(
    source: Annotated[str | None, typer.Option(help="Only of events of this source.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Only of events with this id.")] = None,
    backfill: Annotated[str | None, typer.Option(help="Only of events of this backfill.")] = None,
    data: Data = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List what corrected what, when and why, oldest first."""
    with reach(data, url) as service:
        found = list(service.pages(PATH, source=source, id=id, backfill=backfill))
    if json:
        document({"items": found})
        return
    rows = [
        (c["received_at"], _action(c), *c["corrects"].values(), c["source"], c["id"], c["subject"], c["reason"])
        for c in found
    ]
    columns = ("received", "action", "event source", "event id", "by source", "by id", "subject", "reason")
    table(f"{grouped(len(rows))} corrections", columns, rows)


def _action(correction: dict[str, Any]) -> str:
    action: str = correction["action"]
    return f"{action} (ended)" if correction["has_ended"] else action


def _items(file: str) -> list[bytes]:
    """The corrections of a file, each as it is written."""
    import msgspec

    content = _content(file).strip()
    lines = [line for line in content.splitlines() if line.strip()]
    try:
        if content[:1] == b"[":
            return [bytes(item) for item in msgspec.json.decode(content, type=list[msgspec.Raw])]
        if len(lines) > 1 and _is_json(lines[0]):
            for line in lines:
                msgspec.json.decode(line)
            return lines
        msgspec.json.decode(content)
        return [content]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failure(f"{file} cannot be read as JSON: {error}.", BAD_DATA) from error


def _content(file: str) -> bytes:
    if file == STDOUT:
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}.", BAD_DATA) from error


def _is_json(line: bytes) -> bool:
    try:
        json_module.loads(line)
    except ValueError:
        return False
    return True


def _post(service: Service, corrections: list[bytes], *, atomic: bool) -> dict[str, Any]:
    response = service.answer(
        "POST",
        PATH,
        params={"atomic": "true"} if atomic else {},
        content=b"[" + b",".join(corrections) + b"]",
        headers={"Content-Type": "application/json"},
        also=(422,),
    )
    answer: dict[str, Any] = response.json()
    if "events" not in answer:
        raise Failure(str(answer.get("detail", "the server refused the corrections")), BAD_DATA)
    return answer


def _add(total: dict[str, Any], answer: dict[str, Any], start: int) -> None:
    for name in _COUNTS:
        total[name] += answer[name]
    total["events"] += [{**event, "index": start + event["index"]} for event in answer["events"]]


def _tell(total: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        document(total)
    else:
        print(", ".join(f"{grouped(total[name])} {name}" for name in _COUNTS))
        for event in total["events"]:
            if event["verdict"] != "duplicate":
                note(f"  {event['index'] + 1}: {event['code']}: {event['message']}")
    if total["conflicts"] or total["rejected"]:
        raise typer.Exit(BAD_DATA)
