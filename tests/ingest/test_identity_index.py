"""The index of identities against a plain dictionary: in memory, in runs, while they are merged, on a failing disk."""

import errno
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import DiskFull
from ingest.identity_index import filter as bits
from ingest.identity_index import open_index
from ingest.identity_index.index import IdentityIndex
from ingest.identity_index.merge import FAN_IN, due
from ingest.identity_index.recent import RecentIdentities
from ingest.identity_index.records import Records, in_order
from ingest.identity_index.run import ROWS, Coverage, open_run, write_run
from ingest.log import UsageLog
from rating.disk import AppendFile, Disk
from tests.ingest.events import RecordingDisk, event, open_log, post, stored
from tests.ingest.identities import Pair, add_all, arrays, assert_known, assert_unknown, new_index, random_records


def settle_again(index: IdentityIndex) -> None:
    """Wait for an index whose disk is sound again; the failure is there until the next try."""
    while True:
        try:
            index.settle()
            return
        except OSError:
            time.sleep(0.01)


HALF = st.one_of(st.integers(0, 3), st.sampled_from([2**63, 2**64 - 1]))
PAIRS = st.lists(st.tuples(HALF, HALF), max_size=12)


@given(st.lists(st.tuples(PAIRS, st.booleans()), max_size=8), PAIRS)
def test_the_index_knows_what_was_added_and_nothing_else(
    groups: list[tuple[list[Pair], bool]], asked: list[Pair]
) -> None:
    model: dict[Pair, int] = {}
    with TemporaryDirectory() as directory:
        index = new_index(Path(directory), recent_events=3)
        for group, is_settled in groups:
            new = [pair for pair in dict.fromkeys(group) if pair not in model]
            fingerprints = np.arange(len(model) + 1, len(model) + 1 + len(new))
            index.add(arrays(new), fingerprints)
            model.update(zip(new, fingerprints.tolist(), strict=True))
            if is_settled:
                index.settle()
        known, fingerprint = index.lookup(arrays(asked))
        everything, all_fingerprints = index.lookup(arrays(list(model)))
        index.close()
    assert known.tolist() == [pair in model for pair in asked]
    assert fingerprint.tolist() == [model.get(pair, 0) for pair in asked]
    assert everything.all()
    assert all_fingerprints.tolist() == list(model.values())
    assert len(index) == len(model) == index.last_sequence


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[IdentityIndex, Records]]:
    """300,000 identities: some in memory, most in runs of several sizes."""
    index, records = new_index(tmp_path_factory.mktemp("large"), recent_events=1 << 13), random_records(300_000, 1)
    add_all(index, records, 1_700)
    index.settle()
    yield index, records
    index.close()


def test_many_identities_are_known_wherever_they_are(large: tuple[IdentityIndex, Records]) -> None:
    index, records = large
    assert_known(index, records)
    assert_known(index, records[::-997])
    assert len(index) == len(records)
    runs = list(index._directory.glob("*.run"))
    assert 3 <= len(runs) < 10


@pytest.mark.parametrize(
    ("high", "low"),
    [
        pytest.param(
            lambda r: r.high, lambda r: r.low ^ np.uint64(1 << 63), id="only the last bit of the low half differs"
        ),
        pytest.param(lambda r: r.high, lambda r: r.low + np.uint64(1), id="the same high half"),
        pytest.param(
            lambda r: r.high ^ np.uint64(1), lambda r: r.low, id="the same bits in the same word of the filter"
        ),
        pytest.param(lambda r: r.high - np.uint64(1), lambda r: r.low, id="the high half just below"),
        pytest.param(lambda r: r.low, lambda r: r.high, id="the halves exchanged"),
        pytest.param(lambda r: r.high[::-1], lambda r: r.low, id="halves of two that are known"),
        pytest.param(lambda r: r.high * np.uint64(3), lambda r: r.low * np.uint64(5), id="strangers"),
    ],
)
def test_nothing_else_is_known_however_near(large: tuple[IdentityIndex, Records], high, low) -> None:  # type: ignore[no-untyped-def]  # lambdas
    index, records = large
    assert_unknown(index, high(records), low(records))


def test_known_and_unknown_are_told_apart_in_one_call(large: tuple[IdentityIndex, Records]) -> None:
    index, records = large
    some, strangers = records[::7], random_records(5_000, 2)
    both = np.random.default_rng(3).permutation(len(some) + len(strangers))
    known, fingerprint = index.lookup(
        (np.concatenate([some.high, strangers.high])[both], np.concatenate([some.low, strangers.low])[both])
    )
    assert (known == (both < len(some))).all()
    assert (fingerprint[known] == some.fingerprint[both[known]]).all()


