"""Prepaid credits of plans: what is refused with which words, what a plan's credit compiles to, and what it grants."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from rating.catalog import CatalogInvalid, compile_catalog, load_catalog
from rating.core.credits.plans import plan_grants, plan_resets
from rating.core.credits.schema import UNITS
from rating.core.periods import Month
from tests.frames import subscription_frame
from tests.oracle import Subscription


def document(**credits: Any) -> dict[str, Any]:
    price = {"meter": "calls", "currency": "EUR", "model": "per_unit", "versions": [{"unit_amount": "1"}]}
    return {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {"calls": {"event_type": "call", "aggregation": "count"}},
        "features": {"api": {"meter": "calls"}},
        "prices": {"calls/a": price},
        "plans": {"pro": {"currency": "EUR", "prices": ["calls/*"], "credits": credits}},
    }


@pytest.mark.parametrize(
    ("credit", "place", "message"),
    [
        ({}, "", "A credit is in money or in units."),
        ({"amount": "1", "units": "1"}, "", "A credit is in money or in units."),
        ({"amount": "0"}, ".amount", "A credit of nothing pays nothing."),
        ({"amount": "1", "lasts_periods": 0}, ".lasts_periods", "The credit would expire before it can be used."),
        ({"amount": "1", "lasts_periods": 5000}, ".lasts_periods", "No credit lasts so long."),
        ({"amount": "1", "rollover_minimum": "1"}, ".rollover_minimum", "There is no maximum."),
        (
            {"amount": "1", "lasts_periods": 2, "rollover_minimum": "3", "rollover_maximum": "2"},
            ".rollover_minimum",
            "It is above `rollover_maximum`.",
        ),
        (
            {"amount": "1", "rollover_maximum": "2"},
            ".rollover_maximum",
            "The credit expires with its period, so that nothing is left to roll over.",
        ),
        ({"amount": "1", "features": ["apo"]}, ".features", "There is no feature `apo`."),
        ({"amount": "1", "meters": ["call"]}, ".meters", "There is no meter `call`."),
        (
            {"amount": "1", "prices": ["storage*"]},
            ".prices[0]",
            "The plan has no price of this name: the credit could never pay anything by it.",
        ),
    ],
)
def test_a_credit_that_makes_no_sense_is_refused(credit: dict[str, Any], place: str, message: str) -> None:
    with pytest.raises(CatalogInvalid) as refused:
        load_catalog(document(c=credit))
    assert (f"plans.pro.credits.c{place}", message) in [(p.path, p.message) for p in refused.value.problems]


def test_features_and_patterns_become_meters_and_prices() -> None:
    book = compile_catalog(
        load_catalog(document(a={"amount": "5", "prices": ["calls/*"]}, b={"units": "7", "features": ["api"]}))
    )
    columns = book.credits.select("credit", "unit", "amount", "meters", "prices", "lasts_periods")
    assert columns.rows() == [
        ("a", "EUR", Decimal(5), None, ["calls/a"], 1),
        ("b", UNITS, Decimal(7), ["calls"], None, 1),
    ]


def test_the_order_of_a_scope_does_not_change_the_version() -> None:
    one, other = ({"amount": "5", "prices": names} for names in (["calls/a", "calls/*"], ["calls/*", "calls/a"]))
    assert load_catalog(document(a=one)).version == load_catalog(document(a=other)).version


@pytest.mark.parametrize(("by", "first", "last"), [("days", "22", "4"), ("30_days", "21", "4"), ("seconds", "22", "4")])
def test_a_prorated_credit_is_granted_for_the_part_of_the_period(by: str, first: str, last: str) -> None:
    """31 or 30 a month: from 10 October to 5 December; 22 of 31 days, by even months 21 of 30."""
    begins, ends = datetime(2026, 10, 10, tzinfo=UTC), datetime(2026, 12, 5, tzinfo=UTC)
    terms = subscription_frame([Subscription("s", "c", ("c",), "pro", "UTC", begins, ends)])
    amount = "30" if by == "30_days" else "31"
    book = compile_catalog(load_catalog(document(own={"units": amount, "prorate": by}, all={"units": amount})))
    grants = plan_grants(book.credits, terms, Month(2026, 10), Month(2026, 12)).sort("grant")
    assert grants.filter(pl.col("grant").str.contains("/all/"))["amount"].to_list() == [Decimal(amount)] * 3
    own = grants.filter(pl.col("grant").str.contains("/own/"))["amount"].to_list()
    assert own == [Decimal(first), Decimal(amount), Decimal(last)]


def test_a_plan_grants_in_each_period_of_the_customers_own_calendar() -> None:
    credits = {
        "monthly": {"amount": "5", "lasts_periods": 2, "rollover_maximum": "3"},
        "once": {"units": "9", "recurs": "once", "lasts_periods": None},
    }
    book = compile_catalog(load_catalog(document(**credits)))
    begins, ends = datetime(2026, 10, 10, tzinfo=UTC), datetime(2026, 12, 5, tzinfo=UTC)
    terms = subscription_frame([Subscription("s", "c", ("c",), "pro", "Europe/Madrid", begins, ends)])
    grants = plan_grants(book.credits, terms, Month(2026, 9), Month(2027, 1))
    november, december = (datetime(2026, m, d, 23, tzinfo=UTC) for m, d in ((10, 31), (11, 30)))
    assert grants.select("grant", "effective_at", "expires_at", "subscription").rows() == [
        ("s/monthly/2026-10", begins, december, "s"),
        ("s/monthly/2026-11", november, ends, "s"),
        ("s/monthly/2026-12", december, ends, "s"),
        ("s/once/2026-10", begins, ends, "s"),
    ]
    assert plan_resets(terms, Month(2026, 10), Month(2027, 1))["at"].to_list() == [november, december]
    assert grants.filter(pl.col("rollover_maximum") == 3).height == 3
