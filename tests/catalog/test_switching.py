"""Switching: two catalogs, one after the other, charge as each does alone in its time."""

from datetime import UTC, datetime
from typing import Any

import pytest

from rating.catalog import Catalog, load_catalog
from rating.catalog.switching import switched

AT = datetime(2026, 12, 1, tzinfo=UTC)
CALLS: dict[str, Any] = {"meter": "calls", "currency": "USD", "model": "per_unit"}


def catalog(*versions: dict[str, str], **changes: Any) -> Catalog:
    document = {
        "tallystick": 1,
        "currencies": ["USD"],
        "meters": {"calls": {"event_type": "call", "aggregation": "count"}},
        "prices": {"calls": {**CALLS, "versions": list(versions)}},
        "plans": {"pro": {"currency": "USD", "prices": ["calls"]}},
    }
    return load_catalog({**document, **changes})


def versions_of(found: Catalog | None) -> list[dict[str, str]]:
    assert found is not None
    written: list[dict[str, str]] = found.document()["prices"]["calls"]["versions"]
    return written


def test_the_old_versions_hold_until_the_date_and_the_new_ones_from_then_on() -> None:
    old = catalog(
        {"unit_amount": "1"},
        {"unit_amount": "2", "effective_from": "2026-06-01"},
        {"unit_amount": "3", "effective_from": "2027-01-01"},
    )
    new = catalog(
        {"unit_amount": "4"},
        {"unit_amount": "5", "effective_from": "2026-11-01"},
        {"unit_amount": "6", "effective_from": "2027-03-01"},
    )
    assert versions_of(switched(old, new, AT).catalog) == [
        {"unit_amount": "1"},
        {"unit_amount": "2", "effective_from": "2026-06-01T00:00:00Z"},
        {"unit_amount": "5", "effective_from": "2026-12-01T00:00:00Z"},
        {"unit_amount": "6", "effective_from": "2027-03-01T00:00:00Z"},
    ]


def test_equal_prices_stay_as_they_are() -> None:
    old = catalog({"unit_amount": "1"})
    assert switched(old, old, AT).catalog == old


def test_a_new_price_and_plan_are_taken_over() -> None:
    old = catalog({"unit_amount": "1"})
    document = old.document()
    document["prices"]["more"] = {**CALLS, "versions": [{"unit_amount": "9"}]}
    document["plans"]["max"] = {"currency": "USD", "prices": ["more"]}
    assert switched(old, load_catalog(document), AT).catalog == load_catalog(document)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"plans": {"pro": {"currency": "USD", "prices": []}}}, "plans.pro is another one"),
        ({"plans": {}}, "plans.pro is gone"),
        ({"meters": {"calls": {"event_type": "other", "aggregation": "count"}}}, "meters.calls is another one"),
        (
            {"prices": {"calls": {**CALLS, "model": "volume", "versions": [{"tiers": [{"unit_amount": "1"}]}]}}},
            "prices.calls is another one",
        ),
    ],
)
def test_what_has_no_date_is_refused(changes: dict[str, Any], problem: str) -> None:
    found = switched(catalog({"unit_amount": "1"}), catalog({"unit_amount": "1"}, **changes), AT)
    assert found.catalog is None
    assert any(one.startswith(problem) for one in found.problems)
