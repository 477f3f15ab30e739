"""The parts of a backfill in the log: its range, what a scan leaves out and reads, and damage to its directory."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ingest.backfill import BackfillPlace
from ingest.backfill_range import BackfillRange
from ingest.errors import BackfillDamaged
from ingest.log import UsageLog
from rating.disk import Disk
from tests.ingest.events import NOW, PROPERTIES, event, open_log, post, stored


def day(number: int) -> datetime:
    return datetime(2026, 10, number, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[UsageLog]:
    """Events 10 to 13, one on each of these days of October."""
    opened = open_log(tmp_path / "data")
    post(opened, [event(number, time=f"2026-10-{number}T12:00:00Z") for number in range(10, 14)])
    yield opened
    opened.close()


def place(log: UsageLog, tmp_path: Path, wanted: BackfillRange, name: str = "one") -> BackfillPlace:
    return BackfillPlace(name, tmp_path / name, wanted, log.view().last_sequence, log, Disk())


def committed(one: BackfillPlace, number: int, *events: dict[str, object]) -> None:
    staged = one.open(properties=PROPERTIES, now=lambda: NOW)
    assert post(staged, events).accepted == len(events)
    staged.finish()
    one.commit(one.finished(number, len(events)), lambda: None)


def ids(log: UsageLog) -> list[str]:
    return sorted(stored(log)["id"])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param(BackfillRange(day(1), day(3)), BackfillRange(day(3), day(4)), False, id="the end is exclusive"),
        pytest.param(BackfillRange(day(1), day(3)), BackfillRange(day(2), day(4)), True, id="a day in both"),
        pytest.param(
            BackfillRange(day(1), day(3), ("a",)), BackfillRange(day(1), day(3), ("b",)), False, id="other types"
        ),
        pytest.param(BackfillRange(day(1), day(3), ("a",)), BackfillRange(day(1), day(3)), True, id="all types"),
        pytest.param(
            BackfillRange(day(1), day(3), (), ("a", "b")),
            BackfillRange(day(1), day(3), ("t",), ("b",)),
            True,
            id="a subject in both",
        ),
    ],
)
def test_whether_ranges_overlap(one: BackfillRange, other: BackfillRange, expected: bool) -> None:
    assert one.overlaps(other) is other.overlaps(one) is expected


@pytest.mark.parametrize("flushed", [True, False])
def test_only_the_range_is_replaced_in_the_table_and_behind_it(log: UsageLog, tmp_path: Path, flushed: bool) -> None:
    if flushed:
        log.flush()
    one = place(log, tmp_path, BackfillRange(day(11), day(13), ("llm.request",), ("acme",)))
    post(log, [event("late", time="2026-10-12T00:00:00Z"), event("other", time="2026-10-12T00:00:00Z", subject="x")])
    committed(one, 1, event("new", time="2026-10-11T00:00:00Z"))
    assert ids(log) == ["10", "13", "late", "new", "other"]
    assert stored(log)["sequence"].is_unique().all()
    assert stored(log, start=day(11), end=day(12))["id"].to_list() == ["new"]
    buckets = [stored(log, buckets=[bucket]) for bucket in range(log.subject_buckets)]
    assert sorted(pl.concat(buckets)["id"]) == ids(log)
    one.revert(lambda: None)
    assert ids(log) == ["10", "11", "12", "13", "late", "other"]


def test_a_later_backfill_replaces_what_an_earlier_one_has_put_there(log: UsageLog, tmp_path: Path) -> None:
    committed(place(log, tmp_path, BackfillRange(day(10), day(12))), 1,
              event("a", time="2026-10-10T00:00:00Z"), event("b", time="2026-10-11T00:00:00Z"))  # fmt: skip
    later = place(log, tmp_path, BackfillRange(day(11), day(13)), "two")
    committed(later, 2, event("b", time="2026-10-12T00:00:00Z"), event("a", time="2026-10-11T00:00:00Z"))
    assert ids(log) == ["13", "a", "b"], "`a` stands outside the later range, so it is refused there"
    assert stored(log).filter(id="b")["time"].to_list() == [day(12)]
    later.revert(lambda: None)
    assert stored(log).filter(id="b")["time"].to_list() == [day(11)]


def test_an_identity_that_was_taken_out_stays_known(log: UsageLog, tmp_path: Path) -> None:
    committed(place(log, tmp_path, BackfillRange(day(10), day(11))), 1)
    committed(place(log, tmp_path, BackfillRange(day(12), day(13)), "two"), 2, event("10", time="2026-10-12T00:00:00Z"))
    assert ids(log) == ["11", "13"]


def test_an_event_that_comes_during_the_commit_counts_once(log: UsageLog, tmp_path: Path) -> None:
    one = place(log, tmp_path, BackfillRange(day(11), day(12)))
    staged = one.open(properties=PROPERTIES, now=lambda: NOW)
    post(staged, [event("new", time="2026-10-11T00:00:00Z"), event("moved", time="2026-10-11T00:00:00Z")])
    staged.finish()
    finished = one.finished(1, 2)
    resolve = one.resolve

    class Between(BackfillPlace):
        def resolve(self, backfill: object) -> object:  # type: ignore[override] # what comes behind it, here
            found = resolve(finished)
            post(log, [event("new", time="2026-10-11T00:00:00Z"), event("moved", time="2026-10-13T00:00:00Z")])
            return found

    Between(**vars(one)).commit(finished, lambda: None)
    assert ids(log) == ["10", "12", "13", "moved", "new"]
    assert stored(log)["time"].to_list().count(day(11)) == 2


def test_a_directory_without_what_was_committed_is_refused(log: UsageLog, tmp_path: Path) -> None:
    one = place(log, tmp_path, BackfillRange(day(11), day(12)))
    committed(one, 1, event("new", time="2026-10-11T00:00:00Z"))
    assert one.committed(1, 1).table.last_sequence == 1
    with pytest.raises(BackfillDamaged, match="2 were committed"):
        one.committed(1, 2)
    resolution = next(one.directory.glob("resolution-*"))
    resolution.write_bytes(resolution.read_bytes()[:-1] + b"x")
    with pytest.raises(BackfillDamaged, match="resolution"):
        one.committed(1, 1)
    one.remove()
    with pytest.raises(BackfillDamaged, match="gone"):
        one.committed(1, 1)
