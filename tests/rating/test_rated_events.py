"""Rated events: every line is the sum of its events' shares, to the last digit; tiers split events at their edges."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.catalog import compile_catalog, parse_catalog
from rating.core.periods import parse_month
from rating.core.rated_events import RATED_EVENT, rated_events
from rating.core.rating import Rated, rate
from rating.core.subjects import interned
from tests import oracle
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame
from tests.strategies import documents, events, subscriptions

OCTOBER = "2026-10"
FIRST = datetime(2026, 10, 1, tzinfo=UTC)


def run(
    document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription]
) -> tuple[Rated, pl.DataFrame]:
    catalog = parse_catalog(json.dumps(document), format="json")
    usage = interned(usage_frame(given_events, catalog.declared_properties()))
    terms = (subject_frame(subs), subscription_frame(subs), compile_catalog(catalog), parse_month(OCTOBER))
    rated = rate(usage, *terms)
    return rated, pl.concat(rated_events(usage, *terms, rated.lines))


@given(document=documents(), given_events=st.lists(events(), max_size=25), subs=subscriptions())
def test_the_events_of_a_line_sum_to_it(
    document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription]
) -> None:
    rated, shared = run(document, given_events, subs)
    assert shared.schema == RATED_EVENT
    sums = shared.group_by("line").agg(
        pl.col("quantity", "amount").sum(), events=pl.col("event").drop_nulls().n_unique().cast(pl.Int64)
    )
    compared = rated.lines.select("line", "kind", "quantity", "amount", "events").join(
        sums, on="line", how="left", suffix="_shared", validate="1:1"
    )
    for line in compared.iter_rows(named=True):
        assert line["amount"] == line["amount_shared"], line
        assert line["quantity"] == line["quantity_shared"], line
        assert line["events"] == line["events_shared"], line
    assert sums.height == rated.lines.height


def price_of(model: str, **numbers: Any) -> dict[str, Any]:
    return {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {"m": {"event_type": "e", "aggregation": "sum", "property": "n"}},
        "prices": {"p": {"meter": "m", "currency": "EUR", "model": model, "versions": [numbers]}},
        "plans": {"plan": {"currency": "EUR", "prices": ["p"]}},
    }


TIERS = [{"up_to": 100, "unit_amount": "1"}, {"up_to": None, "unit_amount": "0.5", "flat_amount": "4"}]


@pytest.mark.parametrize(
    ("document", "values", "expected"),
    [
        pytest.param(
            price_of("per_unit", unit_amount="0.01"),
            ["40", "60"],
            [(1, 0, "40", "0.4"), (2, 0, "60", "0.6")],
            id="each event its quantity x 0.01",
        ),
        pytest.param(
            price_of("graduated", tiers=TIERS),
            ["80", "40", "20"],
            [(1, 0, "80", "80"), (2, 0, "20", "20"), (2, 1, "20", "12"), (3, 1, "20", "12")],
            id="the second crosses 100: 20 below it, 20 above; above it 40 units share 20 + 4",
        ),
        pytest.param(
            price_of("volume", tiers=TIERS),
            ["80", "40"],
            [(1, 1, "80", "42.666666666666666666667"), (2, 1, "40", "21.333333333333333333333")],
            id="120 x 0.5 + 4 = 64, two thirds and one",
        ),
        pytest.param(
            price_of("package", package_size="10", amount="3"),
            ["4", "8"],
            [(1, 0, "4", "2"), (2, 0, "8", "4")],
            id="12 units are two packages, 6.00, shared in proportion",
        ),
        pytest.param(
            price_of("percentage", percent="10", free_units="50"),
            ["30", "40"],
            [(1, None, "30", "0"), (2, None, "20", "0"), (2, 0, "20", "2")],
            id="50 are free: all of the first and half of the second",
        ),
        pytest.param(
            price_of("percentage", percent="10", fixed_amount="1", maximum_per_event="4"),
            ["30", "40"],
            [(1, 0, "30", "4"), (2, 0, "40", "4")],
            id="each event its own 10 % + 1, at most 4",
        ),
    ],
)
def test_shares_by_hand(
    document: dict[str, Any], values: list[str], expected: list[tuple[int, int | None, str, str]]
) -> None:
    given_events = [
        {"type": "e", "subject": "acme", "time": FIRST + timedelta(hours=hour), "data": {"n": Decimal(value)}}
        for hour, value in enumerate(values)
    ]
    _, shared = run(document, given_events, [oracle.Subscription("s", "acme", ("acme",), "plan", "UTC", SINCE)])
    rows = shared.sort("event", "tier", nulls_last=False).select("event", "tier", "quantity", "amount").rows()
    assert rows == [(event, tier, Decimal(quantity), Decimal(amount)) for event, tier, quantity, amount in expected]


def test_a_fee_is_a_row_without_an_event() -> None:
    document = price_of("per_unit", unit_amount="1")
    document["prices"] = {"fee": {"currency": "EUR", "model": "flat", "versions": [{"amount": "9"}]}}
    document["plans"]["plan"]["prices"] = ["fee"]
    _, shared = run(document, [], [oracle.Subscription("s", "acme", ("acme",), "plan", "UTC", SINCE)])
    assert shared.select("event", "time", "tier", "amount").rows() == [(None, None, None, Decimal(9))]
