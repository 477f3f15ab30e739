"""Numbers of subjects: one each, for ever, whatever is flushed, merged, restarted or lost of the dictionary."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from api.engine import Engine
from api.settings import Settings
from api.usage import UsageQuery
from ingest.limits import IngestLimits
from ingest.log import UsageLog
from ingest.schema import stored_schema
from ingest.usage_table import UsageTable, buckets_of
from ingest.verification import verify_table
from rating.core.schema import SUBJECT_NUMBER
from rating.delta import DurableTable
from rating.disk import Disk
from store.customers import Customer
from tests.api.conftest import CATALOG
from tests.conftest import PROFILE
from tests.ingest.events import NOW, event, open_log, post, stored
from tests.ingest.identities import stored_events

MERGE_ALL = IngestLimits(merged_files=2, retention_hours=0, maintenance_share=1e-9)


def send(log: UsageLog, *subjects: str, first: int = 0) -> None:
    verdict = post(log, [event(first + place, subject=subject) for place, subject in enumerate(subjects)])
    assert verdict.accepted == len(subjects)


def numbers(log: UsageLog) -> dict[str, int]:
    """The number of each subject that has an event; the dictionary says the same."""
    snapshot = log.scan()
    pairs = snapshot.frame.select("subject", SUBJECT_NUMBER).unique().collect()
    found = dict(pairs.iter_rows())
    assert len(found) == pairs.height, f"a subject has two numbers: {pairs}"
    assert len(set(found.values())) == pairs.height, f"two subjects have one number: {pairs}"
    listed = snapshot.subjects.collect()
    assert listed["subject"].is_unique().all()
    assert listed[SUBJECT_NUMBER].is_unique().all()
    assert found.items() <= dict(listed.iter_rows()).items()
    return found


def test_subjects_are_numbered_in_the_order_of_their_first_event(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    send(log, "b", "a", "b", "c")
    assert numbers(log) == {"b": 0, "a": 1, "c": 2}
    log.flush()
    send(log, "d", "a", first=10)
    assert numbers(log) == {"b": 0, "a": 1, "c": 2, "d": 3}
    log.close()
    log = open_log(tmp_path)
    assert numbers(log) == {"b": 0, "a": 1, "c": 2, "d": 3}
    log.flush()
    assert numbers(log) == {"b": 0, "a": 1, "c": 2, "d": 3}
    log.close()


def test_a_snapshot_stays_as_it_was(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=IngestLimits(merged_files=2, maintenance_share=1e-9))
    send(log, "a", "b")
    log.flush()
    send(log, "c", "a", first=10)
    snapshot = log.scan()
    expected = {"a": 0, "b": 1, "c": 2}
    for _ in range(2):
        named = snapshot.frame.join(snapshot.subjects, on=SUBJECT_NUMBER, validate="m:1").collect()
        assert (named["subject"] == named["subject_right"]).all()
        assert dict(named.select("subject", SUBJECT_NUMBER).iter_rows()) == expected
        send(log, "d", first=20) if numbers(log) == expected else None
        log.flush()
        log.maintain()
    log.close()


def test_merging_files_changes_no_number(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=MERGE_ALL)
    for flush in range(4):
        send(log, *(f"customer-{flush}-{n % 7}" for n in range(20)), first=100 * flush)
        log.flush()
    before = stored(log)
    assert log.maintain().merged_files
    assert stored(log).equals(before)
    assert len(numbers(log)) == 28
    assert verify_table(tmp_path).problems == ()  # type: ignore[union-attr]
    files = [str(path) for path in (tmp_path / "usage").rglob("*.parquet")]
    query = "select count(distinct subject), count(distinct subject_number) from read_parquet(?, hive_partitioning = 0)"
    assert duckdb.connect().execute(query, [files]).fetchone() == (28, 28)
    log.close()


def test_the_dictionary_stays_a_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.subjects.SMALL_FILES_MAX", 3)
    log = open_log(tmp_path, limits=MERGE_ALL)
    for flush in range(10):
        send(log, f"customer-{flush}", first=flush)
        log.flush()
    assert len([*(tmp_path / "subjects").glob("*.parquet")]) <= 4
    assert numbers(log) == {f"customer-{flush}": flush for flush in range(10)}
    log.close()


def remove(directory: Path) -> None:
    shutil.rmtree(directory)


def remove_a_file(directory: Path) -> None:
    next(directory.glob("*.parquet")).unlink()


def flip_a_bit(directory: Path) -> None:
    path = next(directory.glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove_the_log(directory: Path) -> None:
    shutil.rmtree(directory / "_delta_log")


def cut_the_log(directory: Path) -> None:
    (directory / "_delta_log" / f"{1:020d}.json").write_bytes(b"")


DAMAGES = [remove, remove_a_file, flip_a_bit, remove_the_log, cut_the_log]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_lost_of_the_dictionary_is_read_from_the_table(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    log = open_log(tmp_path)
    for flush in range(3):
        send(log, "a", f"b{flush}", f"c{flush}", first=10 * flush)
        log.flush()
    before = numbers(log)
    log.close()
    damage(tmp_path / "subjects")
    log = open_log(tmp_path)
    assert numbers(log) == before
    send(log, "new", "a", first=90)
    log.flush()
    log.close()
    log = open_log(tmp_path)
    assert numbers(log) == before | {"new": 7}
    log.close()


def test_an_older_copy_of_the_dictionary_is_completed(tmp_path: Path) -> None:
    log = open_log(tmp_path / "data")
    send(log, "a", "b")
    log.flush()
    shutil.copytree(tmp_path / "data" / "subjects", tmp_path / "older")
    send(log, "c", "d", first=10)
    log.flush()
    before = numbers(log)
    log.close()
    shutil.rmtree(tmp_path / "data" / "subjects")
    shutil.copytree(tmp_path / "older", tmp_path / "data" / "subjects")
    log = open_log(tmp_path / "data")
    assert numbers(log) == before
    log.close()


def test_a_number_that_no_row_has_yet_is_neither_lost_nor_given_twice(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    send(log, "a", "b")
    numbers(log)
    log._subjects.keep()  # and the process ends before the rows are written
    log.close()
    log = open_log(tmp_path)
    send(log, "c", first=10)
    assert numbers(log) == {"a": 0, "b": 1, "c": 2}
    log.flush()
    assert numbers(log) == {"a": 0, "b": 1, "c": 2}
    log.close()


def test_two_subjects_with_half_of_a_hash_in_common_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingest import subjects

    true_hashes = subjects._hashes

    def alike(names: pl.Series, seeds: tuple[int, int]) -> tuple[subjects.Words, subjects.Words]:
        high, low = true_hashes(names, seeds)
        return high % 3, low

    monkeypatch.setattr(subjects, "_hashes", alike)
    log = open_log(tmp_path)
    for flush in range(3):
        send(log, *(f"customer-{n}" for n in range(flush, 40, flush + 1)), first=100 * flush)
        log.flush()
    assert sorted(numbers(log).values()) == list(range(40))
    log.close()


def test_doctor_finds_a_subject_with_two_numbers(tmp_path: Path) -> None:
    events = stored_events(1, 3)
    UsageTable(tmp_path / "usage", disk=Disk()).write(events.with_columns(subject_number=pl.col("sequence")), 3)
    (problem,) = verify_table(tmp_path).problems  # type: ignore[union-attr]
    assert problem == "its 1 subjects have 3 numbers, in 3 pairs of subject and number"


def test_a_number_without_a_row_stays_empty_when_the_dictionary_is_read_again(tmp_path: Path) -> None:
    events = stored_events(1, 3).with_columns(subject=pl.col("id"), subject_number=2 * pl.col("sequence"))
    UsageTable(tmp_path / "usage", disk=Disk()).write(events, 3)
    for _ in range(2):
        log = open_log(tmp_path)
        assert numbers(log) == {"1": 2, "2": 4, "3": 6}
        log.close()
    log = open_log(tmp_path)
    send(log, "new", first=10)
    assert numbers(log)["new"] == 7
    log.close()


def test_a_table_without_numbers_is_refused(tmp_path: Path) -> None:
    schema = stored_schema({})
    table = DurableTable(
        tmp_path / "usage", disk=Disk(), partition_by=["day", "bucket"], configuration={"tallystick.buckets": "4"}
    )
    table.append(schema.to_frame().with_columns(bucket=pl.lit(None, pl.Int32)), application="usage", version=1)
    with pytest.raises(ValueError, match="ingest its events again into an empty data directory"):
        UsageTable(tmp_path / "usage", disk=Disk())


def test_who_asks_for_numbers_does_not_read_names(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    send(log, "a")
    log.flush()
    log.declare({"tokens": "number"})
    plan = log.scan().frame.group_by(SUBJECT_NUMBER).agg(pl.col("data_tokens").sum()).explain()
    assert re.search(r"PROJECT 2/\d+ COLUMNS", plan), plan
    log.close()


SUBJECTS = [f"customer-{number}" for number in range(12)]


def sold_engine(directory: Path) -> Engine:
    """Usage of twelve subjects on three days, each file of the table of one bucket."""
    engine = Engine.open(Settings(data=directory), now=lambda: NOW)
    engine.apply_catalog(json.dumps(CATALOG), format="json")
    engine.put_customers([Customer("both", "Both", "UTC", NOW, ("customer-3", "customer-4"))])
    for flush in range(8):
        events = [
            event(
                100 * flush + place,
                subject=subject,
                time=datetime(2026, 10, 10 + place % 3, tzinfo=UTC).isoformat(),
                data={"model": "big", "input_tokens": 1},
            )
            for place, subject in enumerate(SUBJECTS * 2)
        ]
        assert post(engine.log, list(events)).accepted == 24
        engine.log.flush()
    engine.log.maintain()
    return engine


@pytest.mark.parametrize(
    ("asked", "subjects"),
    [
        ({"subject": "customer-3"}, ["customer-3"]),
        ({"customer": "both"}, ["customer-3", "customer-4"]),
        ({"where": (("subject", ("customer-3", "customer-5")),)}, ["customer-3", "customer-5"]),
        ({"where": (("customer", ("both",)),), "group_by": ("customer",)}, ["customer-3", "customer-4"]),
        ({"customer": "both", "subject": "customer-3", "group_by": ("subject",)}, ["customer-3"]),
        ({"customer": "nobody"}, []),
    ],
)
def test_a_question_about_few_reads_only_the_files_of_their_buckets(
    tmp_path: Path, asked: dict[str, object], subjects: Sequence[str]
) -> None:
    engine = sold_engine(tmp_path)
    files = engine.log.view().table.files
    assert files["bucket"].null_count() == 0
    theirs = buckets_of(subjects, engine.log.subject_buckets)
    others = files.filter(~pl.col("bucket").is_in(theirs))
    assert others.height
    for path in others["path"]:
        Path(path).unlink()
    answer = engine.usage(UsageQuery("tokens", **asked))  # type: ignore[arg-type]  # a table of cases
    assert answer["events"].sum() == 16 * len(subjects)
    with pytest.raises(FileNotFoundError):
        engine.usage(UsageQuery("tokens"))
    engine.close()


NAMES = st.lists(st.sampled_from([*"abcdefgh", "é", "a b", "a" * 40]), min_size=1, max_size=6)


class Numbering(RuleBasedStateMachine):
    """`seen` are the numbers that were shown since the start, `kept` those that a row of the table has."""

    @initialize()
    def open(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tallystick-subjects-"))
        self.sent: list[str] = []
        self.kept: dict[str, int] = {}
        self._open()

    def teardown(self) -> None:
        self.log.close()
        shutil.rmtree(self.directory)

    @rule(names=NAMES)
    def send(self, names: list[str]) -> None:
        send(self.log, *names, first=len(self.sent))
        self.sent += names

    @rule()
    def look(self) -> None:
        found = numbers(self.log)
        assert found.keys() == set(self.sent)
        assert self.seen.items() <= found.items()
        self.seen |= found

    @rule()
    def flush(self) -> None:
        self.log.flush()
        self.look()
        self.kept = dict(self.seen)

    @rule()
    def maintain(self) -> None:
        self.log.maintain()

    @rule()
    def restart(self) -> None:
        self.log.close()
        self._open()

    @rule(damage=st.sampled_from([remove, remove_the_log]))
    def lose_the_dictionary(self, damage: Callable[[Path], None]) -> None:
        self.log.close()
        if (self.directory / "subjects" / "_delta_log").exists():
            damage(self.directory / "subjects")
        self._open()

    @invariant()
    def finding_is_looking(self) -> None:
        if hasattr(self, "log"):
            for name, number in self.seen.items():
                assert self.log._subjects.find([name, "nobody"]) == [number]

    def _open(self) -> None:
        self.log = open_log(self.directory, limits=MERGE_ALL)
        self.seen = dict(self.kept)


TestNumbering = Numbering.TestCase
TestNumbering.settings = settings(
    max_examples=300 if PROFILE == "long" else 20, stateful_step_count=30 if PROFILE == "long" else 15, deadline=None
)
