"""`tallystick credits` on a real data directory: what people see, and the same as JSON."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def data(run: Run, book: Path, usage: Path, tmp_path: Path) -> Path:
    """October's usage of `acme`, 2.75 + the fee of 10, and 5.0005 prepaid."""
    data = tmp_path / "data"
    for command in (
        ("catalog", "apply", book),
        ("customers", "put", "acme"),
        ("subscriptions", "put", "a", "--customer", "acme", "--plan", "pro", "--starts-at", "2026-10-01"),
        ("ingest", usage),
        (
            "credits",
            "grant",
            "acme",
            "--id",
            "g",
            "--amount",
            "5.0005",
            "--currency",
            "USD",
            "--effective-at",
            "2026-10-01",
        ),
    ):
        assert run(*command, "--data", data).code == 0
    return data


def test_credits_are_granted_listed_and_voided(run: Run, data: Path) -> None:
    again = run("credits", "grant", "acme", "--id", "g", "--amount", "6", "--currency", "USD", "--data", data)
    assert (again.code, "another id" in again.err) == (1, True)
    units = ("--units", "1000", "--feature", "tokens", "--expires-at", "2999-01-01", "--data", data, "--json")
    granted = run("credits", "grant", "acme", "--id", "u", *units)
    assert (granted.json["unit"], granted.json["meters"]) == ("units", ["input_tokens"])
    listed = run("credits", "list", "acme", "--data", data)
    assert "2 grants of acme" in listed.out
    assert "available: 1,000 units" in listed.out
    assert [item["id"] for item in run("credits", "list", "acme", "--data", data, "--json").json["items"]] == ["g", "u"]
    assert "is void from" in run("credits", "void", "u", "--data", data).err
    assert run("credits", "list", "acme", "--data", data, "--json").json["items"][1]["state"] == "voided"


def test_a_ledger_and_an_explanation_name_the_grants_and_a_refund_gives_back(run: Run, data: Path) -> None:
    """Usage is paid first: 2.75000125 of 5.0005; what is left pays the fee."""
    rated = run("rate", "--period", "2026-10", "--data", data)
    assert "Prepaid credits" in rated.out
    shown = run("credits", "ledger", "acme", "--data", data)
    assert "4 entries of acme in 2026-10" in shown.out
    entries = run("credits", "ledger", "acme", "--data", data, "--json").json["items"]
    assert [(e["kind"], e["amount"], e["balance_after"]) for e in entries] == [
        ("grant", "5.0005", "5.0005"),
        ("burn", "-2.75000125", "2.25049875"),
        ("burn", "-2.25049875", "0"),
        ("closing", "0", "0"),
    ]
    line = entries[1]["line"]
    assert "grant g paid 2.75000125 USD (5.0005 before, 2.25049875 after)" in run("explain", line, "--data", data).out
    refunded = run("credits", "refund", line, "--id", "r", "--amount", "0.5", "--data", data)
    assert "0.5 USD of line" in refunded.out
    more = run("credits", "refund", line, "--id", "r2", "--amount", "2.5", "--data", data)
    assert (more.code, "2.25000125 USD" in more.err) == (65, True)
