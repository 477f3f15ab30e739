"""Bills of AWS, Microsoft and Oracle as customers got them: every row's quantity at its unit price, and the sums by
account and service.

Source of what must come out: ../shared/data/README.md (FOCUS sample data, September 2024; an AWS cost and usage report,
November 2023). Unit prices have up to eight decimals and quantities up to eleven, so quantities are metered in
hundred-billionths and priced per 10^11 of them.
"""

import csv
import gzip
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from rating.catalog import compile_catalog, load_catalog
from rating.core.money import plain
from rating.core.periods import parse_month
from rating.core.rating import rate
from rating.core.subjects import interned
from tests.conftest import shared_path
from tests.frames import subject_frame, subscription_frame, usage_frame
from tests.oracle import Subscription

PARTS = 10**11
Row = dict[str, str]


@dataclass(frozen=True)
class Bill:
    """The rows of a bill that have a quantity and a price, by their ids, and what is expected of them."""

    rows: dict[str, Row]
    expected: dict[str, Any]

    @property
    def quantity(self) -> str:
        return str(self.expected["columns"][0])

    @property
    def price(self) -> str:
        return str(self.expected["columns"][1])


def _rows(file: str) -> list[Row]:
    with gzip.open(shared_path("data", "cloud", file), "rt", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def _bill(kind: str, provider: str | None) -> Bill:
    expected = json.loads(shared_path("data", "expected", "cloud.json").read_text())[kind]
    if provider is not None:
        own = {row["Id"]: row for row in _rows("focus_dev.csv.gz") if row["ProviderName"] == provider}
        known = expected[provider]
    else:
        rows = _rows("aws_cur_2023_11.csv.gz")
        own = {f"{row['identity/LineItemId']}|{row['identity/TimeInterval']}": row for row in rows}
        known = expected
    quantity, price, _ = known["columns"]
    return Bill({key: row for key, row in own.items() if row[quantity] and row[price]}, known)


def _amounts(bill: Bill) -> dict[str, Decimal]:
    """What each row comes to: the exact amount of its charge line."""
    prices = sorted({plain(Decimal(row[bill.price])) for row in bill.rows.values()})
    catalog = load_catalog(
        {
            "tallystick": 1,
            "currencies": ["USD"],
            "meters": {
                "parts": {
                    "event_type": "used",
                    "aggregation": "sum",
                    "property": "parts",
                    "group_by": ["rate", "row"],
                }
            },
            "prices": {
                f"at:{price}": {
                    "meter": "parts",
                    "currency": "USD",
                    "model": "per_unit",
                    "match": {"rate": price},
                    "group_by": ["row"],
                    "versions": [{"unit_amount": price, "per": PARTS}],
                }
                for price in prices
            },
            "plans": {"published": {"currency": "USD", "prices": ["*"]}},
        }
    )
    at = datetime(2026, 10, 1, tzinfo=UTC)
    events = [
        {
            "type": "used",
            "subject": "acme",
            "time": at,
            "data": {
                "parts": Decimal(row[bill.quantity]) * PARTS,
                "rate": plain(Decimal(row[bill.price])),
                "row": key,
            },
        }
        for key, row in bill.rows.items()
    ]
    subscriptions = [Subscription("acme", "acme", ("acme",), "published", "UTC", at)]
    usage = interned(usage_frame(events, catalog.declared_properties()))
    accounts = subject_frame(subscriptions), subscription_frame(subscriptions)
    rated = rate(usage, *accounts, compile_catalog(catalog), parse_month("2026-10"))
    assert rated.unpriced.is_empty()
    return {json.loads(line["group"])["row"]: line["amount"] for line in rated.lines.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("kind", "provider"),
    [
        ("focus_list_cost", "AWS"),
        ("focus_list_cost", "Microsoft"),
        ("focus_list_cost", "Oracle"),
        ("aws_cur_unblended", None),
        ("aws_cur_on_demand", None),
    ],
)
def test_every_row_and_every_sum_is_exact(kind: str, provider: str | None) -> None:
    bill = _bill(kind, provider)
    amounts = _amounts(bill)
    each = {key: Decimal(product) for key, product, _, found in bill.expected["each"] if not found.startswith("no ")}
    assert {key: amounts[key] for key in each} == each
    summed = {key: amount for key, amount in amounts.items() if key not in set(bill.expected["not_in_totals"])}
    total = sum(summed.values(), Decimal(0))
    assert total == Decimal(bill.expected["total_of_products"])
    assert total.quantize(Decimal("0.01"), ROUND_HALF_UP) == Decimal(bill.expected["total_cents"])
    for column, sums in bill.expected["by"].items():
        found: dict[str, Decimal] = defaultdict(Decimal)
        for key, amount in summed.items():
            found[bill.rows[key][column]] += amount
        assert {name: found[name] for name in sums} == {name: Decimal(value) for name, value in sums.items()}
