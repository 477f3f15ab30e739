"""What is refused is kept as it came, durably and within bounds, and can be corrected and sent again, once."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import CommitUnknown, DiskFull, NotCommitted
from ingest.limits import IngestLimits
from ingest.log import UsageLog
from ingest.rejections import Rejection, RejectionFilter
from ingest.rejections_replay import merge_patch, replay
from ingest.verdicts import BatchVerdict
from tests.ingest.events import JSON, NOW, RecordingDisk, arrow_body, codes, event, json_body, open_log, post, stored

ALL = RejectionFilter()
CSV, NDJSON, ARROW = "text/csv", "application/x-ndjson", "application/vnd.apache.arrow.stream"


def kept(log: UsageLog, wanted: RejectionFilter = ALL) -> list[Rejection]:
    return log.rejections.page(wanted, limit=1000)


def submit(log: UsageLog, body: bytes, content_type: str = JSON, **options: Any) -> BatchVerdict:
    return log.submit(body, content_type, **options).result(30)


def replayed(log: UsageLog, rejections: list[Rejection], **corrections: Any) -> list[str]:
    patches = {int(number[1:]): json.dumps(patch).encode() for number, patch in corrections.items()}
    return [one.outcome for one in replay(log, rejections, patches, log.limits)]


def test_what_is_refused_is_kept_as_it_came_with_its_reason(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    submit(log, b'[%b, {"id": "x",  "tokens": 1.50}]' % json_body(event(1)), request_id="req-7")
    [rejection] = kept(log)
    assert rejection.body == b'{"id": "x",  "tokens": 1.50}'
    assert (rejection.index, rejection.code, rejection.verdict) == (1, "missing_source", "rejected")
    assert (rejection.request_id, rejection.received_at, rejection.content_type) == ("req-7", NOW, JSON)
    assert (rejection.id, rejection.source, rejection.is_truncated) == ("x", None, False)
    log.close()


def test_a_conflict_is_kept_a_duplicate_is_not(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1)])
    assert codes(post(log, [event(1), event(1, data={"tokens": 6})])) == ["duplicate", "conflict"]
    [rejection] = kept(log)
    assert (rejection.verdict, rejection.code, rejection.subject) == ("conflict", "conflict", "acme")
    log.close()


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        pytest.param(b'{"id": \n%b' % json_body(event(1)), NDJSON, b'{"id": ', id="a broken line"),
        pytest.param(b"id,source\n1,s,2\n", CSV, b"1,s,2", id="a CSV row with too many cells"),
        pytest.param(b"id,source,tokens\n1,,1.50\n", CSV, b'{"id":"1","data":{"tokens":"1.50"}}', id="a CSV row"),
        pytest.param(
            arrow_body({"id": ["1"], "tokens": [Decimal("1.50")], "data": ['{"x": 1.0}']}),
            ARROW,
            b'{"id":"1","data":{"x":1.0,"tokens":1.50}}',
            id="an Arrow row",
        ),
        pytest.param(
            arrow_body({"id": ["1"], "tokens": [1.5]}),
            ARROW,
            b'{"id":"1","data":{"tokens":{"float":"1.5"}}}',
            id="a float never passes for exact digits",
        ),
    ],
)
def test_an_event_is_kept_in_a_form_that_can_be_replayed(
    tmp_path: Path, body: bytes, content_type: str, expected: bytes
) -> None:
    log = open_log(tmp_path)
    submit(log, body, content_type)
    assert [rejection.body for rejection in kept(log)] == [expected]
    log.close()


def test_rejections_are_there_after_a_restart_and_numbers_go_on(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1, subject="")])
    log.close()
    log = open_log(tmp_path)
    post(log, [event(2, subject="")])
    assert [(rejection.sequence, rejection.id) for rejection in kept(log)] == [(1, "1"), (2, "2")]
    log.close()


def test_they_are_filtered_and_paged(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1, subject=""), event(2, time="x", source="a"), event(3, time="x", source="b")])
    assert [r.id for r in kept(log, RejectionFilter(code="invalid_time"))] == ["2", "3"]
    assert [r.id for r in kept(log, RejectionFilter(source="b"))] == ["3"]
    assert kept(log, RejectionFilter(subject="nobody")) == []
    assert [r.id for r in log.rejections.page(ALL, after=1, limit=1)] == ["2"]
    assert set(log.rejections.find([1, 3, 99])) == {1, 3}
    log.close()


def test_a_correction_is_accepted_once_however_often_it_is_replayed(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1, time="soon"), event(2, data={"tokens": "many"})])
    assert replayed(log, kept(log), _1={"time": "2026-10-15T10:00:00Z"}) == ["accepted", "rejected"]
    assert [r.replayed_as for r in kept(log)] == ["accepted", None]
    [left] = kept(log, RejectionFilter(is_replayed=False))
    assert replayed(log, [left], _2={"data": {"tokens": 7.5}}) == ["accepted"]
    assert stored(log)["data_tokens"].to_list() == [5, Decimal("7.5")]
    log.close()
    log = open_log(tmp_path)
    assert [r.replayed_as for r in kept(log)] == ["accepted", "accepted"]
    assert replayed(log, kept(log), _1={"time": "2026-10-15T10:00:00Z"}) == ["duplicate", "rejected"]
    assert stored(log).height == 2
    log.close()


def test_a_body_that_is_no_json_is_refused_again_and_replaced_by_a_correction(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    submit(log, b"nonsense\n", NDJSON)
    assert replayed(log, kept(log)) == ["rejected"]
    assert len(kept(log)) == 1
    assert replayed(log, kept(log), _1=event(1)) == ["accepted"]
    log.close()


def test_an_atomic_batch_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1)])
    bad = submit(log, json_body([event(1), event(2), event(3, time="x")]), is_atomic=True)
    assert codes(bad) == ["duplicate", "not_committed_atomic", "invalid_time"]
    assert bad.is_atomic_refusal
    conflict = submit(log, json_body([event(2), event(1, data={"tokens": 6})]), is_atomic=True)
    assert codes(conflict) == ["not_committed_atomic", "conflict"]
    assert stored(log)["id"].to_list() == ["1"]
    assert kept(log) == []
    good = submit(log, json_body([event(1), event(2)]), is_atomic=True)
    assert (good.accepted, good.duplicate) == (1, 1)
    log.close()


def test_an_atomic_batch_holds_up_no_other(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    bodies = [(json_body([event(n), event(n + 1), *([event("x", time="")] if n % 3 else [])]), n) for n in range(20)]
    futures = [log.submit(body, JSON, is_atomic=n % 2 == 0) for body, n in bodies]
    verdicts = [future.result(30) for future in futures]
    assert sum(verdict.accepted for verdict in verdicts) == stored(log).height
    assert all(v.accepted == 0 for v, (_, n) in zip(verdicts, bodies, strict=True) if n % 2 == 0 and n % 3)
    log.close()


def test_a_long_body_is_cut_and_says_so(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=IngestLimits(rejection_body_bytes=50))
    post(log, [event(1, subject="")])
    [rejection] = kept(log)
    assert (len(rejection.body), rejection.is_truncated) == (50, True)
    assert replayed(log, [rejection]) == ["rejected"]
    log.close()


def test_the_oldest_are_dropped_when_there_is_no_room_and_counted(tmp_path: Path) -> None:
    log = open_log(tmp_path, limits=IngestLimits(rejections_bytes=1 << 20))
    for number in range(60):
        post(log, [event(number, subject="", data={"x": "y" * 50_000})])
    status = log.rejections.status()
    assert status["bytes"] <= 1 << 20
    assert status["dropped"] > 20
    assert status["kept"] + status["dropped"] == 60
    assert kept(log)[-1].id == "59"
    log.close()


def test_the_oldest_are_dropped_when_they_are_too_old(tmp_path: Path) -> None:
    now = [NOW]
    limits = IngestLimits(rejections_bytes=1 << 20, rejections_age=timedelta(days=2))

    def clock() -> datetime:
        return now[0]

    log = open_log(tmp_path, now=clock, limits=limits)
    for number in range(5):
        post(log, [event(number, subject="", data={"x": "y" * 70_000})])
        now[0] += timedelta(days=1)
    assert [rejection.id for rejection in kept(log)] == ["2", "3", "4"]
    log.close()


def test_damage_in_them_never_stops_a_start(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for number in range(3):
        post(log, [event(number, subject="")])
    log.close()
    [path] = (tmp_path / "rejections").iterdir()
    whole = path.read_bytes()
    for size in (0, 10, 48, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        log = open_log(tmp_path)
        assert [rejection.id for rejection in kept(log)] == ["0", "1", "2"][: len(kept(log))]
        post(log, [event("new", subject="")])
        assert kept(log)[-1].id == "new"
        log.close()
        for file in (tmp_path / "rejections").iterdir():
            file.unlink()


def test_a_verdict_that_refuses_waits_for_the_sync_of_what_it_refuses(tmp_path: Path) -> None:
    disk = RecordingDisk()
    log = open_log(tmp_path, disk=disk)
    post(log, [event(1)])
    disk.calls.clear()
    post(log, [event(2, subject="")])
    assert [step for step, _ in disk.calls][-1] == "sync"
    disk.failing["sync"] = 1
    with pytest.raises(CommitUnknown):
        post(log, [event(3, subject="")])
    with pytest.raises(NotCommitted):
        post(log, [event(4)])
    log.close()


def test_a_body_that_cannot_be_told_apart_any_more_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(tmp_path)

    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("ingest.rejections_keeper.originals", broken)
    assert codes(post(log, [event(1, subject="")])) == ["missing_subject"]
    [rejection] = kept(log)
    assert (rejection.body, rejection.is_truncated) == (b"", True)
    assert post(log, [event(2)]).accepted == 1
    log.close()


def test_without_room_for_them_the_answer_is_that_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(tmp_path)

    def full(entries: object) -> None:
        raise DiskFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr(log.rejections, "append", full)
        with pytest.raises(DiskFull):
            post(log, [event(1), event(2, subject="")])
    assert codes(post(log, [event(1), event(2, subject="")])) == ["duplicate", "missing_subject"]
    log.close()


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, None, None),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_is_that_of_rfc_7396(document: object, patch: object, expected: object) -> None:
    assert json.loads(merge_patch(json.dumps(document).encode(), json.dumps(patch).encode())) == expected


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?", fullmatch=True, alphabet="0123456789.-"))
def test_a_merge_patch_keeps_the_digits_of_numbers(number: str) -> None:
    assert merge_patch(b'{"a":0,"b":%b}' % number.encode(), b'{"a":%b}' % number.encode()) == (
        b'{"a":%b,"b":%b}' % (number.encode(), number.encode())
    )


def test_rejections_of_a_release_without_backfills_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest import rejections

    with monkeypatch.context() as before:
        before.setattr(rejections, "ENTRY", pl.Schema({n: t for n, t in rejections.ENTRY.items() if n != "backfill"}))
        before.setattr(rejections, "_complete", lambda frame: frame)
        log = open_log(tmp_path)
        submit(log, json_body([event(1, time="soon")]))
        log.close()
    log = open_log(tmp_path)
    submit(log, json_body([event(2, time="soon")]))
    assert [(one.id, one.backfill) for one in kept(log)] == [("1", None), ("2", None)]
    assert kept(log, RejectionFilter(backfill="bf_1")) == []
    log.close()
