"""Rated events over all worked bills: the events of each line sum to its quantity and its amount."""

from typing import Any

import polars as pl
import pytest
import yaml

from rating.catalog import compile_catalog, parse_catalog
from rating.core.periods import parse_month
from rating.core.rated_events import rated_events
from rating.core.rating import rate
from rating.core.subjects import interned
from tests.frames import subject_frame, subscription_frame, usage_frame
from tests.rating.test_cases import CASES, events_of, subscriptions_of


@pytest.mark.parametrize("case", CASES)
def test_the_events_of_each_line_sum_to_it(case: dict[str, Any]) -> None:
    catalog, subscriptions = parse_catalog(yaml.safe_dump(case["catalog"]), format="yaml"), subscriptions_of(case)
    usage = interned(usage_frame(events_of(case), catalog.declared_properties()))
    accounts = (subject_frame(subscriptions), subscription_frame(subscriptions))
    terms = (*accounts, compile_catalog(catalog), parse_month(case["month"]))
    rated = rate(usage, *terms)
    shared = pl.concat(rated_events(usage, *terms, rated.lines))
    sums = shared.group_by("line").agg(pl.col("quantity", "amount").sum())
    compared = rated.lines.select("line", "quantity", "amount").join(
        sums, on="line", how="full", suffix="_shared", validate="1:1"
    )
    assert compared.filter(
        pl.col("quantity").ne_missing(pl.col("quantity_shared")) | pl.col("amount").ne_missing(pl.col("amount_shared"))
    ).is_empty()