@pytest.mark.parametrize("same", [ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 5])
def test_identities_that_share_a_high_half_are_told_apart_over_blocks(tmp_path: Path, same: int) -> None:
    around = random_records(ROWS // 2, 4)
    high = np.concatenate([around.high, np.full(same, 2**63, np.uint64)])
    low = np.concatenate([around.low, np.arange(same, dtype=np.uint64)])
    records = Records(high, low, np.arange(len(high)))
    coverage = Coverage(3, 4, 1, len(records), len(records))
    write_run(Disk(), tmp_path / coverage.name, coverage, [in_order(records)])
    run = open_run(tmp_path / coverage.name)
    rows, fingerprint = run.find(records, bits.first_masks(records.low))
    assert sorted(rows.tolist()) == list(range(len(records)))
    assert (fingerprint == rows).all()
    strangers = Records(high, low + np.uint64(same), records.fingerprint)
    assert not len(run.find(strangers, bits.first_masks(strangers.low))[0])


def test_a_table_in_memory_finds_identities_that_all_begin_at_one_slot() -> None:
    table = RecentIdentities(1, 4_000)
    records = random_records(4_000, 5)
    first_slots = table._first_slots(records)
    crowd = records[np.isin(first_slots, first_slots[:1])]
    records = Records(np.full(3_000, 7, np.uint64), np.arange(3_000, dtype=np.uint64), np.arange(3_000))
    table.add(records, 3_000)
    table.add(crowd, 3_000 + len(crowd))
    assert sorted(table.find(records)[0].tolist()) == list(range(3_000))
    assert len(table.find(crowd)[0]) == len(crowd)
    assert not len(table.find(Records(records.high, records.low + np.uint64(9_000), records.fingerprint))[0])
    assert not len(table.find(Records(records.low, records.high + np.uint64(9_000), records.fingerprint))[0])


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=300), st.integers(1, 5))
def test_a_filter_lets_everything_through_that_was_put_in(highs: list[int], cut: int) -> None:
    high = np.array(sorted(highs), np.uint64)
    low = high * np.uint64(0x9E3779B97F4A7C15)
    words = bits.empty_filter(len(high))
    for at in range(0, len(high), cut):
        bits.set_bits(words, high[at : at + cut], low[at : at + cut])
    assert bits.passing(words, high, low, bits.first_masks(low)).tolist() == list(range(len(high)))


def test_a_filter_stops_nearly_all_others() -> None:
    records, others = in_order(random_records(200_000, 6)), random_records(1_000_000, 7)
    words = bits.empty_filter(len(records))
    bits.set_bits(words, records.high, records.low)
    assert len(bits.passing(words, others.high, others.low, bits.first_masks(others.low))) < 150


@given(st.integers(1, 3_000), st.integers(1, 50))
def test_runs_stay_few_and_identities_are_merged_seldom(groups: int, smallest: int) -> None:
    runs: list[tuple[int, int]] = []  # identities, and how often the most merged of them was merged
    for _ in range(groups):
        runs.append((smallest, 0))
        while (window := due([count for count, _ in runs], smallest)) is not None:
            merged = runs[window]
            runs[window] = [(sum(count for count, _ in merged), 1 + max(times for _, times in merged))]
    levels = len(np.base_repr(groups, FAN_IN))
    assert len(runs) <= 3 * levels
    assert max(times for _, times in runs) < levels


@given(st.integers(1, 400), st.integers(1, 14))
def test_merges_that_have_waited_leave_no_run_alone_between_larger_ones(tables: int, at_once: int) -> None:
    counts: list[int] = []
    for _ in range(0, tables, at_once):
        counts += [100] * at_once
        while (window := due(counts, 100)) is not None:
            counts[window] = [sum(counts[window])]
        assert counts == sorted(counts, reverse=True)
        assert all(counts.count(count) < FAN_IN for count in counts)


@given(st.lists(st.integers(0, 10**9), max_size=60))
def test_runs_stay_few_whatever_their_sizes(counts: list[int]) -> None:
    for _ in range(60):
        if (window := due(counts, 1000)) is not None:
            counts[window] = [sum(counts[window])]
    assert due(counts, 1000) is None
    assert len(counts) <= 20


def _wait_for_runs(directory: Path, wanted: int) -> None:
    until = time.monotonic() + 30
    while len(list(directory.glob("*.run"))) != wanted:
        assert time.monotonic() < until, f"{wanted} runs were expected: {sorted(directory.iterdir())}"
        time.sleep(0.01)


