"""The worked bills under tests/cases, rated by the engine and, a second time, by the oracle."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rating.catalog import compile_catalog, parse_catalog
from rating.core.money import plain
from rating.core.periods import parse_month
from rating.core.rating import rate
from rating.core.subjects import interned
from tests import oracle
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame

CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted((Path(__file__).parents[1] / "cases").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
]
TELLS_APART = {
    "subscription": "subscription",
    "version": "price_version",
    "window": "window",
    "meter": "meter",
    "group": "group",
}


def events_of(case: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"time": at, "subject": s, "type": t, "data": data} for at, s, t, data in case["events"]]


def subscriptions_of(case: dict[str, Any]) -> list[oracle.Subscription]:
    default = [{"key": "acme", "customer": "acme", "subjects": ["acme"], "plan": "plan"}]
    filled = ({"time_zone": "UTC", "starts_at": SINCE, **s} for s in case.get("subscriptions", default))
    return [oracle.Subscription(**{**s, "subjects": tuple(s["subjects"])}) for s in filled]


@pytest.mark.parametrize("case", CASES)
def test_a_worked_bill_comes_out_as_written(case: dict[str, Any]) -> None:
    catalog = parse_catalog(yaml.safe_dump(case["catalog"]), format="yaml")
    subscriptions = subscriptions_of(case)
    usage = usage_frame(events_of(case), catalog.declared_properties())
    rated = rate(
        interned(usage),
        subject_frame(subscriptions),
        subscription_frame(subscriptions),
        compile_catalog(catalog),
        parse_month(case["month"]),
    )
    for wanted in case["lines"]:
        _assert_line(rated.lines, wanted)
    assert rated.lines.height == len(case["lines"])
    _assert_reported(case, "unpriced", rated.unpriced)
    _assert_reported(case, "unsubscribed", rated.unsubscribed)
    _assert_reported(case, "unmetered", rated.unmetered)
    if "bill" in case:
        assert sum(rated.totals["rounded_amount"], Decimal(0)) == Decimal(case["bill"])


@pytest.mark.parametrize("case", CASES)
def test_the_oracle_agrees_with_a_worked_bill(case: dict[str, Any]) -> None:
    lines = oracle.rate(case["catalog"], events_of(case), subscriptions_of(case), case["month"])
    expected = sorted((w["price"], Decimal(w["quantity"]), Decimal(w["amount"])) for w in case["lines"])
    assert sorted((key[1], line.quantity, line.amount) for key, line in lines.items()) == expected


def _assert_line(lines: pl.DataFrame, wanted: dict[str, Any]) -> None:
    found = lines.filter(pl.col("price") == wanted["price"])
    for name, column in TELLS_APART.items():
        if name in wanted:
            found = found.filter(pl.col(column).eq_missing(pl.lit(wanted[name])))
    assert found.height == 1, (wanted, lines)
    line = found.row(0, named=True)
    assert (plain(line["quantity"]), plain(line["amount"])) == (wanted["quantity"], wanted["amount"]), wanted["how"]
    assert line["events"] == wanted.get("events", line["events"])
    assert line["rounded_amount"] == Decimal(wanted.get("rounded", line["rounded_amount"]))
    assert sum((tier["amount"] for tier in line["tiers"]), Decimal(0)) == line["amount"]


def _assert_reported(case: dict[str, Any], name: str, frame: pl.DataFrame) -> None:
    wanted = case.get(name, [])
    assert frame.height == len(wanted), frame
    for row in wanted:
        assert any(_fits(row, found) for found in frame.iter_rows(named=True)), (row, frame)


def _fits(wanted: dict[str, Any], found: dict[str, Any]) -> bool:
    return all((plain(found[k]) if isinstance(found[k], Decimal) else found[k]) == v for k, v in wanted.items())


def test_there_are_cases() -> None:
    assert len(CASES) >= 30
