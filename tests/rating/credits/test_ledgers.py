"""The worked ledgers of tests/cases/credits.yaml, by the engine and, a second time, by the oracle."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from rating.core.credits.burning import burn
from rating.core.credits.schema import BURN, GRANT, REFUND, RESET
from rating.core.money import plain
from tests.oracle import credits as oracle
from tests.rating.credits.frames import frame, grant_rows

FILE = Path(__file__).parents[2] / "cases" / "credits.yaml"
CASES = [pytest.param(case, id=case["name"]) for case in yaml.safe_load(FILE.read_text()) if "ledger" in case]
END = datetime(2026, 11, 1, tzinfo=UTC)
USD_BY_DEFAULT = {"customer": "acme", "unit": "USD"}


def burns_of(case: dict[str, Any]) -> list[dict[str, Any]]:
    asked = [(at, amount, rest[0] if rest else {}) for at, amount, *rest in case["burns"]]
    return [
        {"burn": n, **USD_BY_DEFAULT, "time": at, "sequence": n, "amount": Decimal(amount), **more}
        for n, (at, amount, more) in enumerate(asked, 1)
    ]


def resets_of(case: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"customer": "acme", "at": at, "keeps_overage": False} for at in case.get("resets", [])]


def refunds_of(case: dict[str, Any]) -> list[dict[str, Any]]:
    given = enumerate(case.get("refunds", []), 1)
    return [{"refund": n, "burn": of, "at": at, "amount": Decimal(amount)} for n, (at, of, amount) in given]


@pytest.mark.parametrize("case", CASES)
def test_a_worked_ledger_comes_out_as_written(case: dict[str, Any]) -> None:
    burnt = burn(
        frame(GRANT, grant_rows(case["grants"])),
        frame(BURN, burns_of(case)),
        case.get("until", END),
        overage=case.get("overage", "charge"),
        resets=frame(RESET, resets_of(case)),
        refunds=frame(REFUND, refunds_of(case)),
    )
    got = [
        (row["grant"], row["kind"], row["burn"], plain(row["amount"]), plain(row["balance_after"]))
        for row in sorted(burnt.ledger.to_dicts(), key=lambda row: (row["time"], row["entry"]))
    ]
    assert got == [(w["grant"], w["kind"], w.get("burn"), w["amount"], w["left"]) for w in case["ledger"]]
    unpaid = {row["burn"]: plain(row["unpaid"]) for row in burnt.paid.to_dicts() if row["unpaid"]}
    assert unpaid == case.get("unpaid", {})


@pytest.mark.parametrize("case", CASES)
def test_the_oracle_agrees_with_a_worked_ledger(case: dict[str, Any]) -> None:
    outcome = oracle.burn(
        grant_rows(case["grants"]),
        burns_of(case),
        case.get("until", END),
        carries=case.get("overage") == "carry",
        resets=resets_of(case),
        refunds=refunds_of(case),
    )
    got = sorted((grant, kind, str(of), plain(amount)) for grant, kind, _, of, amount in outcome.entries)
    assert got == sorted((w["grant"], w["kind"], str(w.get("burn")), w["amount"]) for w in case["ledger"])


def test_there_are_worked_ledgers() -> None:
    assert len(CASES) >= 15
