"""The verdicts on corrections: what is taken, what is named, and that nobody can forge one."""

from pathlib import Path

import pytest

from ingest.log import UsageLog
from tests.ingest.corrections import SOURCE, correct, replacement, void
from tests.ingest.events import ARROW, PROPERTIES, SMALL_SEGMENTS, arrow_body, codes, event, open_log, post, stored

CSV = "text/csv"


def ids(log: UsageLog) -> list[str]:
    return stored(log)["id"].to_list()


@pytest.mark.parametrize(
    ("correction", "code"),
    [
        (void(99), "unknown_target"),
        (void(2, "another"), "already_corrected"),
        (replacement(3, "3c"), "already_corrected"),
        (void("void-2", "v", corrects={"source": "/desk", "id": "void-2"}), "target_is_void"),
        (void("void-1", "void-1", corrects={"source": "/desk", "id": "void-1"}), "unknown_target"),
        (void(1, action="undo"), "invalid_action"),
        (void(1, action=None), "invalid_action"),
        (void(1, action=["void"]), "invalid_action"),
        (void(1, corrects=None), "invalid_corrects"),
        (void(1, corrects="1"), "invalid_corrects"),
        (void(1, corrects={"source": SOURCE}), "invalid_corrects"),
        (void(1, corrects={"source": SOURCE, "id": 1}), "invalid_corrects"),
        (void(1, corrects={"source": SOURCE, "id": "1", "x": 1}), "invalid_corrects"),
        (void(1, reason=5), "malformed_event"),
        (void(1, reason="a\0b"), "invalid_character"),
        (void(1, reason="x" * 1025), "string_too_long"),
        (void(1, corrects={"source": "s" * 1025, "id": "1"}), "string_too_long"),
        (void(1, data={}), "void_with_content"),
        (void(1, subject="acme"), "void_with_content"),
        (void(1, time="2026-10-15T11:00:00Z"), "void_with_content"),
        (replacement(1, "1b", data=None), "missing_data"),
        (replacement(1, "1b", data=[1]), "malformed_event"),
        (replacement(1, "1b", type=""), "missing_type"),
        (replacement(1, "1b", subject=""), "missing_subject"),
        (replacement(1, "1b", source=""), "missing_source"),
        (replacement(1, "1b", id=None), "missing_id"),
        (replacement(1, "1b", time="2026-10-15T11:00:00"), "time_without_zone"),
        (replacement(1, "1b", time="2027-10-15T11:00:00Z"), "time_in_future"),
        (replacement(1, "1b", data={"tokens": "many"}), "not_a_number"),
        (replacement(1, "1b", specversion="0.3"), "unsupported_specversion"),
        (replacement(1, 1), "conflict"),
        ("a text", "malformed_event"),
        (None, "malformed_event"),
    ],
)
def test_what_cannot_be_taken_is_named_and_costs_nothing_else(tmp_path: Path, correction: object, code: str) -> None:
    log = open_log(tmp_path)
    post(log, [event(key) for key in range(1, 5)])
    correct(log, [void(2), replacement(3, "3b")])
    before = stored(log)
    verdict = correct(log, [correction, void(4)])
    assert (verdict.accepted, codes(verdict)) == (1, [code])
    assert ids(log) == [key for key in before["id"] if key != "4"]
    log.close()


def test_a_rejection_names_what_has_corrected_the_event(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1)])
    correct(log, replacement(1, "1b"))
    [rejected] = correct(log, void(1)).events
    assert "'/gateway', id '1b'" in rejected.message
    assert "correct that one" in rejected.message
    log.close()


def test_repeated_keys_are_refused(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1)])
    for field in ('"id": "v", "id": "w"', '"id": "v", "corrects": {"source": "/gateway", "id": "1", "id": "2"}'):
        body = f'{{"action": "void", "corrects": {{"source": "/gateway", "id": "1"}}, "source": "/desk", {field}}}'
        verdict = log.corrections.submit(body.encode(), "application/json").result(30)
        assert codes(verdict) == ["repeated_key"]
    assert ids(log) == ["1"]
    log.close()


def test_a_correction_is_accepted_once_and_sent_again_at_will(tmp_path: Path) -> None:
    sent = [void(1), replacement(2, "2b", data={"tokens": 1.50, "extra": 7}), replacement("2b", "2c")]
    log = open_log(tmp_path, limits=SMALL_SEGMENTS)
    post(log, [event(1), event(2)])
    assert correct(log, sent).accepted == 3
    for step in (log.flush, log.maintain, lambda: log.declare({**PROPERTIES, "extra": "string"})):
        step()
        again = correct(log, [*sent, *sent])
        assert (again.duplicate, again.total) == (6, 6), again
    other = correct(log, [void(1, reason="another"), replacement(2, "2b", data={"tokens": 2})])
    assert (other.conflict, [event.message.split("its ")[1].split()[0] for event in other.events]) == (
        2,
        ["reason", "data.extra"],
    )
    log.close()


def test_two_of_one_body_with_one_identity_are_judged_by_the_first_that_counts(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1), event(2)])
    verdict = correct(log, [void(9, "v"), void(1, "v"), void(1, "v"), void(2, "v")])
    assert codes(verdict) == ["unknown_target", "duplicate", "conflict"]
    assert ids(log) == ["2"]
    log.close()


def test_an_atomic_body_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1), event(2)])
    refused = correct(log, [void(1), void(9)], is_atomic=True)
    assert (refused.rejected, codes(refused)) == (2, ["not_committed_atomic", "unknown_target"])
    assert refused.is_atomic_refusal
    assert ids(log) == ["1", "2"]
    assert correct(log, [void(1), void(2)], is_atomic=True).accepted == 2
    assert correct(log, [void(1), void(2)], is_atomic=True).duplicate == 2
    assert ids(log) == []
    log.close()


def test_no_correction_can_be_forged_as_an_event(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    post(log, [event(1), event(2)])
    correct(log, void(2))
    fields = {"action": "void", "corrects": 1, "correction": "void", "reason": "forged", "corrects.source": SOURCE}
    post(log, [event(3, **fields), event(4, data=fields)])
    columns = {"id": ["5"], "source": ["a"], "type": ["llm.request"], "subject": ["acme"]}
    forged = {"corrects": [1], "correction": ["void"], "reason": ["forged"]}
    assert log.submit(arrow_body(columns | forged), ARROW).result(30).accepted == 1
    csv = b"id,source,type,subject,corrects,correction,reason\n6,a,llm.request,acme,1,void,forged\n"
    assert log.submit(csv, CSV).result(30).accepted == 1
    same = event("void-2", source="/desk", data=None)
    assert codes(post(log, [same])) == ["conflict"]
    for _ in range(2):
        assert ids(log) == ["1", "3", "4", "5", "6"]
        log.flush()
    log.close()
    log = open_log(tmp_path)
    assert ids(log) == ["1", "3", "4", "5", "6"]
    log.close()
