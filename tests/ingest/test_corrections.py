"""Corrections on the log: what a scan shows after them, whatever happens in between."""

import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from ingest.contents import Contents
from ingest.flusher import Flusher
from ingest.log import UsageLog
from ingest.losses import read_losses
from ingest.repair import repair_log
from ingest.verification import verify_journal, verify_table
from rating.disk import Disk
from tests.conftest import ROOT
from tests.ingest.corrections import SOURCE, correct, replacement, void
from tests.ingest.events import (
    NOW,
    SMALL_SEGMENTS,
    codes,
    event,
    json_body,
    open_log,
    post,
    stored,
)


def ids(log: UsageLog) -> list[str]:
    return stored(log)["id"].to_list()


def tokens(log: UsageLog) -> dict[str, object]:
    return dict(stored(log).select("id", pl.col("data_tokens").cast(pl.Float64)).iter_rows())


def test_a_void_takes_an_event_out_of_force(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1), event(2)])
    assert correct(log, void(1)).accepted == 1
    assert ids(log) == ["2"]
    log.close()


def test_a_replacement_takes_what_it_does_not_say_from_the_event_it_corrects(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1, subject="beta", type="llm.call", time="2026-08-01T00:00:00Z")])
    assert correct(log, replacement(1, "1b", data={"tokens": "2.5"})).accepted == 1
    [row] = stored(log).iter_rows(named=True)
    assert (row["id"], row["subject"], row["type"]) == ("1b", "beta", "llm.call")
    assert row["time"] == datetime(2026, 8, 1, tzinfo=UTC)
    assert (float(row["data_tokens"]), row["data_model"]) == (2.5, None)  # data is whole, nothing is merged
    log.close()


def test_a_replacement_may_say_another_type_subject_and_time(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1)])
    changed = replacement(1, "1b", subject="beta", type="llm.call", time="2026-08-01T00:00:00Z")
    assert correct(log, changed).accepted == 1
    day = datetime(2026, 8, 1, tzinfo=UTC)
    assert stored(log, start=day, end=day + timedelta(days=1))["id"].to_list() == ["1b"]
    assert stored(log)["subject"].to_list() == ["beta"]
    log.close()


def test_a_chain_of_corrections_leaves_its_end(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1)])
    assert correct(log, [replacement(1, "1b"), replacement("1b", "1c", data={"tokens": 9})]).accepted == 2
    assert tokens(log) == {"1c": 9.0}
    assert correct(log, void("1c")).accepted == 1
    assert tokens(log) == {}
    log.close()


def test_what_is_corrected_stays_known(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1), event(2)])
    correct(log, [void(1), replacement(2, "2b")])
    assert codes(post(log, [event(1), event(2), event(3)])) == ["duplicate", "duplicate"]
    assert ids(log) == ["2b", "3"]
    assert post(log, [event("1 again")]).accepted == 1  # how a void is undone
    assert correct(log, void("1 again")).accepted == 1
    log.close()


def test_they_outlive_restarts_flushes_and_merges(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=SMALL_SEGMENTS)
    expected = {}
    for step in range(12):
        post(log, [event(f"{step}-{key}", time=f"2026-10-{1 + key:02}T00:00:00Z") for key in range(4)])
        correct(log, [void(f"{step}-0"), replacement(f"{step}-1", f"{step}-1b", data={"tokens": step})])
        if step:
            correct(log, replacement(f"{step - 1}-1b", f"{step}-1c", data={"tokens": 100 + step}))
            expected.pop(f"{step - 1}-1b")
            expected[f"{step}-1c"] = 100.0 + step
        expected |= {f"{step}-1b": float(step), f"{step}-2": 5.0, f"{step}-3": 5.0}
        if step % 3 == 0:
            log.flush()
        if step % 4 == 0:
            log.close()
            log = open_log(tmp_path, limits=SMALL_SEGMENTS)
        assert tokens(log) == expected
    log.flush()
    assert log.maintain().merged_files > 8
    assert tokens(log) == expected
    log.close()
    report = verify_table(tmp_path)
    assert report is not None
    assert report.problems == ()
    log = open_log(tmp_path)
    assert tokens(log) == expected
    log.close()


def test_another_engine_finds_what_counts_by_the_documented_query(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=SMALL_SEGMENTS)
    post(log, [event(key, time=f"2026-10-0{key}T00:00:00Z") for key in range(1, 6)])
    correct(log, [void(1), replacement(2, "2b"), replacement("2b", "2c"), void(3, reason=None)])
    log.flush()
    [query] = re.findall(r"( {4}SELECT .*\n.*)\n", (ROOT / "docs" / "journal.md").read_text())
    paths = log.view().table.files["path"].to_list()
    found = duckdb.connect().sql(f"WITH usage AS (FROM read_parquet({paths}, union_by_name=true)) {query}").pl()
    assert sorted(found["id"]) == sorted(ids(log)) == ["2c", "4", "5"]
    log.close()


def test_only_files_with_corrections_are_read_at_the_start(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=SMALL_SEGMENTS)
    for key in range(3):
        post(log, [event(key)])
    correct(log, void(1))
    log.flush()
    files = log.view().table.files.sort("first_sequence")
    assert files["has_corrections"].to_list() == [False, False, False, True]
    log.close()
    for path in files["path"][:3]:
        Path(path).chmod(0)  # root reads it all the same: so make it unreadable as Parquet, too
        Path(path).write_bytes(b"not read")
    contents = Contents(log.view().table, [])
    assert contents.view().corrected.hidden.to_list() == [2, 4]


