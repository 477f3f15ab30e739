"""`tallystick simulate`: another catalog tried on what is in the data directory."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.cli.conftest import BOOK, Ran, Run

DEARER = BOOK.replace('unit_amount: "2.50"', 'unit_amount: "3.50"')


@pytest.fixture
def used(run: Run, data: Path, usage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Customer acme has used 1,100,000.5 tokens at 2.50 for a million, 2.75, and pays a fee of 10."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TALLYSTICK_DATA", str(data))
    Path("new.yaml").write_text(DEARER)
    assert run("ingest", usage).code == 0
    return run


def tried(run: Run, *arguments: str, period: str = "2026-10") -> Ran:
    return run("simulate", "--catalog", "new.yaml", "--period", period, *arguments)


def simulated(run: Run, *arguments: str) -> dict[str, Any]:
    ran = tried(run, "--json", *arguments)
    assert ran.code == 0, ran.err
    found: dict[str, Any] = ran.json
    return found


def test_who_pays_more_and_why(used: Run) -> None:
    found = simulated(used)
    (loser,) = found["losers"]
    assert (loser["customer"], loser["before"], loser["after"], loser["difference"]) == (
        "acme",
        "12.75",
        "13.85",
        "1.1",
    )
    shown = tried(used, period="2026-09..2026-10")
    assert shown.code == 0
    assert "acme" in shown.out
    assert "rate" in shown.out


def test_every_change_goes_to_a_file(used: Run, tmp_path: Path) -> None:
    simulated(used, "--customers", "changes.parquet")
    (row,) = pl.read_parquet(tmp_path / "changes.parquet").to_dicts()
    assert row["customer"] == "acme"
    assert row["rate"] + row["rounding"] == row["difference"]


def test_the_amount_that_earns_as_much(used: Run) -> None:
    solved = simulated(used, "--solve", "small/input", "--tolerance", "0")["solved"]
    assert (solved["amount"], solved["gap"]) == ("2.5", "0")
    shown = tried(used, "--solve", "small/input", "--tolerance", "0")
    assert "unit_amount 2.5 instead of 3.5" in shown.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--period", "October"], 2, "not a month"),
        (["--period", "2026-10", "--plan", "pro"], 2, "OLD=NEW"),
        (["--period", "2026-10", "--plan", "pro=max"], 65, "no plan 'max'"),
        (["--period", "2026-10", "--customers", "x.txt"], 2, "no format"),
        (["--period", "2026-10..2026-09"], 65, "before"),
    ],
)
def test_what_makes_no_sense_is_said(used: Run, arguments: list[str], code: int, said: str) -> None:
    ran = used("simulate", "--catalog", "new.yaml", *arguments)
    assert ran.code == code
    assert said in ran.err


def test_a_broken_catalog_gives_its_problems(used: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BOOK.replace("unit_amount", "unit_amont"))
    ran = used("simulate", "--catalog", "bad.yaml", "--period", "2026-10")
    assert ran.code == 65
    assert "prices.small/input" in ran.err


def test_a_catalog_beside_the_one_in_force_is_compared_and_switched_to(used: Run) -> None:
    assert used("shadow", "set", "new.yaml").code == 0
    assert used("shadow", "show", "--json").json["plans"] == {}
    ran = used("shadow", "compare", "--from", "2026-10", "--to", "2026-10", "--json")
    assert ran.json["losers"][0]["difference"] == "1.1"
    assert used("shadow", "switch", "--at", "2090-01-01").code == 0
    assert used("shadow", "drop").code != 0  # it is in force
