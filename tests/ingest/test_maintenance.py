"""Upkeep of the usage table: which files are merged, that no answer changes, and what a crash at any step leaves."""

import json
import random
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xxhash
from deltalake import DeltaTable

from api.engine import Engine
from api.settings import Settings
from ingest.compaction import MergeLimits, choose
from ingest.errors import NotCommitted
from ingest.limits import IngestLimits
from ingest.log import UsageLog
from ingest.usage_table import ORDER, TABLE_FILE, UsageTable, buckets_of
from ingest.verification import verify_table
from rating.delta import DurableTable
from rating.disk import Disk, SyncFailed
from store.customers import Customer
from store.subscriptions import Subscription
from tests.api.conftest import CATALOG
from tests.ingest.events import NOW, PROPERTIES, RecordingDisk, event, open_log, post, stored

MERGE_ALL = IngestLimits(merged_files=2, retention_hours=0, maintenance_share=1e-9)
"""Two files are merged when asked to, and hardly ever by themselves."""

SUBJECTS = [f"customer-{number}" for number in range(12)]


def some_events(start: int, count: int, **changes: Any) -> list[object]:
    """Events of three days and twelve subjects."""
    return [
        event(
            key,
            subject=SUBJECTS[key % 12],
            time=(datetime(2026, 10, 10 + key % 3, 5, tzinfo=UTC) + timedelta(seconds=key)).isoformat(),
            **changes,
        )
        for key in range(start, start + count)
    ]


def filled(directory: Path, flushes: int = 5, **changes: Any) -> UsageLog:
    """A log whose table has `flushes` files for each of three days."""
    log = open_log(directory, **({"limits": MERGE_ALL} | changes))
    for number in range(flushes):
        post(log, some_events(number * 24, 24))
        log.flush()
    return log


def files_of(log: UsageLog) -> pl.DataFrame:
    return log._contents.view().table.files


def same_rows(log: UsageLog, before: pl.DataFrame) -> bool:
    return stored(log).equals(before)


def test_merging_changes_files_and_no_event(tmp_path: Path) -> None:
    log = filled(tmp_path)
    before = stored(log)
    assert files_of(log).height == 15
    assert files_of(log)["bucket"].null_count() == 15
    done = log.maintain()
    assert done.merged_files >= 15
    assert same_rows(log, before)
    files = files_of(log)
    assert files["bucket"].null_count() == 0
    assert files.group_by("day", "bucket").len()["len"].max() == 1
    assert verify_table(tmp_path).problems == ()  # type: ignore[union-attr]
    assert set((tmp_path / "usage").rglob("*.parquet")) == {Path(path) for path in files["path"]}
    log.close()
    log = open_log(tmp_path)
    assert same_rows(log, before)
    assert post(log, some_events(0, 24)).duplicate == 24
    log.close()


def test_the_rows_of_a_bucket_are_those_of_its_subjects(tmp_path: Path) -> None:
    log = filled(tmp_path)
    post(log, some_events(1000, 24))  # behind the table
    for merged in (False, True):
        if merged:
            log.maintain()
        everything = stored(log)
        parts = [stored(log, buckets=[bucket]) for bucket in range(log.subject_buckets)]
        assert pl.concat(parts).sort("sequence").equals(everything)
        for bucket, part in enumerate(parts):
            assert {xxhash.xxh3_64_intdigest(name.encode()) % 4 for name in part["subject"].unique()} <= {bucket}
    assert buckets_of(SUBJECTS[:1], 4) == [xxhash.xxh3_64_intdigest(SUBJECTS[0].encode()) % 4]
    log.close()


def test_the_rows_of_a_file_are_in_the_order_of_subject_and_time(tmp_path: Path) -> None:
    log = filled(tmp_path, flushes=2)
    for _ in range(2):
        for path in files_of(log)["path"]:
            rows = pl.read_parquet(path, columns=list(ORDER), hive_partitioning=False)
            assert rows.rows() == sorted(rows.rows()), path
        log.maintain()
    log.close()


