"""How the writer groups what waits, and how the flusher gives way to it."""

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from ingest.journal import read_segment, segment_paths
from ingest.limits import IngestLimits
from ingest.log import UsageLog
from tests.ingest.events import event, json_body, open_log

CLIENTS, POSTS = 8, 25


def post_one_by_one(log: UsageLog, client: int) -> None:
    for number in range(POSTS):
        verdict = log.submit(json_body([event(1_000 * client + number)]), "application/json").result(30)
        assert verdict.accepted == 1


def test_clients_that_send_again_when_they_are_answered_share_their_groups(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    clients = [threading.Thread(target=post_one_by_one, args=(log, number)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(60)
    log.close()
    groups = [record.events for path in segment_paths(tmp_path / "journal") for record in read_segment(path).records]
    assert sum(groups) == CLIENTS * POSTS
    assert len(groups) < CLIENTS * POSTS / 3, groups


def test_a_busy_log_slows_down_and_refuses_nothing_while_the_table_catches_up(tmp_path: Path) -> None:
    limits = IngestLimits(segment_bytes=1, sealed_segments=4, segment_age=timedelta(hours=1))  # a segment a group
    log = open_log(tmp_path, limits=limits)
    for number in range(40):
        assert log.submit(json_body([event(number)]), "application/json").result(30).accepted == 1
        assert log.status()["sealed_segments"] <= 4
    log.close()


def test_a_sealed_segment_waits_for_a_busy_writer_and_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.flusher.YIELD_SECONDS", 1.0)
    log = open_log(tmp_path, limits=IngestLimits(segment_bytes=1, sealed_segments=8, segment_age=timedelta(hours=1)))
    log._writer._share, log._writer._ended_at = 1.0, time.monotonic() + 10  # busy, for longer than that
    log.submit(json_body([event(1)]), "application/json").result(30)
    assert log.status()["table_last_sequence"] == 0
    deadline = time.monotonic() + 6
    while log.status()["table_last_sequence"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    log.close()
