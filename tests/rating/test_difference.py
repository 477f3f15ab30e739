"""Bills that are rated again: what is still to be booked."""

from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.core.difference import difference, parts_of
from tests.conformance.rated import VALUE, Document, catalog_of, lines_of, total, values
from tests.strategies import ADJUSTMENTS, NUMBERS

CLIFF = {"tiers": [{"up_to": 15, "unit_amount": "10"}, {"unit_amount": "5", "flat_amount": "3"}]}


def bill(model: str, version: Document, *quantities: Any) -> pl.DataFrame:
    document = catalog_of({"m": VALUE}, {"p": {"meter": "m", "model": model, "versions": [version]}})
    return parts_of(lines_of(document, {"acme": values(*quantities)}))


def test_units_at_another_amount_are_reversed_and_booked_anew() -> None:
    due = difference(bill("volume", CLIFF, 16), bill("volume", CLIFF, 15))
    rows = due.sort("amount").select("part", "tier", "quantity", "unit_amount", "amount").rows()
    assert rows == [("units", 0, -15, 10, -150), ("flat", 1, 1, 3, 3), ("units", 1, 16, 5, 80)]


def test_units_at_the_same_amount_are_subtracted() -> None:
    due = difference(bill("volume", CLIFF, 14), bill("volume", CLIFF, 12))
    assert due.select("quantity", "unit_amount", "amount").rows() == [(2, 10, 20)]


def test_nothing_is_due_where_nothing_changed() -> None:
    assert difference(bill("volume", CLIFF, 14), bill("volume", CLIFF, 10, 4)).is_empty()


@settings(max_examples=30)
@given(data=st.data(), quantities=st.lists(st.integers(-5, 300), min_size=1, max_size=4))
def test_parts_sum_to_their_bill_and_what_is_due_to_the_change(data: st.DataObject, quantities: list[int]) -> None:
    model = data.draw(st.sampled_from(sorted(NUMBERS.keys() - {"flat", "one_time", "per_request", "dynamic"})))
    version = {**data.draw(NUMBERS[model]), "adjust": data.draw(ADJUSTMENTS)}
    document = catalog_of({"m": VALUE}, {"p": {"meter": "m", "model": model, "versions": [version]}})
    now, before = (lines_of(document, {"acme": values(*some)}) for some in (quantities, quantities[:1]))
    assert parts_of(now)["amount"].sum() == total(now)
    due = difference(parts_of(now), parts_of(before))
    assert (due["amount"].sum() or Decimal(0)) == total(now) - total(before)
