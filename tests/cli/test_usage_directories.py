"""Directories of usage files: what is in them is found, and a second run costs little and counts nothing."""

import gzip
import json
from pathlib import Path

import pytest

from api.cli.taken_files import TakenFiles
from tests.cli.conftest import Run

HEAD = "source,id,type,subject,time,model,input_tokens\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Four events in three usage files at three depths, and things that are none."""
    root = tmp_path / "usage"
    for folder in ("2026/10", "_delta_log", ".hidden"):
        (root / folder).mkdir(parents=True)
    (root / "a.csv").write_text(HEAD + row(1) + row(2))
    (root / "2026" / "b.CSV.gz").write_bytes(gzip.compress((HEAD + row(3)).encode()))
    event = {"source": "gw", "id": "4", "type": "llm.request", "subject": "acme", "time": "2026-10-01T10:00:00Z"}
    (root / "2026" / "10" / "c.jsonl").write_text(json.dumps({**event, "input_tokens": 1}) + "\n")
    for other in ("README.md", "_SUCCESS", "_delta_log/0.csv", ".hidden/x.csv", ".a.csv.swp", "2026/notes.txt.gz"):
        (root / other).write_text("no usage")
    return root


def row(number: int) -> str:
    return f"gw,{number},llm.request,acme,2026-10-01T10:00:00Z,small,1\n"


def test_the_usage_files_of_a_directory_are_found_at_any_depth(run: Run, data: Path, directory: Path) -> None:
    ran = run("ingest", directory, "--data", data, "--json")
    assert [Path(one["file"]).name for one in ran.json["files"]] == ["c.jsonl", "b.CSV.gz", "a.csv"]
    assert (ran.code, ran.json["accepted"], ran.json["duplicates"]) == (0, 4, 0)
    again = run("ingest", directory, "--data", data)
    assert "all 3 files: 0 accepted, 4 duplicates, 0 conflicts, 0 rejected" in again.out


def test_a_recorded_file_is_skipped_until_it_changes_or_is_read_in_another_way(
    run: Run, data: Path, directory: Path, tmp_path: Path
) -> None:
    at = (directory, "--data", data, "--record", tmp_path / "taken", "--json")
    assert run("ingest", *at).json["accepted"] == 4
    again = run("ingest", *at).json
    assert (again["files"], len(again["skipped"]), again["accepted"]) == ([], 3, 0)
    with (directory / "a.csv").open("a") as file:
        file.write(row(5))
    grown = run("ingest", *at).json
    assert (grown["accepted"], grown["duplicates"], len(grown["skipped"])) == (1, 2, 2)
    assert run("ingest", *at, "--only").json["skipped"] == []
    elsewhere = run("ingest", *at[:1], "--data", tmp_path / "other", *at[3:]).json
    assert (elsewhere["accepted"], elsewhere["skipped"]) == (5, [])


def test_a_file_with_a_refused_event_is_not_recorded(run: Run, data: Path, directory: Path, tmp_path: Path) -> None:
    (directory / "a.csv").write_text(HEAD + row(1) + row(2).replace(",1\n", ",x\n"))
    at = (directory, "--data", data, "--record", tmp_path / "taken", "--json")
    assert run("ingest", *at).code == 65
    again = run("ingest", *at)
    assert (again.code, len(again.json["skipped"]), again.json["duplicates"], again.json["rejected"]) == (65, 2, 1, 1)
    (directory / "a.csv").write_text(HEAD + row(1) + row(2))
    mended = run("ingest", *at)
    assert (mended.code, mended.json["accepted"]) == (0, 1)
    shown = run("ingest", *at[:-1])
    assert shown.out.strip() == "skipped 3 files that were taken in before"


def test_a_file_that_grew_while_it_was_read_is_not_recorded(tmp_path: Path) -> None:
    usage, record = tmp_path / "u.csv", tmp_path / "taken"
    usage.write_text(row(1))
    taken = TakenFiles(record)
    before = taken.key(usage)
    usage.write_text(row(1) + row(2))
    taken.add(usage, before, {})
    assert not record.exists()
    taken.add(usage, taken.key(usage), {})
    assert TakenFiles(record).has(taken.key(usage))


def test_an_empty_directory_and_a_record_that_is_none_are_said(run: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = run("ingest", tmp_path / "empty", "--data", data)
    assert (empty.code, "has no usage file: none ends in .parquet" in empty.err) == (65, True)
    (tmp_path / "note").write_text('["x"]\n')
    usage = tmp_path / "u.csv"
    usage.write_text(HEAD + row(1))
    ran = run("ingest", usage, "--data", data, "--record", tmp_path / "note")
    assert (ran.code, "is no record of taken files" in ran.err) == (2, True)
