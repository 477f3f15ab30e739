"""What is left when a step fails or is the last one: nothing acknowledged is lost, nothing is counted twice."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.errors import CommitUnknown, NotCommitted
from ingest.log import UsageLog
from ingest.usage_table import UsageTable
from tests.ingest.events import (
    RecordingDisk,
    codes,
    event,
    open_log,
    post,
    stored,
)


@pytest.mark.parametrize("step", ["append", "sync"])
def test_after_a_failed_write_nothing_is_acknowledged_any_more(tmp_path: Path, step: str) -> None:
    disk = RecordingDisk()
    log = open_log(tmp_path, disk=disk)
    assert post(log, [event(1)]).accepted == 1
    disk.failing[step] = 1
    with pytest.raises(CommitUnknown, match="same event ids"):
        post(log, [event(2)])
    disk.failing.clear()
    for _ in range(2):
        with pytest.raises(NotCommitted):
            post(log, [event(1), event(3)])
    assert log.status()["failure"] is not None
    assert stored(log)["id"].to_list() == ["1"]
    log.close()
    log = open_log(tmp_path)
    again = post(log, [event(1), event(2), event(3)])
    assert "conflict" not in codes(again)
    assert stored(log)["id"].to_list() == ["1", "2", "3"]
    log.close()


@pytest.mark.parametrize("step", ["create", "sync", "rename", "sync_directory", "unlink"])
def test_a_failing_flush_at_any_step_loses_and_doubles_nothing(tmp_path: Path, step: str) -> None:
    for number in range(1, 40):
        directory = tmp_path / f"{number}"
        disk = RecordingDisk()
        log = open_log(directory, disk=disk)
        post(log, [event(1), event(2, time="2026-10-14T00:00:00Z")])
        disk.failing[step] = number
        try:
            log.flush()
        except (OSError, NotCommitted):
            failed = True
        else:
            failed = False
        disk.failing.clear()
        if failed:
            with pytest.raises(NotCommitted):
                log.flush()
            with pytest.raises(NotCommitted):
                post(log, [event(1)])
        log.close()
        log = open_log(directory)
        assert stored(log)["id"].to_list() == ["1", "2"]
        assert codes(post(log, [event(2, time="2026-10-14T00:00:00Z"), event(1)])) == ["duplicate", "duplicate"]
        log.flush()
        assert stored(log)["sequence"].to_list() == [1, 2]
        log.close()
        if not failed:
            return
    raise AssertionError(f"{step} was still called at the {number}th time")


def flush_and_die(directory: Path) -> None:
    """Leave a segment that the table has: dead between the commit and the deletion."""
    disk = RecordingDisk()
    log = open_log(directory, disk=disk)
    post(log, [event(1), event(2)])
    disk.failing["unlink"] = 1
    with pytest.raises(OSError, match="injected"):
        log.flush()
    log.close()
    assert len(list((directory / "journal").iterdir())) == 1


def test_a_segment_that_the_table_has_is_not_added_again(tmp_path: Path) -> None:
    flush_and_die(tmp_path)
    log = open_log(tmp_path)
    assert not list((tmp_path / "journal").iterdir())
    assert stored(log)["sequence"].to_list() == [1, 2]
    assert post(log, [event(1), event(3)]).accepted == 1
    assert stored(log)["sequence"].to_list() == [1, 2, 3]
    log.close()


def cut(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:-40])


@pytest.mark.parametrize("tear", [lambda entry: entry.write_bytes(b""), cut, lambda entry: entry.unlink()])
def test_a_table_commit_that_a_power_cut_took_is_made_again(tmp_path: Path, tear: Callable[[Path], object]) -> None:
    flush_and_die(tmp_path)
    tear(tmp_path / "usage" / "_delta_log" / "00000000000000000001.json")
    log = open_log(tmp_path)
    assert stored(log)["sequence"].to_list() == [1, 2]
    assert codes(post(log, [event(1)])) == ["duplicate"]
    log.flush()
    assert log.status()["table_last_sequence"] == 2
    assert stored(log)["sequence"].to_list() == [1, 2]
    log.close()


def test_a_table_that_was_only_just_made_is_made_again(tmp_path: Path) -> None:
    flush_and_die(tmp_path)
    for entry in (tmp_path / "usage" / "_delta_log").iterdir():
        entry.unlink()
    (tmp_path / "usage" / "_delta_log" / "00000000000000000000.json").write_bytes(b"")
    log = open_log(tmp_path)
    log.flush()
    assert stored(log)["sequence"].to_list() == [1, 2]
    log.close()


def test_a_torn_checkpoint_of_the_table_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rating.delta.COMMITS_PER_CHECKPOINT", 5)
    log = open_log(tmp_path)
    for key in range(7):
        post(log, [event(key)])
        log.flush()
    log.close()
    assert (tmp_path / "usage" / "_delta_log" / "_last_checkpoint").exists()
    (tmp_path / "usage" / "_delta_log" / "_last_checkpoint").write_bytes(b"")
    for checkpoint in (tmp_path / "usage" / "_delta_log").glob("*.checkpoint.parquet"):
        checkpoint.write_bytes(b"")
    log = open_log(tmp_path)
    assert stored(log)["sequence"].to_list() == list(range(1, 8))
    log.close()


CHILD = """
import json, sys, time
from datetime import timedelta
from pathlib import Path
from ingest.errors import Overloaded
from ingest.limits import IngestLimits
from ingest.log import UsageLog
limits = IngestLimits(segment_bytes=12_000, segment_age=timedelta(seconds=1))
log = UsageLog.open(Path(sys.argv[1]), properties={"tokens": "number"}, limits=limits)
print("ready", flush=True)
for line in sys.stdin:
    keys = json.loads(line)
    same = {"source": "s", "type": "t", "subject": "x", "time": "2026-10-15T11:00:00Z"}
    events = [same | {"id": str(key), "data": {"tokens": key}} for key in keys]
    while True:
        try:
            verdict = log.submit(json.dumps(events).encode(), "application/json").result()
            break
        except Overloaded:
            time.sleep(0.01)
    print(verdict.accepted, verdict.duplicate, flush=True)
