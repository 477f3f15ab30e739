"""Charge lines for others to read, and leaks: as files, on stdout, for people; and the exit codes of a scheduler."""

import json
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import Run


@pytest.fixture
def rated(run: Run, data: Path, usage: Path) -> Path:
    """A data directory with a run of October: a fee of 10.00, and 1,100,000.5 small tokens for 2.75."""
    run("ingest", usage, "--data", data)
    assert run("rate", "--period", "2026-10", "--data", data).code == 0
    return data


def test_cost_data_as_files_and_on_stdout(run: Run, rated: Path, tmp_path: Path) -> None:
    csv, parquet = tmp_path / "focus.csv", tmp_path / "focus.parquet"
    for target in (csv, parquet):
        written = run("lines", "--format", "focus", "-o", target, "--issuer", "Seller Ltd", "--data", rated)
        assert (written.code, written.out) == (0, "")
    costs = pl.read_csv(csv, infer_schema=False)["BilledCost"]
    assert sorted(map(Decimal, costs)) == [Decimal("2.75"), Decimal("10")]
    assert sorted(pl.read_parquet(parquet)["BilledCost"]) == [Decimal("2.75"), Decimal("10")]
    piped = run("lines", "--format", "focus", "--issuer", "Seller Ltd", "--data", rated)
    assert piped.out == csv.read_text()


def test_invoice_lines_and_the_lines_themselves(run: Run, rated: Path, tmp_path: Path) -> None:
    invoices = json.loads(run("lines", "--format", "en16931", "--unit", "input_tokens=E34", "--data", rated).out)
    [invoice] = invoices["invoices"]
    assert [(it["unit_code"], it["net_amount"]) for it in invoice["lines"]] == [("C62", "10.00"), ("E34", "2.75")]
    assert invoice["lines"][1]["quantity"] == "1100000.5"
    listed = run("lines", "--data", rated, "--json").json["items"]
    target = tmp_path / "lines.json"
    assert run("lines", "-o", target, "--data", rated).code == 0
    assert json.loads(target.read_text()) == listed
    part = run("lines", "-o", "-", "--price", "small/*", "--data", rated)
    assert [json.loads(line)["price"] for line in part.out.splitlines()] == ["small/input"]


def test_an_ending_that_the_form_does_not_come_in(run: Run, rated: Path, tmp_path: Path) -> None:
    ran = run("lines", "--format", "focus", "-o", tmp_path / "focus.json", "--data", rated)
    assert (ran.code, "--format focus is written as .parquet" in ran.err) == (2, True)
    both = run("lines", "--format", "focus", "--csv", tmp_path / "lines.csv", "--data", rated)
    assert (both.code, "--csv: not beside --out" in both.err) == (2, True)


def test_a_summary_for_people_and_for_programs(run: Run, rated: Path) -> None:
    shown = run("lines", "--summary", "--data", rated).out
    assert "12.75" in shown
    assert "small/input" in shown
    told = run("lines", "--summary", "--data", rated, "--json").json
    assert told["totals"][0]["rounded_amount"] == "12.75"


def test_a_check_says_what_it_found_and_what_to_do(run: Run, data: Path, usage: Path) -> None:
    run("ingest", usage, "--data", data)
    found = run("check", "--period", "2026-10", "--data", data)
    assert found.code == 1
    assert "unpriced: 1 (metered usage that no price of the plan covers)" in found.out
    assert "-> Add a price for these dimensions to the plan" in found.out
    assert "stranger" in found.out
    assert run("runs", "--data", data, "--json").json["items"] == []
    told = run("check", "--period", "2026-10", "--data", data, "--json")
    assert (told.code, told.json["found"]) == (1, 2)


def test_a_check_of_what_is_in_order(run: Run, data: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.csv"
    row = "gateway,1,llm.request,acme,2026-10-01T10:00:00Z,small,400000"
    good.write_text(f"source,id,type,subject,time,model,input_tokens\n{row}\n")
    run("ingest", good, "--data", data)
    ran = run("check", "--period", "2026-10", "--data", data)
    assert (ran.code, "nothing found" in ran.out) == (0, True)
    assert "too little history (less than 3 months) for 1 pair" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--period", "2026-13"), id="no month"),
        pytest.param(("--period", "2026-10", "--drop", "half"), id="no number"),
        pytest.param(("--period", "2026-10", "--drop", "2"), id="no part"),
    ],
)
def test_a_check_that_cannot_be_made(run: Run, data: Path, arguments: tuple[str, ...]) -> None:
    assert run("check", *arguments, "--data", data).code == 2


def test_a_check_of_no_directory(run: Run, tmp_path: Path) -> None:
    assert run("check", "--period", "2026-10", "--data", tmp_path / "nowhere").code == 2
