"""System: whether all is well, what waits where, how large it is, and the two things an operator may ask for: write
what is in the journal to the table, and merge the files of the table."""

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.dashboard.rendering import PageRoute, page, said
from api.dashboard.shown import many
from api.engine import Engine
from api.wiring import TheEngine
from rating.run import code_version

router = APIRouter(route_class=PageRoute)

_DIRECTORIES = (
    ("journal", "Journal", "accepted events that are not in the table yet"),
    ("usage", "Usage table", "events in Delta, by day"),
    ("identities", "Identities", "which events were there before"),
    ("subjects", "Subjects", "their numbers"),
    ("lines", "Charge lines", "of all rating runs"),
    ("credits", "Credit ledger", "what grants paid"),
    ("rejections", "Rejections", "refused events, as they came"),
    ("backfills", "Backfills", "events that are staged"),
)
FILES_MAX = 100_000
"""So many files are measured; beyond that a size is "at least"."""


@dataclass(frozen=True)
class Measured:
    """A directory of the data directory; `is_whole` is false where not all of its files were looked at."""

    name: str
    about: str
    files: int
    size: int
    is_whole: bool


@router.get("/system")
def system(request: Request, engine: TheEngine) -> Response:
    status = engine.status()
    return page(
        request,
        "system.html",
        status=status,
        log=status["log"],
        live=_live(engine, status),
        versions=versions(),
        settings=engine.settings,
    )


@router.get("/system/live")
def live(request: Request, engine: TheEngine) -> Response:
    return page(request, "system_live.html", live=_live(engine, engine.status()))


@router.get("/system/disk")
def disk(request: Request, engine: TheEngine) -> Response:
    data = engine.settings.data
    directories = [measured(data / name, title, about) for name, title, about in _DIRECTORIES]
    return page(request, "system_disk.html", directories=directories, disk=shutil.disk_usage(data))


@router.post("/system/flush")
async def flush(request: Request, engine: TheEngine) -> Response:
    before = engine.log.status()["events_behind_table"]
    await run_in_threadpool(engine.log.flush)
    return said(request, f"{many(before, 'event')} moved from the journal to the table.")


@router.post("/system/maintain")
async def maintain(request: Request, engine: TheEngine) -> Response:
    done = await run_in_threadpool(engine.log.maintain)
    return said(request, _maintained(done))


def _maintained(done: Any) -> str:
    counts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in vars(done).items())
    return f"Merged: {counts}."


def _live(engine: Engine, status: dict[str, Any]) -> dict[str, Any]:
    log = status["log"]
    return {"at": engine.now(), "ready": status["ready"], "log": log, "webhooks": status["webhooks"], "status": status}


def measured(directory: Path, name: str, about: str) -> Measured:
    """How many files it has and how large they are; files that go meanwhile are not counted."""
    files = size = 0
    for path in directory.rglob("*"):
        try:
            found = path.stat()
        except OSError:
            continue
        if not path.is_dir():
            files, size = files + 1, size + found.st_size
        if files >= FILES_MAX:
            return Measured(name, about, files, size, False)
    return Measured(name, about, files, size, True)


def versions() -> list[tuple[str, str]]:
    """What runs here, by name."""
    packages = ("polars", "deltalake", "pyarrow", "fastapi", "sqlalchemy")
    return [
        ("Tallystick", version("tallystick")),
        ("Rating code", code_version()),
        ("Python", platform.python_version()),
        *((name, version(name)) for name in packages),
    ]
