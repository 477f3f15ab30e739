"""The log as its callers see it: verdicts, duplicates for ever, snapshots, declarations, limits."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from ingest.errors import DataDirectoryLocked, NotCommitted, Overloaded, PropertyConflict
from ingest.limits import IngestLimits
from ingest.log import UsageLog
from rating.core.schema import numbered_usage_schema
from tests.ingest.events import (
    ARROW,
    NOW,
    PROPERTIES,
    SMALL_SEGMENTS,
    arrow_body,
    codes,
    event,
    json_body,
    open_log,
    post,
    stored,
)


@pytest.fixture
def log(tmp_path: Path):  # type: ignore[no-untyped-def]  # a generator of UsageLog
    log = open_log(tmp_path)
    yield log
    log.close()


def counts(log: UsageLog, events: list[object]) -> tuple[int, int, int, int]:
    verdict = post(log, events)
    return verdict.accepted, verdict.duplicate, verdict.conflict, verdict.rejected


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"id": None}, "missing_id"),
        ({"id": ""}, "missing_id"),
        ({"source": None}, "missing_source"),
        ({"type": ""}, "missing_type"),
        ({"subject": None}, "missing_subject"),
        ({"time": "2026-10-15T13:00:00.000001Z"}, "time_in_future"),
        ({"subject": "x" * 1025}, "string_too_long"),
        ({"data": {"model": "é" * 513}}, "string_too_long"),
        ({"data": {"other": "x" * 65536}}, "string_too_long"),
        ({"data": {"tokens": "1e400"}}, "number_out_of_range"),
        ({"time": "2026-10-15T12:00:00"}, "time_without_zone"),
    ],
)
def test_a_bad_event_gets_its_code_and_the_others_are_kept(log: UsageLog, changes: dict[str, Any], code: str) -> None:
    verdict = post(log, [event(1), event(2) | changes, event(3)])
    assert (verdict.accepted, verdict.rejected, verdict.total) == (2, 1, 3)
    assert [(item.index, item.code) for item in verdict.events] == [(1, code)]
    assert stored(log)["id"].to_list() == ["1", "3"]


def test_the_edges_of_what_is_accepted(log: UsageLog) -> None:
    on_the_edge = event(1, time="2026-10-15T13:00:00Z", subject="x" * 1024, data={"tokens": 10**15})
    assert counts(log, [on_the_edge, event(2, time="0001-01-01T00:00:00Z")]) == (2, 0, 0, 0)


def test_an_event_without_time_happened_when_it_was_received(log: UsageLog) -> None:
    post(log, [event(1, time=None)])
    assert stored(log).select("time", "received_at").row(0) == (NOW, NOW)


def test_an_empty_batch_is_answered(log: UsageLog) -> None:
    assert counts(log, []) == (0, 0, 0, 0)


def test_the_columns_are_those_of_the_schema_before_and_behind_the_table(log: UsageLog) -> None:
    assert stored(log).schema == numbered_usage_schema(PROPERTIES)
    post(log, [event(1)])
    assert stored(log).schema == numbered_usage_schema(PROPERTIES)
    log.flush()
    assert stored(log).schema == numbered_usage_schema(PROPERTIES)


SAME_EVENT = [
    pytest.param(json_body([event(1, data={"tokens": 5.0, "model": "gpt-4o"})]), "application/json", id="5.0 for 5"),
    pytest.param(json_body(event(1)).replace(b": ", b" :\n  "), "application/cloudevents+json", id="white space"),
    pytest.param(json_body([event(1, time="2026-10-15T13:00:00+02:00")]), "application/json", id="another zone"),
    pytest.param(
        json_body([event(1, data={"model": "gpt-4o", "tokens": "5"})]), "application/json", id="text, other order"
    ),
    pytest.param(
        arrow_body(
            {
                **{
                    name: [value]
                    for name, value in event(1).items()
                    if name in ("source", "id", "type", "subject", "time")
                },
                "tokens": pa.array([5], pa.int32()),
                "model": ["gpt-4o"],
            }
        ),
        ARROW,
        id="as Arrow",
    ),
]


@pytest.mark.parametrize(("body", "content_type"), SAME_EVENT)
@pytest.mark.parametrize("between", ["nothing", "flush", "restart", "flush and restart"])
def test_the_same_event_is_a_duplicate_however_it_comes(
    tmp_path: Path, body: bytes, content_type: str, between: str
) -> None:
    log = open_log(tmp_path)
    post(log, [event(1), event(2)])
    if "flush" in between:
        log.flush()
    if "restart" in between:
        log.close()
        log = open_log(tmp_path)
    assert codes(log.submit(body, content_type).result(30)) == ["duplicate"]
    assert stored(log)["sequence"].to_list() == [1, 2]
    log.close()


ANOTHER_BODY = [
    ({"type": "other"}, "type"),
    ({"subject": "other"}, "subject"),
    ({"time": "2026-10-14T11:00:00Z"}, "time"),
    ({"time": "2026-10-15T11:00:01Z"}, "time"),
    ({"time": None}, "time"),
    ({"data": {"tokens": 6, "model": "gpt-4o", "n": 1}}, "data.tokens"),
    ({"data": {"tokens": 5, "model": "gpt-4o", "n": True}}, "data.n"),
    ({"data": {"tokens": 5, "model": "gpt-4o"}}, "data.n"),
    ({"data": {"tokens": 5, "model": "gpt-4o", "n": 1, "m": 0}}, "data.m"),
]


@pytest.mark.parametrize(("changes", "named"), ANOTHER_BODY)
@pytest.mark.parametrize("is_flushed", [False, True])
def test_another_body_under_a_known_identity_is_a_conflict(
    log: UsageLog, changes: dict[str, Any], named: str, is_flushed: bool
) -> None:
    first = event(1, data={"tokens": 5, "model": "gpt-4o", "n": 1})
    post(log, [first])
    if is_flushed:
        log.flush()
    verdict = post(
        log, [{**first, **changes} if changes != {"time": None} else event(1, time=None, data=first["data"])]
    )
    assert codes(verdict) == ["conflict"]
    assert f"its {named} is another" in verdict.events[0].message
    assert stored(log).height == 1


def test_repetitions_within_a_batch_are_judged_by_its_first(log: UsageLog) -> None:
    batch = [
        event(1),
        event(2),
        event(1),
        event(1, subject="other"),
        event(2, data={"model": "gpt-4o", "tokens": "5.0"}),
    ]
    verdict = post(log, batch)
    assert [(item.index, item.code) for item in verdict.events] == [(2, "duplicate"), (3, "conflict"), (4, "duplicate")]
    assert stored(log)["id"].to_list() == ["1", "2"]


def test_identities_are_pairs_and_not_joined_text(log: UsageLog) -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("a/b", "c"), ("a", "b/c")]
    assert counts(log, [event(key, source=source) for source, key in pairs]) == (4, 0, 0, 0)


def test_an_event_that_was_sent_without_time_is_a_duplicate_later(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1, time=None)])
    log.flush()
    log.close()
    log = open_log(tmp_path, now=lambda: NOW + timedelta(days=40))
    assert codes(post(log, [event(1, time=None)])) == ["duplicate"]
    assert codes(post(log, [event(1, time=None, subject="other")])) == ["conflict"]
    log.close()


def test_submitters_at_once_get_each_event_accepted_once(log: UsageLog) -> None:
    def send(_: int) -> int:
        return sum(post(log, [event(key) for key in range(start, start + 20)]).accepted for start in range(0, 200, 10))

    with ThreadPoolExecutor(8) as pool:
        accepted = sum(pool.map(send, range(8)))
    assert accepted == 210
    assert stored(log)["sequence"].to_list() == list(range(1, 211))
    assert stored(log)["id"].n_unique() == 210


def test_on_admitted_sees_each_new_event_once_before_its_verdict(tmp_path: Path) -> None:
    seen: list[str] = []
    log = open_log(tmp_path, on_admitted=lambda frame: seen.extend(frame["id"]))
    post(log, [event(1), event(1), event(2, subject=None), event(3)])
    assert seen == ["1", "3"]
    post(log, [event(1), event(4)])
    assert seen == ["1", "3", "4"]
    log.close()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, ["1", "2", "3", "4"]),
        ("2026-10-01", "2026-10-02", ["2", "3"]),
        ("2026-10-01", None, ["2", "3", "4"]),
        (None, "2026-10-01", ["1"]),
        ("2026-10-03", "2026-10-04", []),
    ],
)
@pytest.mark.parametrize("flushes", [0, 2, 4])
def test_a_scan_is_half_open_on_time(
    tmp_path: Path, start: str | None, end: str | None, expected: list[str], flushes: int
) -> None:
    times = [
        "2026-09-30T23:59:59.999999Z",
        "2026-10-01T00:00:00Z",
        "2026-10-01T23:59:59.999999Z",
        "2026-10-02T00:00:00Z",
    ]
    log = open_log(tmp_path)
    for key, time in enumerate(times, start=1):
        post(log, [event(key, time=time)])
        if key == flushes:
            log.flush()
    bounds = {
        name: datetime.fromisoformat(text).replace(tzinfo=UTC)
        for name, text in [("start", start), ("end", end)]
        if text
    }
    assert stored(log, **bounds)["id"].to_list() == expected
    log.close()


def test_a_snapshot_stays_as_it_was(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1)])
    log.flush()
    post(log, [event(2)])
    snapshot = log.scan()
    post(log, [event(3)])
    log.flush()
    post(log, [event(4)])
    assert (snapshot.table_version, snapshot.last_sequence) == (1, 2)
    assert snapshot.frame.collect()["id"].sort().to_list() == ["1", "2"]
    log.close()


def test_readers_see_a_growing_whole_while_segments_move(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=SMALL_SEGMENTS)
    seen: list[tuple[int, int]] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            snapshot = log.scan()
            seen.append((snapshot.last_sequence, snapshot.frame.select(pl.len()).collect().item()))

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for key in range(25):
            while True:
                try:
                    post(log, [event(f"{key}-{part}") for part in range(4)])
                    break
                except Overloaded:
                    log.flush()
        stop.set()
        for reader in readers:
            reader.result(30)
    assert all(height == last for last, height in seen)
    assert stored(log).height == 100
    log.close()


def test_other_engines_read_the_table(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1, data={"tokens": "0.000000001"}), event(2, data={"tokens": 10**15})])
    log.flush()
    log.close()
    expected = Decimal("1000000000000000.000000001")
    assert pl.scan_delta(str(tmp_path / "usage")).select(pl.col("data_tokens").sum()).collect().item() == expected
    query = "select sum(data_tokens), epoch_us(max(time)) from read_parquet(?, hive_partitioning = false)"
    total = duckdb.connect().execute(query, [str(tmp_path / "usage" / "**" / "*.parquet")]).fetchone()
    assert total is not None
    assert total[0] == expected


LATER = PROPERTIES | {"region": "string", "size": "number", "tier": "number"}
LATER_DATA = {"tokens": 5, "region": "eu", "size": 0.123456789, "tier": "gold", "rest": [1.50]}


@pytest.mark.parametrize("between", ["nothing", "flush", "restart", "flush and restart", "flush after"])
def test_a_property_that_is_declared_later_counts_earlier_events(tmp_path: Path, between: str) -> None:
    log = open_log(tmp_path)
    post(log, [event(1, data=LATER_DATA), event(2, data=None)])
    if between.startswith("flush") and between != "flush after":
        log.flush()
    if "restart" in between:
        log.close()
        log = open_log(tmp_path, properties=LATER)
    else:
        log.declare(LATER)
    assert codes(post(log, [event(1, data=LATER_DATA)])) == ["not_a_number"]
    assert counts(log, [event(3, data=LATER_DATA | {"tier": 2}), event(2, data=None)]) == (1, 1, 0, 0)
    if between == "flush after":
        log.flush()
    frame = stored(log)
    assert frame.schema == numbered_usage_schema(LATER)
    assert frame["data_region"].to_list() == ["eu", None, "eu"]
    assert frame["data_size"].to_list() == [Decimal("0.123456789"), None, Decimal("0.123456789")]
    assert frame["data_tier"].to_list() == [None, None, 2]  # "gold" is no number: it stays in data
    assert '"tier":"gold"' in frame["data"][0]
    assert log.scan().frame.select(pl.col("data_size").sum()).collect().item() == Decimal("0.246913578")
    log.flush()
    assert stored(log).equals(frame)
    log.close()


@pytest.mark.parametrize("is_flushed", [False, True])
def test_a_resend_after_a_declaration_is_still_a_duplicate(log: UsageLog, is_flushed: bool) -> None:
    data = {"tokens": 5, "region": 1.50, "size": "1e2"}
    post(log, [event(1, data=data)])
    if is_flushed:
        log.flush()
    log.declare(LATER)
    again = data | {"size": 100}
    assert counts(log, [event(1, data=data), event(1, data=again), event(1, data=data | {"size": 101})]) == (0, 2, 1, 0)


def test_a_property_that_is_declared_no_more_keeps_its_column(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1)])
    log.flush()
    log.declare({"tokens": "number"})
    assert stored(log).schema == numbered_usage_schema({"tokens": "number"})
    post(log, [event(2, data={"tokens": 1, "model": "x"})])
    log.flush()
    log.close()
    log = open_log(tmp_path)
    assert stored(log)["data_model"].to_list() == ["gpt-4o", "x"]
    log.close()


@pytest.mark.parametrize("properties", [{"tokens": "string"}, {"Tokens": "number"}])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_property_cannot_change_its_type_or_spelling(tmp_path: Path, properties: Any, is_restarted: bool) -> None:
    log = open_log(tmp_path)
    post(log, [event(1)])
    if not is_restarted:
        with pytest.raises(PropertyConflict):
            log.declare(properties)
    log.close()
    if is_restarted:
        with pytest.raises(PropertyConflict):
            open_log(tmp_path, properties=properties)


def test_a_second_owner_is_told_who_is_the_first(tmp_path: Path) -> None:
    log = open_log(tmp_path, holder={"url": "http://127.0.0.1:8000"})
    with pytest.raises(DataDirectoryLocked, match="8000") as refused:
        open_log(tmp_path)
    assert refused.value.holder["url"] == "http://127.0.0.1:8000"
    assert refused.value.holder["pid"].isdigit()
    log.close()
    open_log(tmp_path).close()


def test_a_full_queue_is_refused_with_a_time_to_wait(tmp_path: Path) -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold(_: pl.DataFrame) -> None:
        entered.set()
        assert gate.wait(30)

    log = open_log(tmp_path, limits=IngestLimits(waiting_batches=2), on_admitted=hold)
    first = log.submit(json_body(event(0)), "application/json")
    assert entered.wait(30)
    waiting = [log.submit(json_body(event(key)), "application/json") for key in (1, 2)]
    with pytest.raises(Overloaded) as refused:
        log.submit(json_body(event(3)), "application/json")
    assert refused.value.retry_after_seconds == 1
    gate.set()
    assert [future.result(30).accepted for future in (first, *waiting)] == [1, 1, 1]
    log.close()


def test_a_closed_log_takes_nothing_and_has_kept_what_waited(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    futures = [log.submit(json_body(event(key)), "application/json") for key in range(50)]
    log.close()
    assert [future.result(0).accepted for future in futures] == [1] * 50
    with pytest.raises(NotCommitted):
        log.submit(json_body(event(51)), "application/json")


def test_old_segments_go_to_the_table_by_themselves(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=IngestLimits(segment_age=timedelta(milliseconds=20)))
    post(log, [event(1)])
    deadline = threading.Event()
    for _ in range(500):
        if log.status()["table_last_sequence"] == 1:
            break
        deadline.wait(0.01)
    assert log.status() | {"table_version": 1, "events_behind_table": 0, "failure": None} == log.status()
    assert not list((tmp_path / "journal").iterdir())
    log.close()


def test_a_caller_who_went_away_does_not_stop_the_others(tmp_path: Path) -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold(_: pl.DataFrame) -> None:
        entered.set()
        assert gate.wait(30)

    log = open_log(tmp_path, on_admitted=hold)
    futures = [log.submit(json_body(event(0)), "application/json")]
    assert entered.wait(30)
    futures += [log.submit(json_body(event(key)), "application/json") for key in (1, 2)]
    assert futures[1].cancel()
    assert not futures[0].cancel()
    gate.set()
    assert [futures[place].result(30).accepted for place in (0, 2)] == [1, 1]
    assert stored(log)["id"].to_list() == ["0", "2"]
    log.close()


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.close()
    log.close()
