"""`tallystick subjects`: what is known of one subject, and its erasure."""

import json as json_module
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.failing import FAILED, Failure, failures_of_the_directory
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, note, progress
from api.cli.service import reach, segment
from api.cli.writing import STDOUT, write_bytes

if TYPE_CHECKING:
    from api.operating.erasure import Proof

app = typer.Typer(help="What is known of one subject of usage, and its erasure.", no_args_is_help=True)

Subject = Annotated[str, typer.Argument(help="As it is in usage events.")]
Out = Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Where to; - is stdout.")]
ProofFile = Annotated[Path | None, typer.Option("--proof", metavar="FILE", help="Write the proof here too.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: it cannot be undone.")]


@app.command()
def export(subject: Subject, out: Out = STDOUT, data: Data = None, url: Url = None) -> None:
    """Everything that is known of a subject, as one JSON document."""
    with reach(data, url) as service, progress("reading", quiet=False):
        answer = service.answer("GET", f"/v1/subjects/{segment(subject)}/records")
    write_bytes(json_module.dumps(answer.json(), ensure_ascii=False, indent=1).encode() + b"\n", out)


@app.command()
def erase(subject: Subject, data: Data = None, proof: ProofFile = None, yes: Yes = False, json: Json = False) -> None:
    """Put a pseudonym in the place of a subject, and remove what was not declared of its events. No server may run.

    What is counted stays: totals and charge lines are what they were, which is proved. It cannot be undone.
    """
    if not (yes or typer.confirm(f"Erase {subject}? It cannot be undone.", err=True)):
        raise Failure("nothing was erased.")
    with failures_of_the_directory(), progress("erasing", quiet=json):
        from api.operating.erasure import erase as erase_subject
        from api.settings import Settings
        from rating.disk import Disk

        settings = Settings(data=data) if data is not None else Settings()
        if not settings.data.is_dir():
            raise Failure(f"there is no data directory {settings.data}.", FAILED)
        done = erase_subject(settings, subject, now=datetime.now(UTC), disk=Disk())
    if proof is not None:
        write_bytes(json_module.dumps(asdict(done), indent=1).encode() + b"\n", str(proof))
    if json:
        document(asdict(done))
    else:
        _tell(done)


def _tell(done: "Proof") -> None:
    typer.echo(
        f"{done.pseudonym} stands for it: in {grouped(done.events.events)} events, of which "
        f"{grouped(done.events.with_data)} lost what was not declared, and in {sum(done.records.values())} rows of the "
        f"database; {done.rejections} refused events are emptied"
    )
    typer.echo(f"totals are what they were, and so are the charge lines of {done.runs_as_they_were} runs")
    for kept in done.remains:
        typer.echo(f"remains: {kept}")
    for place in done.name_found_in:
        note(f"mind: the name is still in {place}")
