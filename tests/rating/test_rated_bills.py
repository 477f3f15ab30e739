"""Rated events over all worked bills: the events of each line sum to its quantity and its amount."""

from typing import Any

import polars as pl
import pytest

from rating.cases import terms_of
from rating.core.rated_events import rated_events
from rating.core.rating import rate
from tests.rating.test_cases import CASES


@pytest.mark.parametrize("case", CASES)
def test_the_events_of_each_line_sum_to_it(case: dict[str, Any]) -> None:
    usage, *terms = terms_of(case)
    rated = rate(usage, *terms)
    shared = pl.concat(rated_events(usage, *terms, rated.lines))
    sums = shared.group_by("line").agg(pl.col("quantity", "amount").sum())
    compared = rated.lines.select("line", "quantity", "amount").join(
        sums, on="line", how="full", suffix="_shared", validate="1:1"
    )
    assert compared.filter(
        pl.col("quantity").ne_missing(pl.col("quantity_shared")) | pl.col("amount").ne_missing(pl.col("amount_shared"))
    ).is_empty()
