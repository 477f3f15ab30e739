"""What events add to their lines, against bills of ever more events."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog import compile_catalog, load_catalog
from rating.core.marginal import marginal_amounts
from rating.core.matching import PRICED_USAGE
from rating.core.schema import PAYER
from tests.conformance.rated import VALUE, Document, catalog_of, totals, values
from tests.strategies import NUMBERS

PACKAGES = {"package_size": 2, "amount": "1", "free_units": 3}
FLATS = {
    "tiers": [
        {"up_to": 5, "unit_amount": "0.02", "flat_amount": "0.01"},
        {"unit_amount": "0.01", "flat_amount": "0.03"},
    ]
}
BY_LINE = ["per_unit", "graduated", "volume", "stairstep", "graduated_percentage", "package", "tiered_package"]


def amounts(model: str, version: Document, quantities: list[Any], **how: bool) -> list[Decimal]:
    book = compile_catalog(load_catalog(document(model, version)))
    told = {PAYER: 0, "price": "p", "rate": 0, "meter": "m", "group": "{}", "events": 1}
    start = datetime(2026, 10, 1, tzinfo=UTC)
    rows = [
        {**told, "event": place, "time": start + timedelta(hours=place), "quantity": Decimal(quantity)}
        for place, quantity in enumerate(quantities)
    ]
    usage = pl.DataFrame(rows, schema_overrides=PRICED_USAGE).with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in PRICED_USAGE.items() if not rows or name not in rows[0]
    )
    return marginal_amounts(usage.select(PRICED_USAGE.names()), book, **how)["amount"].to_list()


def document(model: str, version: Document) -> Document:
    return catalog_of({"m": VALUE}, {"p": {"meter": "m", "model": model, "versions": [version]}})


@pytest.mark.parametrize(
    ("model", "version", "quantities", "expected"),
    [
        pytest.param("package", PACKAGES, [3, 1, 2], ["0", "1", "1"], id="who starts a package pays it"),
        pytest.param(
            "graduated", FLATS, [3, 1, 2], ["0.07", "0.02", "0.06"], id="0.01 + 0.06, 0.02, 0.02 + 0.03 + 0.01"
        ),
        pytest.param("volume", FLATS, [5, 1], ["0.11", "-0.02"], id="6 x 0.01 + 0.03 less 5 x 0.02 + 0.01: a cliff"),
        pytest.param("per_unit", {"unit_amount": "2"}, [10, -4, 8], ["20", "-8", "16"], id="what falls is given back"),
    ],
)
def test_an_event_pays_what_it_adds(model: str, version: Document, quantities: list[int], expected: list[str]) -> None:
    assert amounts(model, version, quantities) == [Decimal(amount) for amount in expected]


def test_without_refunds_only_what_is_above_the_highest_total_is_paid() -> None:
    assert amounts("per_unit", {"unit_amount": "1"}, [10, -4, 8], no_refunds=True) == [10, 0, 4]
    assert amounts("per_unit", {"unit_amount": "1"}, [-4, 8], no_refunds=True) == [0, 4]


@settings(max_examples=30)
@given(data=st.data(), quantities=st.lists(st.integers(-5, 300), min_size=1, max_size=6))
def test_an_event_adds_the_bill_with_it_less_the_bill_without_it(data: st.DataObject, quantities: list[int]) -> None:
    model = data.draw(st.sampled_from(BY_LINE))
    drawn = data.draw(NUMBERS[model])
    version = {name: value for name, value in drawn.items() if not name.endswith(("_per_event", "_when_unused"))}
    prefixes = {str(count): values(*quantities[:count]) for count in range(len(quantities) + 1)}
    bills = totals(document(model, version), prefixes)
    assert amounts(model, version, quantities) == [bills[after] - bills[before] for before, after in pairwise(prefixes)]
