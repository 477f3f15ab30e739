"""Wallets that pay bills, as the tests of Flexprice and Lago expect them (../shared/cases).

A wallet is a grant in money; one limited to a kind of line is a grant for the prices of that kind. A line is usage of
so many units at 1, or a fee; discounts are adjustments of its price or of the plan. A tax is part of the line's amount
here, as the source lets credits pay it. Debits are compared rounded, as they stand on the bill.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import polars as pl
import pytest

from rating.catalog import compile_catalog, load_catalog
from rating.core.credits.bills import Credits
from rating.core.credits.schema import GRANT
from rating.core.periods import Month
from rating.core.rating import rate
from rating.core.subjects import interned
from tests import oracle
from tests.conftest import SHARED
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame
from tests.rating.credits.frames import frame

Case = Mapping[str, Any]
AT = datetime(2026, 10, 1, tzinfo=UTC)


class BillLine(NamedTuple):
    amount: Decimal
    is_usage: bool
    discounts: Sequence[Case] = ()


class Wallet(NamedTuple):
    name: str
    balance: Decimal
    priority: int
    prices: list[str] | None


def cases(file: str, *kinds: str) -> list[Any]:
    path = SHARED / "cases" / file
    found = json.loads(path.read_text()) if path.exists() else []
    wanted = [c for c in found if c["kind"] in kinds and ("wallets" in c or "wallets" in c.get("input", {}))]
    return [pytest.param(case, id=case["id"]) for case in wanted]


def bill(
    lines: Sequence[BillLine], discounts: Sequence[Case], wallets: Sequence[Wallet], currency: str
) -> pl.DataFrame:
    """The charge lines of the month. Line n has the price `n`."""
    prices, meters = {}, {}
    for n, line in enumerate(lines, 1):
        version: dict[str, Any] = {"adjust": [adjustment(d) for d in line.discounts]}
        if line.is_usage:
            meters[str(n)] = {"event_type": f"line {n}", "aggregation": "sum", "property": "v"}
            version["unit_amount"] = "1"
            prices[str(n)] = {"meter": str(n), "model": "per_unit", "currency": currency, "versions": [version]}
        else:
            version["amount"] = str(line.amount)
            prices[str(n)] = {"model": "flat", "currency": currency, "versions": [version]}
    plan = {"currency": currency, "prices": sorted(prices), "adjust": [adjustment(d) for d in discounts]}
    document = {"tallystick": 1, "currencies": [currency], "meters": meters, "prices": prices, "plans": {"p": plan}}
    used = [
        {"type": f"line {n}", "subject": "c", "time": AT, "data": {"v": line.amount}}
        for n, line in enumerate(lines, 1)
        if line.is_usage
    ]
    catalog, subs = load_catalog(document), [oracle.Subscription("s", "c", ("c",), "p", "UTC", SINCE)]
    usage = interned(usage_frame(used, catalog.declared_properties()))
    terms, credits = subscription_frame(subs), Credits(frame(GRANT, grants(wallets, currency)))
    return rate(usage, subject_frame(subs), terms, compile_catalog(catalog), Month(2026, 10), credits=credits).lines


def grants(wallets: Sequence[Wallet], currency: str) -> list[dict[str, Any]]:
    """Of equal priority the one that is listed first was made first."""
    return [
        {
            "grant": wallet.name,
            "customer": "c",
            "kind": "grant",
            "unit": currency,
            "amount": wallet.balance,
            "priority": wallet.priority,
            "created_at": AT + timedelta(seconds=place),
            "effective_at": AT,
            "prices": wallet.prices,
        }
        for place, wallet in enumerate(wallets)
    ]


def adjustment(discount: Case) -> dict[str, str]:
    if "percentage" in discount:
        return {"kind": "discount", "percent": discount["percentage"]}
    return {"kind": "discount", "amount": discount["amount"]}


def debits(lines: pl.DataFrame) -> dict[str, Decimal]:
    paid = lines.filter(pl.col("kind") == "credit").group_by("grant").agg(pl.col("rounded_amount").neg().sum())
    return {grant: amount for grant, amount in paid.iter_rows() if amount}


def total(lines: pl.DataFrame, *kinds: str) -> Decimal:
    return sum(lines.filter(pl.col("kind").is_in(kinds))["rounded_amount"], Decimal(0))


@pytest.mark.parametrize("case", cases("flexprice_rating.json", "credit_application", "invoice_waterfall"))
def test_flexprice_wallets(case: Case) -> None:
    own = [{"amount": case.get("line_discount", 0), "line": 1}, {"amount": case.get("invoice_discount", 0)}]
    given = [d for d in (*case.get("discounts", []), *own) if Decimal(d.get("amount", 1))]
    parts = case.get("invoice_lines", [{"amount": case.get("amount"), "price_type": case.get("price_type")}])
    lines = [
        BillLine(Decimal(part["amount"]), part["price_type"] == "usage", [d for d in given if d.get("line") == n])
        for n, part in enumerate(parts, 1)
    ]
    usage = [str(n) for n, line in enumerate(lines, 1) if line.is_usage]
    wallets = [Wallet(str(n), Decimal(balance), n, usage) for n, balance in enumerate(case["wallets"])]
    made = bill(lines, [d for d in given if "line" not in d], wallets, case["currency"])
    expected = case["expected"]
    assert sum(debits(made).values(), Decimal(0)) == Decimal(expected["credits_applied"])
    if "wallet_debits" in expected:
        asked = [Decimal(debit) for debit in expected["wallet_debits"]]
        assert [debits(made).get(str(n), Decimal(0)) for n in range(len(wallets))] == asked
    if "total" in expected:
        assert total(made, "usage", "fee") == Decimal(expected["subtotal"])
        assert -total(made, "discount") == Decimal(expected["discount_total"])
        assert sum(made["rounded_amount"], Decimal(0)) == Decimal(expected["total"])


@pytest.mark.parametrize("case", cases("lago_scenarios.json", "unit"))
def test_lago_wallets(case: Case) -> None:
    given = case["input"]
    lines = [
        BillLine((Decimal(fee["amount_cents"]) + Decimal(fee["tax_cents"])) / 100, fee["type"] == "charge")
        for fee in given["fees"]
    ]
    wallets = [
        Wallet(w["id"], Decimal(w["balance_cents"]) / 100, w.get("priority", 50), _prices(w, given["fees"]))
        for w in given["wallets"]
    ]
    made = bill(lines, [], wallets, "EUR")
    expected = case["expected"]
    assert -total(made, "credit") * 100 == Decimal(expected["prepaid_credit_cents"])
    assert {name: cents * 100 for name, cents in debits(made).items()} == expected["by_wallet"]


def _prices(wallet: Case, fees: Sequence[Case]) -> list[str] | None:
    """The prices of the lines that a wallet may pay, by the type of the fee and the metric."""
    types, metrics = wallet.get("fee_types"), wallet.get("metrics")
    fitting = [
        str(n)
        for n, fee in enumerate(fees, 1)
        if (types is None or fee["type"] in types) and (metrics is None or fee.get("metric") in metrics)
    ]
    return None if types is None and metrics is None else fitting
