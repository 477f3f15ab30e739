"""`tallystick doctor`: is everything as it should be, and what to do where it is not."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.failing import FAILED, Failure, failures_of_the_directory
from api.cli.options import Data, Json, Url
from api.cli.printing import document, grouped, progress
from api.cli.service import Service, reach

if TYPE_CHECKING:
    from api.cli.checks import Check
    from api.settings import Settings
    from ingest.losses import Loss
    from ingest.repair import Repair

LOOKS, LOOK_SECONDS = 20, 0.05

Mend = Annotated[
    bool, typer.Option("--repair", help="Save what is whole in a damaged journal, and list what is lost; no server.")
]


def doctor(data: Data = None, url: Url = None, repair: Mend = False, json: Json = False) -> None:
    """Check a data directory: settings, disk, clock, journal, index of duplicates, usage table, database, webhooks, and
    that live quota counters equal a query.

    Each line is ok or a problem with its cure; exit code 1 when there is a problem.
    """
    if repair:
        _repair(data, as_json=json)
        return
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
    from api.cli.checks import (
        Check,
        check_backfills,
        check_counters,
        check_database,
        check_disk,
        check_lines,
        check_log,
        check_table,
    )
    from api.cli.service_checks import check_clock, check_identities, check_settings, check_webhooks

    settings = _settings(data)
    yield check_settings()
    if url is None and settings.data.is_dir():
        yield check_disk(settings.data)
        yield check_clock(settings.data)
        closed = _checks_of_closed(settings.data)
        yield from closed
        if not all(check.ok for check in closed):
            yield Check("service", False, "not opened, so that nothing is changed", "Mend the files first.")
            return
    try:
        with reach(data, url) as service:
            status = _status(service)
            if "webhooks" not in status:  # the database is away
                yield check_log(status["log"])
                raise Failure("the records cannot be read: the database does not answer")
            here = Path(status["data"])
            yield Check("service", True, f"{_where(here, url)}, catalog {status['catalog'] or 'none yet'}")
            yield check_log(status["log"])
            yield check_identities(_quiet_log(service, status["log"]))
            yield check_webhooks(status["webhooks"])
            if here.is_dir():
                yield check_table(here)
                yield from check_backfills(here, is_closed=False)
                yield check_database(settings if url is None else settings.model_copy(update={"data": here}))
                yield check_lines(service, here)
            yield check_counters(service)
    except Failure as failure:
        yield Check("service", False, failure.message, "Mend this first; the other checks need it.")


def _checks_of_closed(data: Path) -> "list[Check]":
    """The files of a directory that nobody serves, looked at before it is opened: opening cuts a torn tail."""
    from api.cli.checks import check_backfills, check_journal, check_line_files, check_table
    from ingest.errors import DataDirectoryLocked
    from ingest.lock import lock_directory
    from rating.disk import Disk

    with suppress(DataDirectoryLocked), lock_directory(Disk(), data, {}):
        table = check_table(data)
        broken = [check for check in check_backfills(data, is_closed=True) if not check.ok]
        broken += [check for check in (check_line_files(data),) if not check.ok]
        return [*([check_journal(data)] if table.ok else [table]), *broken]
    return []


def _repair(data: Path | None, *, as_json: bool) -> None:
    """Repair the journal of a directory that nobody serves, and say what became of it."""
    from dataclasses import asdict

    from ingest.lock import lock_directory
    from ingest.repair import repair_log
    from rating.disk import Disk

    directory = _settings(data).data
    if not directory.is_dir():
        raise Failure(f"there is no data directory {directory}")
    with failures_of_the_directory(), lock_directory(Disk(), directory, {}):
        done = repair_log(Disk(), directory, now=datetime.now(UTC))
    if as_json:
        document(asdict(done))
    else:
        typer.echo("\n".join(_told(done)))


def _told(done: "Repair") -> Iterator[str]:
    yield f"saved {grouped(done.saved_events)} events in {grouped(done.saved_records)} records of the journal"
    if not done.copies and not done.losses:
        yield "nothing was damaged, nothing is lost"
    for loss in done.losses:
        yield f"LOST {_range(loss)}"
    for damage in done.damaged:
        yield f"damaged: {grouped(damage.bytes)} bytes of {damage.file} from offset {damage.offset} on"
    for sequence in done.broken_links:
        yield f"mind: the record of event {sequence} does not name the one before it; was it of this journal?"
    for copy in done.copies:
        yield f"the file as it was: {copy}"


def _range(loss: "Loss") -> str:
    if loss.last_sequence is None:
        return f"an unknown number after event {loss.first_sequence - 1}: ask their senders for them again"
    return f"events {grouped(loss.first_sequence)} to {grouped(loss.last_sequence)}: ask their senders for them again"


def _settings(data: Path | None) -> "Settings":
    with failures_of_the_directory():
        from api.settings import Settings

        return Settings(data=data) if data is not None else Settings()


def _status(service: Service) -> dict[str, Any]:
    answer: dict[str, Any] = service.answer("GET", "/readyz", also=(503,)).json()["detail"]
    return answer


def _quiet_log(service: Service, log: dict[str, Any]) -> dict[str, Any]:
    """The log at a moment between two groups, if there is one: an event is in the journal a little before its identity
    is in the index."""
    for _ in range(LOOKS):
        if log["known_identities"] == log["last_sequence"]:
            break
        time.sleep(LOOK_SECONDS)
        log = _status(service)["log"]
    return log


def _where(data: Path, url: str | None) -> str:
    from ingest.lock import LOCK_FILE, read_holder

    holder = read_holder(data / LOCK_FILE)
    at = url or holder.get("url")
    return f"{data} is served at {at} by process {holder.get('pid', 'unknown')}" if at else f"{data} is opened here"
