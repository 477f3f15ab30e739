"""Rating without a data directory gives what rating with one gives."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import USAGE, Run

SUBSCRIPTIONS = """subscription,customer,subject,plan,time_zone,starts_at,ends_at
acme-pro,acme,acme,pro,UTC,2026-01-01,
"""


def test_files_alone_give_the_same_lines_as_a_data_directory(
    run: Run, data: Path, book: Path, usage: Path, tmp_path: Path
) -> None:
    who = tmp_path / "who.csv"
    who.write_text(SUBSCRIPTIONS)
    alone = run("rate", usage, "--catalog", book, "--subscriptions", who, "--period", "2026-10", "--json")
    run("ingest", usage, "--data", data)
    stored = run("rate", "--period", "2026-10", "--data", data, "--json")
    assert alone.code == 0
    assert alone.json["digest"] == stored.json["digest"]
    assert alone.json["catalog_version"] == stored.json["catalog_version"]
    assert alone.json["report"] == {name: stored.json["report"][name] for name in alone.json["report"]}


def test_each_subject_is_its_own_customer_on_a_plan_and_lines_are_written(
    run: Run, book: Path, usage: Path, tmp_path: Path
) -> None:
    """stranger: 7 x 2.50 / 1,000,000 = 0.0000175, rounded to 0.00; both pay the fee."""
    out = tmp_path / "lines.parquet"
    ran = run("rate", usage, "--catalog", book, "--plan", "pro", "--period", "2026-10", "--out", out)
    assert ran.code == 0
    lines = pl.read_parquet(out).sort("customer", "price")
    amounts = [(customer, price, format(amount.normalize(), "f")) for customer, price, amount in
               lines.select("customer", "price", "amount").iter_rows()]  # fmt: skip
    assert amounts == [
        ("acme", "fee", "10"),
        ("acme", "small/input", "2.75000125"),
        ("stranger", "fee", "10"),
        ("stranger", "small/input", "0.0000175"),
    ]
    for ending in ("csv", "arrow", "json"):
        again = tmp_path / f"lines.{ending}"
        assert run("rate", usage, "--catalog", book, "--plan", "pro", "--period", "2026-10", "--out", again).code == 0
    assert {line["amount"] for line in json.loads((tmp_path / "lines.json").read_text())} == {
        "10",
        "2.75000125",
        "0.0000175",
    }


def test_bad_rows_and_repeated_events_are_reported_and_not_rated(run: Run, book: Path, tmp_path: Path) -> None:
    usage = tmp_path / "usage.csv"
    row = "gateway,{},llm.request,acme,2026-10-05T00:00:00Z,small,{}\n"
    usage.write_text(USAGE + row.format(2, "700000.5") + row.format(1, "400000") + row.format(9, "1e999"))
    ran = run("rate", usage, "--catalog", book, "--plan", "pro", "--period", "2026-10", "--json")
    assert ran.code == 65
    counts = {name: ran.json["usage"][name] for name in ("accepted", "duplicates", "conflicts", "rejected")}
    assert counts == {"accepted": 4, "duplicates": 0, "conflicts": 2, "rejected": 1}
    assert [problem["row"] for problem in ran.json["usage"]["files"][0]["problems"]] == [5, 6, 7]
    assert ran.json["report"]["totals"][0]["amount"] == "22.75001875"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param("s,acme,acme,gold,UTC,2026-01-01,\n", "row 1: the catalog has no plan 'gold'", id="unknown plan"),
        pytest.param("s,acme,acme,pro,Mars,2026-01-01,\n", "row 1: 'Mars' is no IANA time zone", id="unknown zone"),
        pytest.param(
            "s,a,x,pro,UTC,2026-01-01,\nt,b,x,pro,UTC,2026-01-01,\n",
            "row 2: subject 'x' belongs to 'a'",
            id="two owners",
        ),
        pytest.param(
            "s,a,x,pro,UTC,2026-01-01,\ns,a,y,pro,UTC,2026-02-01,\n",
            "row 2: subscription 's' has other",
            id="two terms",
        ),
    ],
)
def test_subscriptions_that_contradict_themselves_are_refused(
    run: Run, book: Path, usage: Path, tmp_path: Path, rows: str, message: str
) -> None:
    who = tmp_path / "who.csv"
    who.write_text(SUBSCRIPTIONS.splitlines()[0] + "\n" + rows)
    ran = run("rate", usage, "--catalog", book, "--subscriptions", who, "--period", "2026-10")
    assert ran.code == 65
    assert message in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--plan", "gold"], "the catalog has no plan 'gold'. Its plans are pro.", id="unknown plan"),
        pytest.param(["--plan", "pro", "--out", "lines.xlsx"], "its ending is no format", id="unknown format"),
        pytest.param(["--plan", "pro", "--period", "2026-13"], "is not a month", id="no month"),
    ],
)
def test_options_that_mean_nothing_are_wrong_usage(
    run: Run, book: Path, usage: Path, arguments: list[str], message: str
) -> None:
    period = [] if "--period" in arguments else ["--period", "2026-10"]
    ran = run("rate", usage, "--catalog", book, *period, *arguments)
    assert ran.code == 2
    assert message in ran.err
