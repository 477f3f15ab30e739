"""The checks of `tallystick doctor`, one function each. None of them changes what it looks at."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.cli.printing import grouped
from api.cli.service import Service
from api.settings import Settings

FREE_BYTES_MIN = 1 << 30
FREE_FILES_MIN = 10_000
SYNC_SECONDS_MAX = 0.2
SEALED_SEGMENTS_MAX = 4
RUNS_MAX = 1_000


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is as it should be, what was found, and what to do where it is not."""

    name: str
    ok: bool
    found: str
    cure: str = ""


def check_disk(data: Path) -> Check:
    """The directory can be written and synced, fast enough, and there is room."""
    from rating.disk import Disk

    probe = data / f"doctor-{os.getpid()}.probe"
    started = time.monotonic()
    try:
        Disk().publish(probe, [b"probe"])
        Disk().unlink(probe)
    except OSError as error:
        return Check("disk", False, f"{data} cannot be written: {error.strerror}", "Mend its permissions or the disk.")
    seconds, free = (time.monotonic() - started) / 3, shutil.disk_usage(data).free
    files = os.statvfs(data)
    found = f"a sync takes {seconds * 1000:.1f} ms, {free / 2**30:.1f} GiB are free"
    if files.f_files and files.f_favail < FREE_FILES_MIN:  # some file systems have no such limit
        found += f", for {grouped(files.f_favail)} files"
        return Check("disk", False, found, "Remove files: soon no more can be made.")
    if free < FREE_BYTES_MIN:
        return Check("disk", False, found, "Make room: without it events are refused with 507.")
    slow = "" if seconds < SYNC_SECONDS_MAX else "Use a faster disk: every acknowledgement waits for a sync."
    return Check("disk", not slow, found, slow)


def check_log(log: dict[str, Any]) -> Check:
    """The journal is taken, and the usage table keeps up with it."""
    found = (
        f"{grouped(log['last_sequence'])} events, {grouped(log['events_behind_table'])} of them in the journal only, "
        f"{log['sealed_segments']} sealed segments, usage table version {log['table_version']}"
    )
    if log["failure"] is not None:
        return Check(
            "journal", False, f"{found}; it failed: {log['failure']}", "Mend the disk, then start the server again."
        )
    behind = log["sealed_segments"] > SEALED_SEGMENTS_MAX
    cure = "The usage table falls behind the journal: post more slowly, or use a faster disk." if behind else ""
    return Check("journal", not behind, found, cure)


def check_journal(data: Path) -> Check:
    """Every record of the journal is whole, follows the one before, and the first follows the usage table."""
    from ingest.verification import verify_journal

    report = verify_journal(data)
    found = f"{grouped(report.events)} events in {report.segments} segments, {grouped(report.bytes)} bytes"
    if report.problems:
        return Check(
            "journal files",
            False,
            f"{found}; {len(report.problems)} problems, the first: {report.problems[0]}",
            f"Put back a whole copy, or save what is whole: tallystick doctor --repair --data {data}",
        )
    torn = f"; a torn tail that was never acknowledged is cut at the start ({report.torn_tail})"
    return Check("journal files", True, found + (torn if report.torn_tail else ""))


def check_table(data: Path) -> Check:
    """The usage table holds every event once, and its files are there as they were written."""
    from ingest.verification import verify_table

    report = verify_table(data)
    if report is None:
        return Check("usage table", True, "there is none yet")
    found = f"version {report.version}, {grouped(report.events)} events in {report.files} files"
    if report.problems:
        return Check(
            "usage table",
            False,
            f"{found}; {len(report.problems)} problems, the first: {report.problems[0]}",
            "Restore the directory from a backup; the journal alone does not have these events any more.",
        )
    return Check("usage table", True, found)


def check_line_files(data: Path) -> Check:
    """The files of the charge lines and of the ledgers of credits are there as they were written."""
    from rating.line_table import damaged_lines

    return _check_of_lines([*damaged_lines(data / "lines"), *damaged_lines(data / "credits")])


def check_lines(service: Service, data: Path) -> Check:
    """The lines of the newest runs are whole, and every run that has lines is recorded."""
    from rating.line_table import stored_runs

    runs = list(service.pages("/v1/rating-runs"))
    unknown = sorted(stored_runs(data / "lines") - {run["id"] for run in runs})
    problems = [f"{run} has lines, and the database does not know it: is it an old copy?" for run in unknown]
    for run in runs[:RUNS_MAX]:
        if run["status"] == "done":
            lines = service.answer("GET", f"/v1/rating-runs/{run['id']}/lines", params={"limit": 1}, also=(500,))
            problems += [lines.json()["detail"]] if lines.status_code == 500 else []
    return _check_of_lines(problems)


def _check_of_lines(problems: list[str]) -> Check:
    if problems:
        found = f"{len(problems)} problems, the first: {problems[0]}"
        return Check("charge lines", False, found, "Restore the file from a backup, or rate its period again.")
    return Check("charge lines", True, "as they were stored")


def check_backfills(data: Path, *, is_closed: bool) -> Iterator[Check]:
    """The staged events of every backfill are there as they were written; their journals only where nobody writes."""
    from ingest.backfill import DIRECTORY
    from ingest.verification import verify_journal, verify_table

    for directory in sorted((data / DIRECTORY).glob("*")):
        table = verify_table(directory)
        problems = list(table.problems) if table is not None else []
        if is_closed and not problems:
            problems += verify_journal(directory).problems
        name, events = f"backfill {directory.name}", grouped(table.events if table is not None else 0)
        cure = (
            f"Put back a whole copy of {directory}. While it is open its journal can be mended with tallystick doctor "
            f"--repair --data {directory}, or it can be dropped."
        )
        found = f"{events} events in its table"
        if problems:
            yield Check(name, False, f"{found}; {len(problems)} problems, the first: {problems[0]}", cure)
        else:
            yield Check(name, True, found)


def check_database(settings: Settings) -> Check:
    """The database answers, finds itself whole, and has the schema of this program."""
    from sqlalchemy.exc import SQLAlchemyError

    from store.database import check, connect, disconnect
    from store.errors import DatabaseDamaged, StoreError
    from store.migrate import newest_revision, revision_of

    try:
        engine = connect(settings.database)
        try:
            about, schema = check(engine), revision_of(engine)
        finally:
            disconnect(engine)
    except DatabaseDamaged as error:
        return Check("database", False, str(error), "Restore it from a backup.")
    except (StoreError, SQLAlchemyError) as error:
        return Check("database", False, str(error).splitlines()[0], "Mend this first; records cannot be used.")
    if schema != newest_revision():
        cure = "Start the service again with this program, which brings the schema up to date."
        return Check("database", False, f"{about}, schema {schema}, this program has {newest_revision()}", cure)
    return Check("database", True, f"{about}, schema {schema}, the newest")


def check_counters(service: Service) -> Check:
    """Every live quota counter equals what the meters make of the log."""
    compared = service.get("/v1/quota/comparison", limit=1)
    found = f"{grouped(compared['compared'])} live counters compared with a query over the log"
    if compared["different"]:
        [first] = compared["items"]
        where = "{customer} of {feature} from {window_start}: counted {counted}, metered {metered}".format(**first)
        cure = "Start the server again: it counts anew."
        return Check("quota", False, f"{found}; {grouped(compared['different'])} differ, the first: {where}", cure)
    if compared["uncounted"]:
        feature, why = next(iter(compared["uncounted"].items()))
        cure = "Correct the event that has no quantity, or change the meter."
        return Check("quota", False, f"{found}; the usage of {feature} cannot be counted: {why}", cure)
    return Check("quota", True, found)
