"""Many threads post the same events while readers look and segments move to the table: each counts once.

Python switches threads a thousand times as often as usual, so that steps that were meant to be one are seen to be two.
"""

import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ingest.errors import Overloaded
from ingest.limits import IngestLimits
from ingest.log import UsageLog
from ingest.verdicts import BatchVerdict
from tests.ingest.events import event, open_log, post, stored

EVENTS, WRITERS, READERS, BATCH = 1_000, 6, 2, 25
SMALL = IngestLimits(segment_bytes=40_000)


@pytest.fixture
def restless() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def write_all(log: UsageLog, chance: random.Random) -> int:
    """Post every event, in an order of its own; how many were called accepted."""
    keys = list(range(EVENTS))
    chance.shuffle(keys)
    accepted = 0
    for first in range(0, EVENTS, BATCH):
        verdict = post_patiently(log, keys[first : first + BATCH])
        assert verdict.accepted + verdict.duplicate == BATCH, verdict
        accepted += verdict.accepted
    return accepted


def post_patiently(log: UsageLog, keys: list[int]) -> BatchVerdict:
    while True:
        try:
            return post(log, [event(key, data={"tokens": 1}) for key in keys])
        except Overloaded:
            time.sleep(0.01)


def read_until(log: UsageLog, is_done: threading.Event) -> int:
    """Look again and again; how often. Each look shows some first events, once each, and never fewer than before."""
    before, looks = 0, 0
    while not is_done.is_set():
        snapshot = log.scan()
        sequences = snapshot.frame.select("sequence", "id").collect()
        assert sequences["sequence"].sort().to_list() == list(range(1, snapshot.last_sequence + 1))
        assert sequences["id"].n_unique() == sequences.height
        assert sequences.height >= before
        before, looks = sequences.height, looks + 1
    return looks


def one_round(directory: Path, seed: int) -> int:
    log, is_done = open_log(directory, limits=SMALL), threading.Event()
    try:
        with ThreadPoolExecutor(WRITERS + READERS) as pool:
            readers = [pool.submit(read_until, log, is_done) for _ in range(READERS)]
            writers = [pool.submit(write_all, log, random.Random(f"{seed} {number}")) for number in range(WRITERS)]
            try:
                accepted = sum(writer.result(60) for writer in writers)
                log.flush()
            finally:
                is_done.set()
            looks = sum(reader.result(60) for reader in readers)
        assert accepted == EVENTS
        assert sorted(map(int, stored(log)["id"])) == list(range(EVENTS))
    finally:
        log.close()
    return looks


@pytest.mark.usefixtures("restless")
def test_many_threads_with_the_same_events_count_each_once(tmp_path: Path) -> None:
    assert sum(one_round(tmp_path / f"{number}", number) for number in range(2)) > 10


@pytest.mark.long
@pytest.mark.usefixtures("restless")
def test_many_rounds_of_many_threads(tmp_path: Path) -> None:
    for number in range(200):
        one_round(tmp_path / f"{number}", number)
