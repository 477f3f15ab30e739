"""What a customer's open billing periods come to, on the command line."""

from pathlib import Path

from tests.cli.conftest import Run


def test_the_charges_of_now_are_shown(run: Run, data: Path) -> None:
    """Nothing was used: the fee of 10."""
    found = run("charges", "acme", "--data", data, "--json")
    assert found.code == 0
    assert [(line["kind"], line["rounded_amount"]) for line in found.json["items"]] == [("fee", "10")]
    assert [(total["currency"], total["rounded_amount"]) for total in found.json["totals"]] == [("USD", "10")]
    shown = run("charges", "acme", "--data", data)
    assert shown.code == 0
    assert "total: 10.00 USD" in shown.out
    assert found.json["periods"][0]["period"] in shown.out


def test_an_unknown_customer_is_a_failure(run: Run, data: Path) -> None:
    failed = run("charges", "nobody", "--data", data)
    assert failed.code == 1
    assert "nobody" in failed.err
