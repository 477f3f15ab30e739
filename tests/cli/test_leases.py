"""`tallystick leases` on a real data directory."""

from decimal import Decimal
from pathlib import Path

import pytest

from api.engine import Engine
from api.leases import LeaseAsked, ReportAsked
from api.settings import Settings
from tests.cli.conftest import Run


@pytest.fixture
def data(run: Run, book: Path, tmp_path: Path) -> Path:
    """One lease of 5,000 tokens of which 1,200 are used, and one of 1 that is released."""
    data = tmp_path / "data"
    for command in (
        ("catalog", "apply", book),
        ("customers", "put", "acme"),
        ("subscriptions", "put", "a", "--customer", "acme", "--plan", "pro", "--starts-at", "2026-01-01"),
    ):
        assert run(*command, "--data", data).code == 0
    engine = Engine.open(Settings(data=data))
    for id, amount in (("batch-7", 5000), ("call", 1)):
        most = Decimal(amount)
        engine.leases.make(LeaseAsked(id, "acme", "tokens", most, most, 3600, "usage", {"model": "small"}))
    engine.leases.report("batch-7", ReportAsked(1, Decimal(1200)))
    engine.leases.release("call", ReportAsked(None, Decimal(1)))
    engine.close()
    return data


def test_leases_are_listed_shown_and_released(run: Run, data: Path) -> None:
    listed = run("leases", "list", "--data", data)
    assert "2 leases" in listed.out
    assert "batch-7" in listed.out
    found = run("leases", "list", "--state", "open", "--customer", "acme", "--data", data, "--json").json["items"]
    assert [item["id"] for item in found] == ["batch-7"]
    shown = run("leases", "show", "batch-7", "--data", data)
    assert "batch-7: open, 1,200 used of 5,000 of tokens for acme" in shown.out
    assert "acme used 1,201 of 1,000,000, 3,800 are held, 994,999 are left" in shown.out
    released = run("leases", "release", "batch-7", "--used", "1500", "--data", data)
    assert "batch-7: released, 1,500 used of 5,000" in released.err
    assert run("leases", "show", "batch-7", "--data", data, "--json").json["quota"]["reserved"] == "0"
    back = run("leases", "release", "batch-7", "--used", "1499", "--data", data)
    assert (back.code, "1499 is less than the 1500" in back.err) == (1, True)
    missing = run("leases", "show", "none", "--data", data)
    assert (missing.code, "there is no lease 'none'" in missing.err) == (1, True)