"""


def run_until_killed(directory: Path, batches: list[list[int]], kill_after: float) -> list[list[int]]:
    """Feed a child process until it is killed; the batches that it acknowledged."""
    root = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(directory)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None and child.stdout is not None  # noqa: PT018
    acknowledged: list[list[int]] = []
    try:
        assert child.stdout.readline() == "ready\n"
        deadline = time.monotonic() + kill_after
        for keys in batches:
            child.stdin.write(f"{keys}\n")
            child.stdin.flush()
            if time.monotonic() >= deadline:
                break
            answer = child.stdout.readline()
            assert re.fullmatch(r"\d+ \d+\n", answer)
            acknowledged.append(keys)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdin.close()
        child.stdout.close()
    return acknowledged


def test_kill_9_at_any_time_loses_and_doubles_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    seed = int(os.environ.get("CRASH_SEED", "20261015"))
    print(f"CRASH_SEED={seed}")
    chance = random.Random(seed)
    sent: set[int] = set()
    acknowledged: set[int] = set()
    for _ in range(8):
        start = len(sent)
        batches = [list(range(start + number * 3, start + number * 3 + 6)) for number in range(400)]
        done = run_until_killed(tmp_path, batches, chance.uniform(0.0, 0.5))
        acknowledged.update(*done)
        sent.update(*batches[: len(done) + 1])
        shutil.copytree(tmp_path, copied := tmp_path.with_name(f"{tmp_path.name}-copy"), dirs_exist_ok=False)
        check(copied, acknowledged, sent)
        shutil.rmtree(copied)
    assert len(acknowledged) > 100


def check(directory: Path, acknowledged: set[int], sent: set[int]) -> None:
    log = UsageLog.open(directory, properties={"tokens": "number"})
    frame = stored(log)
    keys = [int(key) for key in frame["id"]]
    assert frame["sequence"].to_list() == list(range(1, len(keys) + 1))
    assert len(set(keys)) == len(keys)
    assert acknowledged <= set(keys) <= sent
    assert frame["data_tokens"].sum() == sum(keys)
    table = UsageTable(directory / "usage", disk=RecordingDisk())
    assert table.last_sequence <= len(keys)
    log.close()
