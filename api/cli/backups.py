"""`tallystick backup` and `tallystick restore`: a folder of backups, taken while the server runs or not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.failing import FAILED, Failure, failures_of_the_directory
from api.cli.options import Data, Json, Url
from api.cli.printing import Bar, document, grouped, note, progress, table
from api.cli.service import Service, reach

if TYPE_CHECKING:
    from api.operating.backup import Backup, BackupFolder, Copied
    from api.settings import Settings

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of backups.")]
Keep = Annotated[int | None, typer.Option("--keep", min=1, help="Remove all but so many of the newest backups.")]
WithoutDatabase = Annotated[
    bool,
    typer.Option("--without-database", help="The records are in PostgreSQL, and were dumped with pg_dump before this."),
]
Name = Annotated[str | None, typer.Option("--backup", metavar="NAME", help="Which one; the newest unless given.")]
Check = Annotated[bool, typer.Option("--check", help="Read every file of the backup, and restore nothing.")]
List = Annotated[bool, typer.Option("--list", help="Which backups are there; nothing is restored.")]


def backup(
    folder: Folder,
    data: Data = None,
    url: Url = None,
    keep: Keep = None,
    without_database: WithoutDatabase = False,
    json: Json = False,
) -> None:
    """Copy the data directory as it is at one moment into a folder of backups, through the server where one runs.

    The folder should be on another disk. What an earlier backup there has is not copied again.
    """
    with _failures(), reach(data, url) as service, progress("backing up", quiet=json) as bar:
        _refuse_postgresql(service, without_database)
        copied, removed = _backup(service, folder, keep, bar)
    if json:
        new = {"copied_files": copied.copied_files, "copied_bytes": copied.copied_bytes, "removed": removed}
        document({**_row(copied.backup), **new})
        return
    made = copied.backup
    typer.echo(
        f"{made.name}: all events up to sequence {grouped(made.last_sequence)}, {grouped(len(made.files))} files, "
        f"{_size(made.bytes)}; copied {grouped(copied.copied_files)} files, {_size(copied.copied_bytes)}"
    )
    for name in removed:
        typer.echo(f"removed {name}")


def restore(
    folder: Folder,
    data: Data = None,
    name: Name = None,
    check: Check = False,
    list_: List = False,
    json: Json = False,
) -> None:
    """Make a data directory of a backup; every file is checked. The directory must be empty, or not there."""
    from api.operating.backup import BackupFolder
    from rating.disk import Disk

    kept = BackupFolder(folder, disk=Disk())
    if list_:
        _list(kept, as_json=json)
        return
    with _failures(), progress("checking" if check else "restoring", quiet=json) as bar:
        found = kept.read(name)
        target = None if check else _settings(data).data
        _restore(kept, found, target, _advancing(bar, found.bytes))
    if json:
        document({**_row(found), "data": None if target is None else str(target.absolute())})
        return
    where = "is whole" if target is None else f"is restored to {target}"
    typer.echo(f"{found.name} {where}: all events up to sequence {grouped(found.last_sequence)}")
    if target is not None and not found.has_database:
        note("its records are in PostgreSQL: restore the dump that was made before it (docs/operations.md)")


def _backup(service: Service, folder: Path, keep: int | None, bar: Bar) -> "tuple[Copied, list[str]]":
    from importlib.metadata import version

    from api.operating.backup import BackupFolder, SourceFile
    from rating.disk import Disk

    kept = BackupFolder(folder, disk=Disk())
    with kept.opened():
        taken = service.answer("POST", "/v1/snapshots").json()
        try:
            directory = _readable(Path(taken["directory"]))
            sources = [SourceFile(file["path"], directory / file["name"], file["size"]) for file in taken["files"]]
            copied = kept.add(
                sources,
                taken_at=datetime.fromisoformat(taken["taken_at"]),
                last_sequence=taken["last_sequence"],
                has_database=taken["has_database"],
                release=version("tallystick"),
                advance=_advancing(bar, sum(source.size for source in sources)),
            )
        finally:
            service.answer("DELETE", f"/v1/snapshots/{taken['id']}", also=(404,))
        return copied, kept.keep_newest(keep) if keep is not None else []


def _restore(kept: "BackupFolder", found: "Backup", target: Path | None, advance: Callable[[int], None]) -> None:
    from api.operating.restore import check, restore
    from rating.disk import Disk

    if target is None:
        check(kept, found, advance)
    else:
        restore(kept, found, target, Disk(), advance)


def _refuse_postgresql(service: Service, without_database: bool) -> None:
    """A backup that lacks the records must be meant."""
    has_database = service.get("/readyz")["detail"]["database"] == "sqlite"
    if has_database == without_database:
        raise Failure(
            "the records are in SQLite, which is backed up with the rest: leave out --without-database."
            if has_database
            else "the records are in PostgreSQL. Dump them first (pg_dump --format=custom), then say "
            "--without-database: what is in the dump then has its files in the backup (docs/operations.md)."
        )


@contextmanager
def _failures() -> Iterator[None]:
    from api.operating.backup import BackupError

    try:
        yield
    except BackupError as error:
        raise Failure(f"{error}.", FAILED) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{where}{error.strerror or error}.", FAILED) from error


def _readable(directory: Path) -> Path:
    if not directory.is_dir():
        raise Failure(f"the snapshot {directory} is not to be seen here: run this on the machine of the server.")
    return directory


def _list(kept: "BackupFolder", *, as_json: bool) -> None:
    with _failures():
        found = [kept.read(name) for name in kept.names()]
    if as_json:
        document({"items": [_row(backup) for backup in found]})
    else:
        rows = [(b.name, b.taken_at, grouped(b.last_sequence), len(b.files), _size(b.bytes)) for b in found]
        columns = ("backup", "taken at", "events up to", "files", "size")
        table("backups", columns, rows, right=columns[2:])


def _row(backup: "Backup") -> dict[str, Any]:
    return {
        "backup": backup.name,
        "taken_at": backup.taken_at,
        "last_sequence": backup.last_sequence,
        "has_database": backup.has_database,
        "release": backup.release,
        "files": len(backup.files),
        "bytes": backup.bytes,
    }


def _advancing(bar: Bar, total: int) -> Callable[[int], None]:
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        bar.advance(done / max(total, 1), f"{_size(done)} of {_size(total)}")

    return advance


def _size(count: int) -> str:
    return f"{count / (1 << 20):,.1f} MiB"


def _settings(data: Path | None) -> "Settings":
    with failures_of_the_directory():
        from api.settings import Settings

        return Settings(data=data) if data is not None else Settings()
