"""A backup is the data directory of one moment: restored, it answers as it did then, and says so when it cannot."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.operating.backup import BackupError, BackupFolder, SourceFile
from api.operating.restore import check, restore
from api.settings import Settings
from ingest.errors import WorkUnfinished
from rating.disk import Disk
from tests.api.conftest import NOW, event
from tests.api.test_backfills import load, opened, step
from tests.api.test_events import post
from tests.api.test_rating import lines_of, rate
from tests.ingest.events import RecordingDisk


def backed_up(engine: Engine, folder: Path, disk: Disk | None = None) -> str:
    """Take a backup as the command does; its name."""
    kept = BackupFolder(folder, disk=disk or Disk())
    with kept.opened():
        snapshot = engine.snapshots.take()
        try:
            sources = [SourceFile(file.path, snapshot.directory / file.name, file.size) for file in snapshot.files]
            about = {"taken_at": snapshot.taken_at, "last_sequence": snapshot.last_sequence}
            return kept.add(sources, **about, has_database=True, release="test").backup.name  # type: ignore[arg-type]
        finally:
            engine.snapshots.release(snapshot.id)


def restored(folder: Path, data: Path, name: str | None = None) -> Engine:
    kept = BackupFolder(folder, disk=Disk())
    restore(kept, kept.read(name), data, Disk())
    return Engine.open(Settings(data=data), now=lambda: NOW)


def events_of(engine: Engine) -> dict[int, str]:
    """The ids of all events that count, by sequence."""
    frame = engine.log.scan().frame.select("sequence", "id").collect()
    return dict(frame.sort("sequence").iter_rows())


def test_a_restored_directory_answers_as_it_did_then(engine: Engine, sold: httpx2.Client, tmp_path: Path) -> None:
    """Events in the table and in the journal, a run, a committed and an open backfill, a rejection, a signal."""
    post(sold, *(event(str(number)) for number in range(30)))
    engine.log.flush()
    run = rate(sold)
    october = {"from": "2026-10-11T00:00:00Z", "to": "2026-10-12T00:00:00Z"}
    first = opened(sold)
    load(sold, first, event("staged", time="2026-10-10T12:00:00Z"))
    step(sold, first, "commit")
    second = sold.post("/v1/backfills", json=october).json()["id"]
    load(sold, second, event("open", time="2026-10-11T12:00:00Z"))
    post(sold, event("late"), event("refused", time="yesterday"))
    paths = ("/v1/meters/tokens/usage", "/v1/quota/acme/tokens", "/v1/signals", "/v1/customers", "/v1/backfills")
    before = {path: sold.get(path).json() for path in paths}
    lines, refused = lines_of(sold, run), engine.log.rejections.status()["kept"]
    backed_up(engine, tmp_path / "backups")

    post(sold, *(event(f"behind {number}") for number in range(30)))
    other = restored(tmp_path / "backups", tmp_path / "restored")
    try:
        with TestClient(create_app(other.settings, engine=other)) as client:
            assert {path: client.get(path).json() for path in paths} == before
            assert lines_of(client, run) == lines
            step(client, second, "commit")
        assert other.log.rejections.status()["kept"] == refused == 1
    finally:
        other.close()


def test_what_was_copied_is_not_copied_again(engine: Engine, sold: httpx2.Client, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    post(sold, event("1"))
    engine.log.flush()
    first = backed_up(engine, folder)
    files = set((folder / "files").iterdir())
    post(sold, event("2"))
    second = backed_up(engine, folder)
    kept = BackupFolder(folder, disk=Disk())
    table = {file.path: file.digest for file in kept.read(first).files if file.path.startswith("usage/")}
    assert table.items() <= {file.path: file.digest for file in kept.read(second).files}.items()
    assert files < set((folder / "files").iterdir())
    with kept.opened():
        assert kept.keep_newest(1) == [first]
    assert {path.name for path in (folder / "files").iterdir()} == {file.digest for file in kept.read().files}
    other = restored(folder, tmp_path / "restored")
    assert events_of(other) == {1: "1", 2: "2"}
    other.close()


def test_upkeep_takes_nothing_from_a_snapshot(engine: Engine, sold: httpx2.Client) -> None:
    for number in range(10):
        post(sold, event(str(number)))
        engine.log.flush()
    snapshot = engine.snapshots.take()
    engine.log.maintain()
    table = [file for file in snapshot.files if file.path.startswith("usage/day")]
    assert table  # ten files, but for those that were merged by then
    assert all((snapshot.directory / file.name).stat().st_size == file.size for file in snapshot.files)
    engine.snapshots.release(snapshot.id)
    assert not snapshot.directory.exists()


def test_a_snapshot_that_nobody_released_goes(engine: Engine, sold: httpx2.Client) -> None:
    taken = [sold.post("/v1/snapshots").json() for _ in range(4)]
    refused = sold.post("/v1/snapshots")
    assert refused.status_code == 409
    assert taken[0]["id"] in refused.json()["detail"]
    assert sold.delete(f"/v1/snapshots/{taken[0]['id']}").status_code == 204
    assert sold.delete(f"/v1/snapshots/{taken[0]['id']}").status_code == 404
    settings = engine.settings
    engine.close()
    Engine.open(settings, now=lambda: NOW).close()
    assert not (settings.data / "snapshots").exists()


@pytest.fixture
def folder(engine: Engine, sold: httpx2.Client, tmp_path: Path) -> Path:
    """A folder with one backup of three events."""
    post(sold, event("1"), event("2"))
    engine.log.flush()
    post(sold, event("3"))
    backed_up(engine, tmp_path / "backups")
    return tmp_path / "backups"


def test_every_damaged_file_is_named_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    kept = BackupFolder(folder, disk=Disk())
    backup = kept.read()
    check(kept, backup)
    for file in backup.files:
        path = kept.file(file)
        content = path.read_bytes()
        for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), content + b"x"):
            path.write_bytes(damaged)
            for attempt in (lambda: check(kept, backup), lambda: restore(kept, backup, tmp_path / "r", Disk())):
                with pytest.raises(BackupError, match=file.digest):
                    attempt()
            assert {left.name for left in (tmp_path / "r").iterdir()} <= {"lock"}
        path.unlink()
        with pytest.raises(BackupError, match=f"{file.digest}.*missing"):
            check(kept, backup)
        path.write_bytes(content)


def _changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = next((folder / "backups").iterdir())
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda document: document.update(format=2), "later one", id="a newer format"),
        pytest.param(lambda document: document["backup"].update(last_sequence=4), "damaged", id="another number"),
        pytest.param(lambda document: document["backup"]["files"].pop(), "damaged", id="a file less"),
        pytest.param(lambda document: document.clear(), "damaged", id="nothing"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    _changed(folder, change)
    with pytest.raises(BackupError, match=said):
        restored(folder, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


class Killed(BaseException):
    """The process ends at a step on the disk."""


class DyingDisk(RecordingDisk):
    """The real disk; its call number `last` is not made, and nothing after it."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last

    def note(self, step: str, path: Path) -> None:
        super().note(step, path)
        if len(self.calls) >= self.last:
            raise Killed


