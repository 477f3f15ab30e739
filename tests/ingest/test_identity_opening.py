"""The index of identities is a cache: whatever of it is lost, damaged, foreign or half done, it answers the same."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from ingest.identity_index import IdentityIndex, open_index
from ingest.identity_index.run import BLOCK, RunDamaged, open_run
from ingest.repair import repair_log
from ingest.usage_table import UsageTable
from rating.disk import Disk
from tests.ingest.events import NOW, RecordingDisk, codes, event, open_log, post, stored
from tests.ingest.identities import (
    RECENT,
    add_all,
    assert_holds,
    assert_known,
    opened,
    stored_events,
    stored_records,
    usage_table,
)

TABLE, ALL = 6_300, 7_000  # events in the usage table; these and those behind it
TAIL = (stored_events(TABLE + 1, TABLE + 300).sort("sequence"), stored_events(TABLE + 301, ALL).sort("sequence"))


def grow(directory: Path, last_sequence: int = ALL, disk: Disk | None = None) -> None:
    """Leave an index as ingest leaves it: runs of several sizes, and the rest in memory."""
    UsageTable(directory / "usage", disk=Disk())
    index = opened_empty(directory, disk)
    add_all(index, stored_records(1, last_sequence, index.seeds), 130)
    index.settle()
    index.close()


def opened_empty(directory: Path, disk: Disk | None):  # type: ignore[no-untyped-def]  # an IdentityIndex
    table = UsageTable(directory / "none", disk=Disk())
    return open_index(disk or Disk(), directory / "identities", table, [], recent_events=RECENT)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with table and index; tests copy it."""
    directory = tmp_path_factory.mktemp("grown")
    usage_table(directory, TABLE, per_commit=900)
    grow(directory)
    assert len(runs_of(directory)) >= 3
    return directory


@pytest.fixture
def data(grown: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(grown, tmp_path / "data"))


def runs_of(directory: Path) -> list[Path]:
    return sorted((directory / "identities").glob("*.run"))


def assert_answers(directory: Path, last_sequence: int = ALL, tail: Sequence[pl.DataFrame] = TAIL) -> None:
    """Whoever opens the index now gets every answer right, and so does the next one."""
    for _ in range(2):
        index = opened(directory, *tail)
        assert_holds(index, last_sequence)
        index.settle()
        index.close()
    covered = [open_run(path).coverage for path in runs_of(directory)]
    assert covered[0].first_sequence == 1
    assert all(one.last_sequence + 1 == next_.first_sequence for one, next_ in pairwise(covered))
    assert not list((directory / "identities").glob("*.tmp"))
    assert not list((directory / "identities").glob("*.part"))