def test_merges_give_way_to_ingest_until_there_are_too_many_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.identity_index.index.RUNS_WHILE_BUSY_MAX", 6)
    monkeypatch.setattr("ingest.identity_index.index.YIELD_SECONDS", 0.01)
    is_busy = True
    index, records = new_index(tmp_path, 100), random_records(801, 12)
    index.give_way(lambda: is_busy)
    add_all(index, records[:601], 100)  # a table of 100 is written when the first of the next comes
    _wait_for_runs(tmp_path, 6)
    time.sleep(0.1)
    _wait_for_runs(tmp_path, 6)  # four of a size are there to merge, but ingest is busy
    assert_known(index, records[:601])
    add_all(index, records[601:701], 100)
    _wait_for_runs(tmp_path, 4)  # seven are too many: four of them became one, and three are left
    add_all(index, records[701:801], 100)
    _wait_for_runs(tmp_path, 5)
    is_busy = False
    index.settle()
    _wait_for_runs(tmp_path, 2)  # of 400 each
    assert_known(index, records[:801])
    index.close()


def test_an_index_whose_merge_gives_way_ends_at_once(tmp_path: Path) -> None:
    index, records = new_index(tmp_path, 100), random_records(501, 13)
    index.give_way(lambda: True)
    add_all(index, records, 100)
    begun = time.monotonic()
    index.close()
    assert time.monotonic() - begun < 10
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("step", ["create", "append", "sync", "rename", "sync_directory", "unlink"])
@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_failing_disk_changes_no_answer_and_is_tried_again(
    tmp_path: Path, step: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.identity_index.index.RETRY_SECONDS", 0.01)
    disk = RecordingDisk()
    index, records = new_index(tmp_path, 300, disk), random_records(2_000, 8)
    disk.failing[step] = number
    add_all(index, records, 100)
    assert_known(index, records)
    with pytest.raises(OSError, match="injected"):
        index.settle()
    disk.failing.clear()
    settle_again(index)
    assert_known(index, records)
    assert_unknown(index, records.low, records.high)
    index.close()
    assert len(list(tmp_path.glob("*.run"))) <= 4
    assert sum(len(open_run(path)) for path in tmp_path.glob("*.run")) == 1_800  # of the 2,000, 200 are in memory


def test_memory_is_bounded_while_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.identity_index.index.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("ingest.identity_index.index.WAIT_SECONDS", 0.05)
    disk = RecordingDisk()
    index, records = new_index(tmp_path, 100, disk), random_records(1_000, 9)
    disk.failing["create"] = 1
    add_all(index, records, 100)
    with pytest.raises(OSError, match="injected"):
        index.lookup((records.high, records.low))
    disk.failing.clear()
    monkeypatch.setattr("ingest.identity_index.index.WAIT_SECONDS", 30.0)
    assert_known(index, records)
    index.close()


def test_a_full_disk_is_told_at_once_and_heals_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.identity_index.index.RETRY_SECONDS", 0.01)
    disk = RecordingDisk(code=errno.ENOSPC)
    index, records = new_index(tmp_path, 100, disk), random_records(1_000, 9)
    disk.failing["create"] = 1
    add_all(index, records, 100)
    for _ in range(2):
        with pytest.raises(DiskFull, match="index of identities finds no room"):
            index.lookup((records.high, records.low))
    disk.failing.clear()
    settle_again(index)
    assert_known(index, records)
    index.close()


class FullForRuns(Disk):
    """A disk that has no room for the index of identities, while `is_full`."""

    is_full = False

    def create(self, path: Path) -> AppendFile:
        if self.is_full and path.name.endswith(".run.tmp"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return super().create(path)


def _post_until_refused(log: UsageLog, accepted: list[str]) -> None:
    while len(accepted) < 100:
        post(log, [event(len(accepted))])
        accepted.append(str(len(accepted)))


def test_a_log_whose_index_finds_no_room_refuses_and_takes_events_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.log.open_index", partial(open_index, recent_events=2))
    disk = FullForRuns()
    log = open_log(tmp_path, disk=disk)
    disk.is_full = True
    accepted: list[str] = []
    with pytest.raises(DiskFull):
        _post_until_refused(log, accepted)
    assert 16 <= len(accepted) <= 18  # eight tables of two wait, one takes more
    disk.is_full = False
    freed = time.monotonic()
    while len(accepted) < 30:
        with suppress(DiskFull):
            post(log, [event(len(accepted))])
            accepted.append(str(len(accepted)))
        assert time.monotonic() - freed < 10
    assert post(log, [event(key) for key in range(30)]).duplicate == 30
    assert stored(log)["id"].to_list() == accepted
    assert log.status()["failure"] is None
    log.close()


def test_memory_is_accounted_for(large: tuple[IdentityIndex, Records]) -> None:
    index, _ = large
    table, filters = (24 + 4 * 4 + 4) * (1 << 13), 4 * 300_000
    assert table + 0.9 * filters < index.memory_bytes < table + 1.3 * filters