def test_a_bucket_reads_only_its_own_merged_files(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.maintain()
    (bucket,) = buckets_of(["customer-3"], log.subject_buckets)
    for path in files_of(log).filter(pl.col("bucket") != bucket)["path"]:
        Path(path).unlink()
    assert stored(log, buckets=[bucket]).filter(pl.col("subject") == "customer-3").height == 10
    log.close()


def test_a_large_segment_goes_to_its_buckets_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.usage_table.ROWS_PER_BUCKET_MIN", 2)
    log = filled(tmp_path, flushes=1)
    assert files_of(log)["bucket"].null_count() == 0
    assert stored(log).height == 24
    log.close()


def test_the_number_of_buckets_stays_as_the_table_was_made(tmp_path: Path) -> None:
    filled(tmp_path, flushes=1, limits=IngestLimits(subject_buckets=3)).close()
    log = open_log(tmp_path, limits=IngestLimits(subject_buckets=8))
    assert log.subject_buckets == 3
    assert DeltaTable(tmp_path / "usage").metadata().configuration["tallystick.buckets"] == "3"
    log.close()


LATER = PROPERTIES | {"region": "string", "size": "number"}


def test_a_property_that_was_declared_later_gets_its_column(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=MERGE_ALL)
    data = {"tokens": 5, "region": "eu", "size": "0.000000001"}
    for number in range(3):
        post(log, some_events(number * 24, 24, data=data))
        log.flush()
    log.maintain()
    log.declare(LATER)
    before = stored(log)
    assert before["data_size"].sum() == Decimal("0.000000072")
    snapshot = log._contents.view().table
    assert snapshot.late_files(LATER.keys()).height == files_of(log).height
    log.maintain()
    snapshot = log._contents.view().table
    assert snapshot.late_files(LATER.keys()).height == 0
    assert same_rows(log, before)
    plan = log.scan().frame.select("data_size").explain()
    assert "PYTHON" not in plan.upper()
    parquet = pl.scan_parquet(files_of(log)["path"].to_list(), hive_partitioning=False)
    assert parquet.select(pl.col("data_size").sum()).collect().item() == Decimal("0.000000072")
    assert log.maintain().passes == 0
    log.declare(LATER | {"more": "string"})  # another one later: late again, until the next pass
    assert stored(log).drop("data_more").equals(before)
    log.maintain()
    assert stored(log).drop("data_more").equals(before)
    log.close()


def test_files_without_undeclared_properties_are_never_late(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.maintain()
    log.declare(LATER)
    assert log.maintain().passes == 0
    assert stored(log)["data_region"].null_count() == 120
    log.close()


def test_a_snapshot_is_readable_while_files_are_merged(tmp_path: Path) -> None:
    log = filled(tmp_path, limits=IngestLimits(merged_files=2, maintenance_share=1e-9))
    snapshot = log.scan()
    expected = snapshot.frame.sort("sequence").collect()
    assert log.maintain().removed_files == 0  # not within the hour
    assert snapshot.frame.sort("sequence").collect().equals(expected)
    log.close()


STEPS = ["create", "append", "sync", "rename", "sync_directory", "unlink"]


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_in_upkeep_changes_no_answer(tmp_path: Path, step: str) -> None:
    chance = random.Random(20261015)
    crash_at(tmp_path, step, [1, 2, *chance.sample(range(3, 50), 2), 10_000])


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_of_upkeep_changes_no_answer(tmp_path: Path, step: str) -> None:
    crash_at(tmp_path, step, range(1, 80))


def crash_at(tmp_path: Path, step: str, calls: Iterable[int]) -> None:
    """Upkeep whose n-th call of a step is its last, for each n of `calls`."""
    origin = tmp_path / "origin"
    log = filled(origin, flushes=3)
    log.declare(LATER)
    post(log, some_events(500, 6, data={"tokens": 1, "size": 2}))
    log.flush()
    expected = stored(log)
    log.close()
    for number in calls:
        directory = tmp_path / f"{step}-{number}"
        shutil.copytree(origin, directory)
        disk = RecordingDisk()
        log = open_log(directory, disk=disk, limits=MERGE_ALL, properties=LATER)
        disk.failing[step] = number
        try:
            log.maintain()
        except (OSError, NotCommitted):
            assert log.status()["failure"] is not None
        assert same_rows(log, expected)
        disk.failing.clear()
        log.close()
        log = open_log(directory, limits=MERGE_ALL, properties=LATER)
        assert same_rows(log, expected)
        log.maintain()
        assert same_rows(log, expected)
        assert post(log, some_events(0, 72)).duplicate == 72
        assert verify_table(directory).problems == ()  # type: ignore[union-attr]
        log.close()


def test_a_full_disk_ends_a_pass_and_not_the_log(tmp_path: Path) -> None:
    disk = RecordingDisk()
    log = filled(tmp_path, disk=disk)
    before = stored(log)
    rename = disk.rename

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "no room", str(target))

    disk.rename = full  # type: ignore[method-assign]  # this is the disk
    with pytest.raises(NotCommitted, match="no room"):
        log.maintain()
    disk.rename = rename  # type: ignore[method-assign]
    assert post(log, some_events(900, 1)).accepted == 1
    log.maintain()
    assert stored(log).head(before.height).equals(before)
    log.close()


def test_a_sync_that_fails_during_upkeep_ends_the_log(tmp_path: Path) -> None:
    disk = RecordingDisk()
    log = filled(tmp_path, disk=disk)

    def fails(path: Path) -> None:
        raise SyncFailed(5, "injected", str(path))

    disk.sync_file = fails  # type: ignore[method-assign]  # this is the disk
    with pytest.raises(OSError, match="injected"):
        log.maintain()
    with pytest.raises(NotCommitted):
        post(log, some_events(900, 1))
    log.close()


def table_files(rows: list[int], **changes: Any) -> pl.DataFrame:
    given = {"day": NOW.date(), "bucket": 0, "written_at": 1, "has_data": False} | changes
    return pl.DataFrame(
        [
            {"path": f"{number}", "rows": count, "first_sequence": number, "last_sequence": number, **given}
            for number, count in enumerate(rows)
        ],
        schema=TABLE_FILE,
    )


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        pytest.param([10, 20, 30], [], id="too few"),
        pytest.param([10, 20, 30, 40], ["0", "1", "2", "3"], id="enough small files"),
        pytest.param([300_000, 10, 20, 30, 40], ["1", "2", "3", "4"], id="a large one is left out"),
        pytest.param([240_000, 240_000, 10], ["0", "1"], id="two that make a whole file"),
        pytest.param([16_000, 16_000, 70_000, 70_000, 70_000], [], id="sizes do not mix"),
        pytest.param([300_000, 300_000], [], id="what is whole stays"),
    ],
)
def test_files_of_about_one_size_are_merged(rows: list[int], chosen: list[str]) -> None:
    limits = MergeLimits(files=4, rows=500_000)
    assert choose(table_files(rows), TABLE_FILE.to_frame(), limits) == chosen


