"""Catalog versions, rating runs and the outbox of signals."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from store import Store, open_store
from store.database import disconnect
from store.errors import NotFound
from store.runs import Run
from store.signals import Signal
from tests.recording import record_signals

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_same_catalog_again_changes_nothing(store: Store) -> None:
    assert store.catalogs.current() is None
    assert store.catalogs.apply("cat_a", "{}", now=NOW)
    assert not store.catalogs.apply("cat_a", "{}", now=NOW)
    assert [version.version for version in store.catalogs.history()] == ["cat_a"]


def test_the_history_keeps_every_return_to_an_older_catalog(store: Store) -> None:
    for version in ("cat_a", "cat_b", "cat_a"):
        store.catalogs.apply(version, f'{{"is":"{version}"}}', now=NOW)
    assert [(v.version, v.current) for v in store.catalogs.history()] == [
        ("cat_a", True),
        ("cat_b", False),
        ("cat_a", False),
    ]
    assert store.catalogs.current() == '{"is":"cat_a"}'
    assert store.catalogs.document("cat_b") == '{"is":"cat_b"}'
    with pytest.raises(NotFound, match="catalog version 'cat_c'"):
        store.catalogs.document("cat_c")


def run(run_id: str, *, minutes: int = 0, period: str = "2026-01") -> Run:
    return Run(run_id, period, "cat_a", 7, 42, "0.1.0", NOW + timedelta(minutes=minutes))


@pytest.fixture
def runs(store: Store) -> Store:
    store.catalogs.apply("cat_a", "{}", now=NOW)
    return store


def test_a_run_keeps_its_inputs_digest_and_report(runs: Store) -> None:
    runs.runs.start(run("run_1"))
    assert runs.runs.get("run_1") == run("run_1")
    report = {"lines": 3, "totals": {"USD": "12.345000000000000000001"}, "unpriced": []}
    done = replace(run("run_1"), status="done", finished_at=NOW, digest="abc", report=report)
    runs.runs.finish(done)
    assert runs.runs.get("run_1") == done
    with pytest.raises(NotFound, match="rating run 'run_2'"):
        runs.runs.get("run_2")


def test_runs_are_listed_from_the_newest_in_pages(runs: Store) -> None:
    for index in range(5):
        runs.runs.start(run(f"run_{index}", minutes=index // 2, period=f"2026-0{1 + index % 2}"))
    first = runs.runs.page(period=None, after=None, limit=3)
    rest = runs.runs.page(period=None, after=first[-1].id, limit=3)
    assert [r.id for r in first + rest] == ["run_4", "run_3", "run_2", "run_1", "run_0"]
    assert [r.id for r in runs.runs.page(period="2026-02", after=None, limit=9)] == ["run_3", "run_1"]


def test_a_run_that_the_process_did_not_survive_is_called_interrupted(runs: Store, url: str) -> None:
    runs.runs.start(run("run_1"))
    runs.runs.start(run("run_2"))
    runs.runs.finish(replace(run("run_2"), status="done", finished_at=NOW, digest="d"))
    disconnect(runs.engine)  # all that the end of a process does
    again = open_store(url)
    assert again.runs.interrupt_running(now=NOW) == 1
    assert again.runs.get("run_1").status == "interrupted"
    assert again.runs.get("run_2").status == "done"
    again.close()


def signal(name: str) -> Signal:
    return Signal(f"sig_{name}", "quota.exhausted", "acme", NOW, {"feature": "tokens", "limit": "1000.000000001"})


def test_a_signal_is_recorded_once_however_often(store: Store) -> None:
    record_signals(store, [signal("a"), signal("b")])
    record_signals(store, [signal("b"), signal("c"), signal("a")])
    recorded = store.signals.after(0, limit=10)
    assert [s.id for s in recorded] == ["sig_a", "sig_b", "sig_c"]
    assert recorded[0].data == {"feature": "tokens", "limit": "1000.000000001"}
    assert recorded[0].raised_at == NOW


def test_reading_on_from_the_last_sequence_sees_each_signal_once(store: Store) -> None:
    record_signals(store, [signal(str(i)) for i in range(10)])
    first = store.signals.after(0, limit=4)
    rest = store.signals.after(first[-1].sequence, limit=100)
    assert [s.id for s in first + rest] == [f"sig_{i}" for i in range(10)]
    assert store.signals.after(store.signals.last_sequence(), limit=1) == []


def test_threads_that_record_at_once_all_succeed(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda i: record_signals(store, [signal(str(i % 20)), signal(f"own-{i}")]), range(80)))
    recorded = store.signals.after(0, limit=1000)
    assert len(recorded) == 20 + 80
    assert [s.sequence for s in recorded] == sorted(s.sequence for s in recorded)
