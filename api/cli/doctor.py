"""`tallystick doctor`: is everything as it should be, and what to do where it is not."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from api.cli.failing import FAILED, Failure, failures_of_the_directory
from api.cli.options import Data, Json, Url
from api.cli.printing import document, progress
from api.cli.service import Service, reach

if TYPE_CHECKING:
    from api.cli.checks import Check


def doctor(data: Data = None, url: Url = None, json: Json = False) -> None:
    """Check a data directory: disk, lock, journal, usage table, database, and that live quota counters equal a query.

    Each line is ok or a problem with its cure; exit code 1 when there is a problem.
    """
    with progress("checking", quiet=json):
        checks = list(_checks(data, url))
    if json:
        document({"ok": all(check.ok for check in checks), "checks": [vars(check) for check in checks]})
    else:
        for check in checks:
            typer.echo(f"{'ok' if check.ok else 'PROBLEM':8}{check.name}: {check.found}")
            if check.cure:
                typer.echo(f"{'':8}cure: {check.cure}")
    if not all(check.ok for check in checks):
        raise typer.Exit(FAILED)


def _checks(data: Path | None, url: str | None) -> Iterator["Check"]:
    from api.cli.checks import Check, check_counters, check_database, check_disk, check_log, check_table

    with failures_of_the_directory():
        from api.settings import Settings

        settings = Settings(data=data) if data is not None else Settings()
    if url is None and settings.data.is_dir():
        yield check_disk(settings.data)
    try:
        with reach(data, url) as service:
            status = _status(service)
            here = Path(status["data"])
            yield Check("service", True, f"{_where(here, url)}, catalog {status['catalog'] or 'none yet'}")
            yield check_log(status["log"])
            if here.is_dir():
                yield check_table(here)
                yield check_database(settings if url is None else settings.model_copy(update={"data": here}))
            yield check_counters(service)
    except Failure as failure:
        yield Check("service", False, failure.message, "Mend this first; the other checks need it.")


def _status(service: Service) -> dict[str, Any]:
    answer: dict[str, Any] = service.answer("GET", "/readyz", also=(503,)).json()["detail"]
    return answer


def _where(data: Path, url: str | None) -> str:
    from ingest.lock import LOCK_FILE, read_holder

    holder = read_holder(data / LOCK_FILE)
    at = url or holder.get("url")
    return f"{data} is served at {at} by process {holder.get('pid', 'unknown')}" if at else f"{data} is opened here"