def test_a_pass_reads_no_more_rows_than_its_limit() -> None:
    paths = choose(table_files([1_000] * 50), TABLE_FILE.to_frame(), MergeLimits(files=4, rows=10_000))
    assert paths == [str(number) for number in range(10)]


def test_days_and_buckets_are_not_mixed() -> None:
    files = pl.concat([table_files([1] * 3), table_files([1] * 3, bucket=1), table_files([1] * 3, bucket=None)])
    assert choose(files, TABLE_FILE.to_frame(), MergeLimits(files=4, rows=100)) == []


def test_late_files_come_when_nothing_is_to_merge() -> None:
    late = table_files([10, 20], has_data=True)
    assert choose(late, late, MergeLimits(files=4, rows=1_000)) == ["0", "1"]


def test_the_log_of_the_table_stays_short_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rating.delta.COMMITS_PER_CHECKPOINT", 5)
    frame = pl.DataFrame({"sequence": [1], "text": ["x"]})
    table = DurableTable(tmp_path, disk=Disk())
    for version in range(1, 30):
        table.append(frame, application="run", version=version)
    log = tmp_path / "_delta_log"
    assert table.vacuum(retention_hours=0, files_max=10) == 0  # delta-rs reads the log again for it
    assert len(list(log.glob("*.json"))) <= 11
    assert len(list(log.glob("*.checkpoint.parquet"))) == 2
    for _ in range(3):  # each start drops the newest checkpoint, and none that is needed
        table = DurableTable(tmp_path, disk=Disk())
        assert (table.version, table.appended("run"), table.files().height) == (29, 29, 29)
    for version in range(30, 45):
        assert table.append(frame, application="run", version=version)
    assert DurableTable(tmp_path, disk=Disk()).files().height == 44
    assert not table.append(frame, application="run", version=44)


def test_a_rating_run_has_the_same_digest_before_and_after(tmp_path: Path) -> None:
    """`input_tokens` was not declared when the events came: before the upkeep it is read from `data`."""
    engine = Engine.open(Settings(data=tmp_path), now=lambda: NOW)
    for number in range(9):
        data = {"model": "big", "input_tokens": number * 100}
        post(engine.log, some_events(number * 24, 24, data=data))
        engine.log.flush()
    engine.apply_catalog(json.dumps(CATALOG), format="json")
    engine.put_customers([Customer(name, name, "UTC", NOW, (name,)) for name in SUBJECTS])
    starts_at = datetime(2026, 1, 1, tzinfo=UTC)
    engine.put_subscriptions([Subscription(f"s-{name}", name, "pro", starts_at, None) for name in SUBJECTS])
    before = engine.rate("2026-10")
    engine.log.maintain()
    assert files_of(engine.log)["bucket"].drop_nulls().len() >= 9
    after = engine.rate("2026-10")
    assert before.digest is not None
    assert after.digest == before.digest
    engine.close()


def test_a_table_of_very_many_properties_still_tells_what_its_files_hold(tmp_path: Path) -> None:
    """delta-rs keeps the statistics of a table's first 32 columns, unless the table names others."""
    many = PROPERTIES | {f"p{number}": "number" for number in range(60)}
    log = open_log(tmp_path, properties=many)
    post(log, some_events(1, 20))
    log.flush()
    files = UsageTable(tmp_path / "usage", disk=Disk()).snapshot().files
    assert files["rows"].sum() == 20
    assert not files["has_corrections"].any()
    assert files["last_subject_number"].null_count() == 0
    log.close()
