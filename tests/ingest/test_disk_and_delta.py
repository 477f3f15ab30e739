"""The module that changes files, and appending to a Delta table exactly once."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from rating.delta import DurableTable, SchemaConflict
from rating.disk import Disk
from tests.ingest.events import RecordingDisk

FRAME = pl.DataFrame({"key": ["a", "b"], "amount": ["1.5", "2"], "day": ["x", "y"]}).cast(
    {"amount": pl.Decimal(38, 21)}
)


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, pieces: whole(fd, [bytes(pieces[0])[:3]]))
    file = Disk().create(tmp_path / "file")
    file.append([b"abcdefgh", b"", memoryview(b"ijkl")])
    file.close()
    assert (tmp_path / "file").read_bytes() == b"abcdefghijkl"
    assert file.size == 12


def test_an_existing_file_is_not_created_again(tmp_path: Path) -> None:
    Disk().create(tmp_path / "file").close()
    with pytest.raises(FileExistsError):
        Disk().create(tmp_path / "file")


def test_publishing_syncs_before_the_name_and_the_name_after(tmp_path: Path) -> None:
    disk = RecordingDisk()
    (tmp_path / "file.tmp").write_bytes(b"left over")
    for content in (b"old", b"new"):
        del disk.calls[:]
        disk.publish(tmp_path / "file", [content])
        assert [step for step, _ in disk.calls] == ["create", "append", "sync", "rename", "sync_directory"]
    assert (tmp_path / "file").read_bytes() == b"new"


def test_each_directory_that_is_made_is_synced_into_its_parent(tmp_path: Path) -> None:
    disk = RecordingDisk()
    disk.make_directory(tmp_path / "a" / "b")
    assert disk.calls[-2:] == [("sync_directory", tmp_path.name), ("sync_directory", "a")]


def test_a_directory_that_a_killed_process_may_have_made_is_synced_into_its_parent(tmp_path: Path) -> None:
    disk = RecordingDisk()
    (tmp_path / "a").mkdir()
    disk.make_directory(tmp_path / "a")
    assert disk.calls == [("sync_directory", tmp_path.name)]


def test_a_lock_is_exclusive_and_ends_with_its_owner(tmp_path: Path) -> None:
    holder = """
import sys
from pathlib import Path
from rating.disk import Disk
lock = Disk().lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "lock")],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(BlockingIOError):
            Disk().lock(tmp_path / "lock")
        child.kill()
        child.wait()
        Disk().lock(tmp_path / "lock").release()


def test_a_version_is_appended_once(tmp_path: Path) -> None:
    table = DurableTable(tmp_path / "lines", disk=Disk())
    assert table.append(FRAME, application="run-1", version=1)
    assert not table.append(FRAME, application="run-1", version=1)
    assert table.append(FRAME, application="run-2", version=1)
    again = DurableTable(tmp_path / "lines", disk=Disk())
    assert not again.append(FRAME, application="run-2", version=1)
    assert (again.appended("run-1"), again.appended("run-3")) == (1, None)
    assert pl.scan_delta(str(tmp_path / "lines")).collect().sort("key").equals(pl.concat([FRAME, FRAME]).sort("key"))


def test_an_append_of_nothing_is_remembered_too(tmp_path: Path) -> None:
    table = DurableTable(tmp_path / "lines", disk=Disk())
    assert table.append(FRAME.clear(), application="run-1", version=1)
    assert table.appended("run-1") == 1
    assert pl.scan_delta(str(tmp_path / "lines")).collect().schema == FRAME.schema


def test_a_table_grows_columns_and_never_changes_one(tmp_path: Path) -> None:
    table = DurableTable(tmp_path / "lines", disk=Disk(), partition_by=["day"])
    table.append(FRAME, application="run", version=1)
    table.append(FRAME.with_columns(more=pl.lit("m")), application="run", version=2)
    table.append(FRAME, application="run", version=3)
    assert table.fields()["more"].metadata == {"tallystick.added_in": "2"}
    assert sorted(table.files()["written_at"]) == [0, 0, 2, 2, 3, 3]
    assert pl.scan_delta(str(tmp_path / "lines")).collect()["more"].null_count() == 4
    with pytest.raises(SchemaConflict, match="amount"):
        table.append(FRAME.with_columns(pl.col("amount").cast(pl.String)), application="run", version=4)
    assert table.appended("run") == 3


def test_parquet_is_durable_before_its_commit_and_the_commit_after(tmp_path: Path) -> None:
    disk = RecordingDisk()
    table = DurableTable(tmp_path / "lines", disk=disk)
    table.append(FRAME, application="run", version=1)
    del disk.calls[:]
    table.append(FRAME, application="run", version=2)
    (parquet,) = (path.name for path in (tmp_path / "lines").glob("run-00000000000000000002-00000001-0000-*.parquet"))
    assert [call for call in disk.calls if call[0] != "append"] == [
        ("create", f"{parquet}.tmp"),
        ("sync", f"{parquet}.tmp"),
        ("rename", parquet),
        ("sync_directory", "lines"),
        ("sync", "00000000000000000002.json"),
        ("sync_directory", "_delta_log"),
    ]


def test_an_empty_log_entry_would_pass_for_a_commit_without_us(tmp_path: Path) -> None:
    """Why `recover_log` is there: seen with deltalake 1.6.6."""
    table = DurableTable(tmp_path / "lines", disk=Disk())
    table.append(FRAME, application="run", version=1)
    (tmp_path / "lines" / "_delta_log" / "00000000000000000002.json").write_bytes(b"")
    assert DeltaTable(tmp_path / "lines").version() == 2
    assert DurableTable(tmp_path / "lines", disk=Disk()).version == 1


def test_checkpoints_come_and_can_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rating.delta.COMMITS_PER_CHECKPOINT", 5)
    table = DurableTable(tmp_path / "lines", disk=Disk())
    for version in range(1, 7):
        table.append(FRAME.head(1), application="run", version=version)
    log = tmp_path / "lines" / "_delta_log"
    (checkpoint,) = log.glob("*.checkpoint.parquet")
    checkpoint.write_bytes(b"torn")
    again = DurableTable(tmp_path / "lines", disk=Disk())
    assert (again.version, again.appended("run"), again.files().height) == (6, 6, 6)