def test_opening_what_is_whole_reads_only_what_came_after_it(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    identities = UsageTable.identities

    def noted(table: UsageTable, first: int, last: int) -> Iterator[pl.DataFrame]:
        asked.append((first, last))
        return identities(table, first, last)

    monkeypatch.setattr(UsageTable, "identities", noted)
    before = {path.name: path.stat().st_mtime_ns for path in runs_of(data)}
    index = opened(data, *TAIL)
    assert_holds(index, ALL)
    index.close()
    assert not asked  # the last run reaches into what is behind the table
    assert {path.name: path.stat().st_mtime_ns for path in runs_of(data)} == before
    usage_table(data, ALL + 200, per_commit=1_000)
    index = opened(data)
    assert_holds(index, ALL + 200)
    index.close()
    assert asked == [(6_501, ALL + 200)]  # the newest 500 were in memory only


def test_without_any_file_the_index_is_made_from_the_table(data: Path) -> None:
    shutil.rmtree(data / "identities")
    assert_answers(data)


def test_without_table_and_files_the_index_is_empty(tmp_path: Path) -> None:
    index = opened(tmp_path)
    assert_holds(index, 0)
    index.close()


@pytest.mark.parametrize("number", [0, 1, -1])
def test_without_one_run_it_is_made_again(data: Path, number: int) -> None:
    runs_of(data)[number].unlink()
    assert_answers(data)


def test_without_its_secret_the_index_is_made_under_a_new_one(data: Path) -> None:
    before = (data / "identities" / "secret").read_bytes()
    (data / "identities" / "secret").unlink()
    assert_answers(data)
    assert (data / "identities" / "secret").read_bytes() != before


@pytest.mark.parametrize("at", [0, 7, 8, 15, 23, 24, 31])
def test_a_damaged_secret_is_replaced(data: Path, at: int) -> None:
    flip(data / "identities" / "secret", at)
    assert_answers(data)


def test_runs_under_the_secret_of_another_directory_are_not_used(data: Path, tmp_path: Path) -> None:
    usage_table(tmp_path / "other", TABLE, per_commit=900)
    grow(tmp_path / "other")
    for path in runs_of(tmp_path / "other"):
        shutil.copy(path, data / "identities" / path.name)
    assert_answers(data)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


HEADER = [0, 8, 12, 16, 24, 32, 40, 48, 56, 64, 100, BLOCK - 9, BLOCK - 8, BLOCK - 1]
OUTSIDE = {f"byte {at} of the header": partial(flip, at=at) for at in HEADER} | {
    "the first fence": lambda path: flip(path, tail_of(path)),
    "the last byte of the fences": lambda path: flip(path, tail_of(path) + 8 * open_run(path).coverage.blocks - 1),
    "the first byte of the filter": lambda path: flip(path, tail_of(path) + 8 * open_run(path).coverage.blocks),
    "the last byte of the filter": lambda path: flip(path, path.stat().st_size - 17),
    "the first byte of the digest": lambda path: flip(path, path.stat().st_size - 16),
    "the last byte of the digest": lambda path: flip(path, path.stat().st_size - 1),
    "an empty file": lambda path: path.write_bytes(b""),
    "cut within the header": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "cut behind the header": lambda path: path.write_bytes(path.read_bytes()[:BLOCK]),
    "cut within a block": lambda path: path.write_bytes(path.read_bytes()[: BLOCK * 2 + 100]),
    "one byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "one byte long": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "another run's content": lambda path: path.write_bytes(another(path).read_bytes()),
}


def tail_of(path: Path) -> int:
    return BLOCK * (1 + open_run(path).coverage.blocks)


def another(path: Path) -> Path:
    return next(other for other in path.parent.glob("*.run") if other != path)


@pytest.mark.parametrize("damage", OUTSIDE.values(), ids=OUTSIDE.keys())
@pytest.mark.parametrize("number", [0, -1])
def test_a_run_that_is_damaged_outside_its_blocks_is_made_again(
    data: Path, damage: Callable[[Path], object], number: int
) -> None:
    damage(runs_of(data)[number])
    assert_answers(data)


IN_BLOCK = [0, 7, 8 * 169, 8 * 170, 8 * 339, 8 * 340, 8 * 509, 8 * 510, 8 * 511, BLOCK - 1]
BLOCKS = {f"byte {at} of a block": lambda path, at=at: flip(path, 2 * BLOCK + at) for at in IN_BLOCK} | {
    "a block of zeros": lambda path: put(path, 1, bytes(BLOCK)),
    "another block in its place": lambda path: put(path, 1, path.read_bytes()[BLOCK : 2 * BLOCK]),
    "another run's block": lambda path: put(path, 1, another(path).read_bytes()[2 * BLOCK : 3 * BLOCK]),
}


def put(path: Path, block: int, content: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[BLOCK * (1 + block) : BLOCK * (2 + block)] = content
    path.write_bytes(whole)


@pytest.mark.parametrize("damage", BLOCKS.values(), ids=BLOCKS.keys())
def test_a_damaged_block_gives_no_answer_and_the_next_start_makes_the_run_again(
    data: Path, damage: Callable[[Path], object]
) -> None:
    run = runs_of(data)[0]
    damage(run)
    index = opened(data, *TAIL)
    with pytest.raises(RunDamaged, match=r"block 1 does not fit its checksum; .* at the next start"):
        assert_holds(index, ALL)
    assert not run.exists()
    index.close()
    assert_answers(data)


def test_a_damaged_block_that_a_merge_meets_is_not_merged(data: Path) -> None:
    damaged = runs_of(data)[-1]
    put(damaged, 1, bytes(BLOCK))
    index = opened(data, *TAIL)
    add_all(index, stored_records(ALL + 1, ALL + 4 * RECENT, index.seeds), 100)
    index.settle()
    index.close()
    assert not damaged.exists()
    assert_answers(data)


def test_a_run_that_goes_beyond_the_last_event_is_not_used(data: Path) -> None:
    """As after a repair that lost events: their sequences will be those of others."""
    index = opened(data)  # without what is behind the table
    assert_holds(index, TABLE)
    index.close()


def test_a_gap_before_a_run_that_is_not_all_in_the_table_yet(data: Path, tmp_path: Path) -> None:
    shutil.rmtree(data / "usage")
    usage_table(data, 1_000, per_commit=500)
    runs_of(data)[0].unlink()
    rest = stored_events(1_001, ALL).sort("sequence")
    index = opened(data, rest)
    assert_holds(index, ALL)
    index.close()


def test_events_that_a_repair_has_lost_are_new_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.log.open_index", partial(open_index, recent_events=40))
    log = open_log(tmp_path)
    for at in range(0, 300, 30):
        post(log, [event(key) for key in range(at, at + 30)])
    log.close()
    assert runs_of(tmp_path)
    (segment,) = (tmp_path / "journal").glob("*.segment")
    flip(segment, segment.stat().st_size // 2)
    repaired = repair_log(Disk(), tmp_path, now=NOW)
    assert repaired.saved_events == 270
    lost = {key for loss in repaired.losses for key in range(loss.first_sequence - 1, loss.last_sequence or 0)}
    for _ in range(2):
        log = open_log(tmp_path)
        assert log.status()["known_identities"] == 270
        log.flush()
        log.close()
    shutil.rmtree(tmp_path / "identities")
    log = open_log(tmp_path)
    assert post(log, [event(key) for key in range(300)]).accepted == 30 == len(lost)
    log.close()


@pytest.mark.parametrize("recent_events", [40, 10_000])
def test_a_table_whose_newest_sequences_have_no_event(tmp_path: Path, recent_events: int) -> None:
    """As a repair leaves it: the table says that it has all up to 700, and the last 300 are lost."""
    table = usage_table(tmp_path, 400, per_commit=400)
    (tmp_path / "identities").mkdir()
    open_index(Disk(), tmp_path / "identities", table, [], recent_events).close()
    table.write(stored_events(701, 701), 1_000)
    index = open_index(Disk(), tmp_path / "identities", table, [], recent_events)
    assert_known(index, stored_records(1, 400, index.seeds))
    assert_known(index, stored_records(701, 701, index.seeds))
    assert (len(index), index.last_sequence) == (401, 1_000)
    index.close()
    assert not len(_opened_without_events(tmp_path / "other"))


def _opened_without_events(directory: Path) -> IdentityIndex:
    table = usage_table(directory, 0, per_commit=1)
    table.write(stored_events(1, 0), 500)
    index = open_index(Disk(), directory / "identities", table, [], recent_events=40)
    index.close()
    return index


class CopyingDisk(RecordingDisk):
    """Keeps a copy of the directory as it is before each step: what a kill there leaves."""

    def __init__(self, directory: Path, copies: Path) -> None:
        super().__init__()
        self.directory, self.copies, self.taken = directory, copies, 0

    def note(self, step: str, path: Path) -> None:
        super().note(step, path)
        if self.directory.exists():
            shutil.copytree(self.directory, self.copies / f"{self.taken:03d}" / "identities")
            self.taken += 1


@pytest.mark.parametrize("is_rebuild", [False, True], ids=["while it grows and merges", "while it is made again"])
def test_a_kill_at_any_step_changes_no_answer(tmp_path: Path, is_rebuild: bool) -> None:
    """Of writing four runs and merging them; of making one again from two parts."""
    usage_table(tmp_path, 4 * RECENT + 1, per_commit=RECENT)
    disk = CopyingDisk(tmp_path / "identities", tmp_path / "copies")
    if is_rebuild:
        opened(tmp_path, disk=disk).close()
    else:
        grow(tmp_path, 4 * RECENT + 1, disk)
    assert disk.taken > 20
    for copy in sorted((tmp_path / "copies").iterdir()):
        shutil.copytree(tmp_path / "usage", copy / "usage")
        assert_answers(copy, 4 * RECENT + 1, ())
        shutil.rmtree(copy)


def test_a_log_answers_the_same_without_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.log.open_index", partial(open_index, recent_events=40))
    first = [event(key) for key in range(300)]
    log = open_log(tmp_path / "with")
    for at in range(0, 300, 30):
        post(log, first[at : at + 30])
        if at == 150:
            log.flush()
    log.close()
    assert runs_of(tmp_path / "with")
    shutil.copytree(tmp_path / "with", tmp_path / "without")
    shutil.rmtree(tmp_path / "without" / "identities")
    for directory in (tmp_path / "with", tmp_path / "without"):
        log = open_log(directory)
        assert log.status()["known_identities"] == 300
        again = [*first[::7], event(5, subject="another"), event(1000)]
        assert codes(post(log, again)) == ["duplicate"] * 43 + ["conflict"]
        assert stored(log)["id"].to_list() == [*map(str, range(300)), "1000"]
        log.close()
