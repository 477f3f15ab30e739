"""`tallystick backfill`: from opening to commit and back, and what `doctor` says about its files."""

from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import USAGE, Run

HALF = "\n".join(USAGE.replace("700000.5", "100000").splitlines()[:3]) + "\n"
"""The first two events of acme: 400,000 as they were, and 100,000 in the place of 700,000.5."""


@pytest.fixture
def loaded(run: Run, data: Path, usage: Path, tmp_path: Path) -> str:
    """A backfill of 1 and 2 October with two staged events."""
    assert run("ingest", usage, "--data", data).code == 0
    ran = run("backfill", "open", "--from", "2026-10-01", "--to", "2026-10-03", "--data", data, "--json")
    assert (ran.code, ran.json["state"]) == (0, "open")
    key: str = ran.json["id"]
    path = tmp_path / "half.csv"
    path.write_text(HALF)
    staged = run("backfill", "load", key, path, "--data", data, "--json")
    assert (staged.code, staged.json["accepted"]) == (0, 2)
    again = run("backfill", "load", key, path, "--data", data)
    assert (again.code, again.out.split(",")[2].strip()) == (0, "2 duplicates")
    return key


def rated(run: Run, data: Path) -> str:
    amount: str = run("rate", "--period", "2026-10", "--data", data, "--json").json["report"]["totals"][0]["amount"]
    return amount


def test_a_backfill_is_previewed_committed_and_reverted(run: Run, data: Path, loaded: str, tmp_path: Path) -> None:
    """1,100,000.5 small tokens at 2.50 a million and the fee of 10 are 12.75000125; 500,000 make 11.25."""
    at = ("--data", data, "--json")
    seen = run("backfill", "preview", loaded, *at, "--charges", tmp_path / "charges.parquet").json
    assert (seen["charges"][0]["after"], seen["charges"][0]["difference"]) == ("11.25", "-1.5")
    assert pl.read_parquet(tmp_path / "charges.parquet")["customer"].to_list() == ["acme"]
    shown = run("backfill", "preview", loaded, "--data", data)
    assert "-600,000.5" in shown.out
    assert "-1.50" in shown.out
    assert rated(run, data) == "12.75000125"
    assert run("backfill", "commit", loaded, *at).json["state"] == "committed"
    assert rated(run, data) == "11.25"
    listed = run("backfill", "list", "--state", "committed", *at).json["items"]
    assert [(one["id"], one["staged_events"]) for one in listed] == [(loaded, 2)]
    assert run("backfill", "show", loaded, "--data", data).out.startswith(f"{loaded}: committed, 2026-10-01")
    assert run("backfill", "revert", loaded, *at).json["state"] == "reverted"
    assert rated(run, data) == "12.75000125"


def test_corrections_of_its_events_end_with_a_backfill(run: Run, data: Path, loaded: str) -> None:
    """100,000 of its 400,000 small tokens are voided: 300,000 at 2.50 a million and the fee of 10 are 10.75."""
    at = ("--data", data)
    assert run("backfill", "commit", loaded, *at).code == 0
    source = run("events", "list", "--id", "2", *at, "--json").json["items"][0]["source"]
    assert run("events", "void", source, "2", *at).code == 0
    assert "1 corrections of its events count for as long as it does" in run("backfill", "show", loaded, *at).out
    ended = run("backfill", "revert", loaded, *at)
    assert f"have ended with it: tallystick events corrections --backfill {loaded}" in ended.out
    assert "void (ended)" in run("events", "corrections", "--backfill", loaded, *at).out
    again = run("events", "void", source, "2", *at)
    assert (again.code, "send it with a new id" in again.err + again.out) == (65, True)
    assert rated(run, data) == "12.75000125"
    assert run("events", "void", source, "2", "--as-id", "again", *at).code == 0


def test_events_outside_the_range_and_a_second_step_are_told(run: Run, data: Path, loaded: str, usage: Path) -> None:
    outside = run("backfill", "load", loaded, usage, "--data", data, "--json")
    assert (outside.code, outside.json["rejected"], outside.json["conflicts"]) == (65, 2, 1)
    assert outside.json["files"][0]["problems"][-1]["code"] == "outside_backfill"
    assert run("backfill", "drop", loaded, "--data", data).code == 0
    refused = run("backfill", "commit", loaded, "--data", data)
    assert (refused.code, "open another one" in refused.err) == (1, True)
    assert "1 backfills" in run("backfill", "list", "--data", data).out


def test_doctor_names_the_backfill_that_is_damaged(run: Run, data: Path, loaded: str) -> None:
    assert run("backfill", "commit", loaded, "--data", data).code == 0
    checks = {check["name"]: check for check in run("doctor", "--data", data, "--json").json["checks"]}
    assert checks[f"backfill {loaded}"]["found"] == "2 events in its table"
    file = next((data / "backfills" / loaded / "usage").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    ran = run("doctor", "--data", data, "--json")
    assert ran.code == 1
    broken = [check["name"] for check in ran.json["checks"] if not check["ok"]]
    assert broken == [f"backfill {loaded}", "service"]
    file.unlink()
    refused = run("lines", "--data", data)
    assert refused.code == 1
    assert f"the committed backfill {loaded} is damaged" in refused.err
