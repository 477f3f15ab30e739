"""Snapshots of the data directory: taken at one moment, copied by whoever can read them, and released."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from api.documentation import problems
from api.frames import json_response
from api.models import Output
from api.wiring import TheEngine

router = APIRouter(prefix="/v1/snapshots", tags=["service"])


class SnapshotFileOut(Output):
    """One file."""

    path: str = Field(description="where it belongs in a data directory")
    name: str = Field(description="its name in the directory of the snapshot")
    size: int = Field(description="how many bytes of it count: a file may grow at its end")


class SnapshotOut(Output):
    """The data directory as it was at one moment."""

    id: str
    directory: str = Field(description="where its files are, on the machine of the server")
    taken_at: datetime
    last_sequence: int = Field(description="all events up to this one are in it, and no other")
    has_database: bool = Field(description="false where the records are in PostgreSQL: they are not part of it")
    files: list[SnapshotFileOut]


@router.post("", status_code=201, response_model=SnapshotOut, responses=problems(409, 507))
def take_snapshot(engine: TheEngine) -> Response:
    """Hold the data directory as it is now, for a backup. Ingest goes on; nothing is copied but a SQLite database."""
    snapshot = engine.snapshots.take()
    shown = {**vars(snapshot), "directory": str(snapshot.directory.absolute())}
    return json_response({**shown, "files": [vars(file) for file in snapshot.files]}, 201)


@router.delete("/{id}", status_code=204, responses=problems(404))
def release_snapshot(engine: TheEngine, id: str) -> None:
    """Let a snapshot go that was copied. One that nobody releases goes after a day, and with the next start."""
    engine.snapshots.release(id)