def test_a_backup_that_is_killed_at_any_step_leaves_the_others_whole(
    engine: Engine, sold: httpx2.Client, folder: Path, tmp_path: Path
) -> None:
    kept = BackupFolder(folder, disk=Disk())
    (before,) = kept.names()
    post(sold, event("4"))
    for last in range(1, 200):
        try:
            backed_up(engine, folder, DyingDisk(last))
        except Killed:
            assert kept.names() in ([before], [before, kept.names()[-1]])
            for name in kept.names():
                check(kept, kept.read(name))
            continue
        break
    assert last > 10
    other = restored(folder, tmp_path / "restored")
    assert events_of(other) == {1: "1", 2: "2", 3: "3", 4: "4"}
    other.close()


def test_a_restore_that_is_killed_at_any_step_is_not_opened_and_can_be_made_again(folder: Path, tmp_path: Path) -> None:
    kept, data = BackupFolder(folder, disk=Disk()), tmp_path / "restored"
    for last in range(1, 200):
        try:
            restore(kept, kept.read(), data, DyingDisk(last))
        except Killed:
            if (data / "restoring").exists():
                with pytest.raises(WorkUnfinished, match="again"):
                    Engine.open(Settings(data=data), now=lambda: NOW)
            elif (data / "tallystick.sqlite").exists():
                break  # all was there: the last step makes the end of the restore durable
            continue
        break
    assert last > 10
    other = Engine.open(Settings(data=data), now=lambda: NOW)
    assert events_of(other) == {1: "1", 2: "2", 3: "3"}
    other.close()


def test_a_directory_that_is_not_empty_is_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "restored"
    data.mkdir()
    (data / "notes").write_text("mine")
    with pytest.raises(BackupError, match="not empty"):
        restored(folder, data)
    assert [path.name for path in data.iterdir()] == ["notes"]
    shutil.rmtree(data)
    data.mkdir()
    restored(folder, data).close()


def test_a_path_that_leads_out_of_the_directory_is_refused(folder: Path, tmp_path: Path) -> None:
    """Whoever can write a manifest can sign it; it still leads nowhere else."""
    kept = BackupFolder(folder, disk=Disk())
    (tmp_path / "file").write_text("x")
    with kept.opened():
        sources = [SourceFile("../outside", tmp_path / "file", 1)]
        kept.add(sources, taken_at=NOW, last_sequence=9, has_database=True, release="test")
    with pytest.raises(BackupError, match="leads out"):
        restore(kept, kept.read(), tmp_path / "restored", Disk())
    assert not (tmp_path / "outside").exists()