def test_a_kill_between_journal_and_table_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flusher, "_delete_moved", lambda self: None)  # the kill: the segment stays behind its commit
    log = open_log(tmp_path)
    post(log, [event(1), event(2)])
    correct(log, [void(1), replacement(2, "2b")])
    log.flush()
    assert list((tmp_path / "journal").glob("*.segment"))
    log.close()
    monkeypatch.undo()
    log = open_log(tmp_path)
    assert ids(log) == ["2b"]
    assert stored(log)["sequence"].to_list() == [4]
    log.close()


def test_a_property_that_is_declared_later_counts_replacements_too(tmp_path: Path) -> None:
    log = open_log(tmp_path, properties={}, limits=SMALL_SEGMENTS)
    post(log, [event(1), event(2), event(3)])
    correct(log, [replacement(1, "1b", data={"tokens": "0.25", "region": "eu"}), void(2)])
    log.flush()
    correct(log, replacement(3, "3b", data={"region": "us"}))
    log.declare({"tokens": "number", "region": "string"})
    expected = {("1b", "eu", 0.25), ("3b", "us", None)}
    for step in (log.flush, log.maintain, log.maintain):
        step()
        found = stored(log).select("id", "data_region", pl.col("data_tokens").cast(pl.Float64))
        assert set(found.iter_rows()) == expected
    log.close()


def test_a_snapshot_stays_what_it_was(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=SMALL_SEGMENTS)
    post(log, [event(1), event(2)])
    before = log.scan()
    correct(log, [void(1), replacement(2, "2b")])
    after = log.scan()
    for _ in range(2):
        assert before.frame.sort("sequence").collect()["id"].to_list() == ["1", "2"]
        assert after.frame.sort("sequence").collect()["id"].to_list() == ["2b"]
        log.flush()
        log.maintain()
    assert (before.last_sequence, after.last_sequence) == (2, 4)
    log.close()


def test_of_two_that_race_for_one_event_one_is_accepted(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(key) for key in range(20)])
    verdicts = []
    start = threading.Barrier(4)

    def run(name: int) -> None:
        start.wait()
        for key in range(20):
            correction = void(key, f"{name}-{key}") if name % 2 else replacement(key, f"{name}-{key}")
            verdicts.append(correct(log, correction))

    threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(verdict.accepted for verdict in verdicts) == 20
    assert {code for verdict in verdicts for code in codes(verdict)} == {"already_corrected"}
    assert len(ids(log)) == 20 - log.view().corrected.rows.filter(correction="void").height
    log.close()


def test_an_event_that_is_lost_in_a_repair_leaves_its_corrections_readable(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1)])
    post(log, [event(2), event(3)])
    correct(log, [void(2), void(1)])
    [segment] = (tmp_path / "journal").glob("*.segment")
    log.close()
    content = bytearray(segment.read_bytes())
    content[content.find(b"TREC", content.find(b"TREC") + 1) + 200] ^= 1  # in the record of 2 and 3
    segment.write_bytes(content)
    assert verify_journal(tmp_path).problems
    repair_log(Disk(), tmp_path, now=NOW)
    [loss] = read_losses(tmp_path / "journal")
    assert (loss.first_sequence, loss.last_sequence) == (2, 3)
    log = open_log(tmp_path)
    assert ids(log) == []
    corrections = log.corrections.page(after=0, limit=10)
    assert [(one.id, one.target_id) for one in corrections] == [("void-2", None), ("void-1", "1")]
    assert post(log, [event(2), event(3)]).accepted == 2  # lost, sent again: they are new
    assert ids(log) == ["2", "3"]
    log.close()


def test_they_are_listed_with_what_they_correct(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=SMALL_SEGMENTS)
    post(log, [event(1), event(2), event(3)])
    correct(log, [void(1), replacement(2, "2b", data={"tokens": "1.50", "more": {"b": 1e3}}, reason="wrong")])
    log.flush()
    correct(log, void("2b"))
    page = log.corrections.page
    first, second, third = page(after=0, limit=10)
    assert (first.sequence, first.source, first.id, first.correction) == (4, "/desk", "void-1", "void")
    assert (first.target_source, first.target_id, first.data, first.reason) == (SOURCE, "1", None, "sent twice")
    assert (second.target_id, second.reason, second.received_at) == ("2", "wrong", NOW)
    assert second.data == b'{"more":{"b":1000.0},"tokens":1.5}'
    assert (third.id, third.target_id, third.subject) == ("void-2b", "2b", "acme")
    assert page(after=4, limit=1) == [second]
    assert page(after=0, limit=10, target_source=SOURCE, target_id="2b") == [third]
    assert page(after=0, limit=10, target_id="1") == [first]
    assert page(after=0, limit=1, target_source=SOURCE) == [first]
    assert page(after=0, limit=10, target_source="/desk") == []
    assert page(after=0, limit=10, target_source="/desk", target_id="9") == []
    log.close()


def test_ten_thousand_are_scanned_exactly(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    chance = np.random.default_rng(1)
    numbers = chance.permutation(20_000)
    for part in np.array_split(np.arange(20_000), 4):
        log.submit(json_body([event(int(key), data={"tokens": int(key)}) for key in part]), "application/json")
    log.flush()
    voided, replaced = numbers[:5_000].tolist(), numbers[5_000:10_000].tolist()
    done = correct(log, [void(key) for key in voided])
    assert done.accepted == 5_000, done.events[:1]
    assert correct(log, [replacement(key, f"{key}b", data={"tokens": 1}) for key in replaced]).accepted == 5_000
    for _ in range(2):
        found = log.scan().frame.select(pl.len(), pl.col("data_tokens").sum().cast(pl.Int64)).collect().row(0)
        assert found == (15_000, 5_000 + int(numbers[10_000:].sum()))
        log.flush()
    log.close()
