"""What an apply would change, told in lines and in JSON."""

from typing import Any

import pytest

from rating.catalog import Change, diff, load_catalog, render_changes
from tests.catalog.documents import REMOVED, SOUND, changed

OLD = load_catalog(SOUND)
UNIT = "prices/unit/versions/0"

CHANGES: list[tuple[str, Any, list[str]]] = [
    (f"{UNIT}/unit_amount", "2.25", ['~ prices.unit.versions[since ever].unit_amount: "2.5" -> "2.25"']),
    (f"{UNIT}/unit_amount", "2.500", []),
    (f"{UNIT}/per", REMOVED, ["- prices.unit.versions[since ever].per: 1000"]),
    ("prices/unit/rounding", "up", ['+ prices.unit.rounding: "up"']),
    ("prices/unit/match", {"model": "tiny"}, ['~ prices.unit.match.model: "small" -> "tiny"']),
    ("plans/pro/prices", ["fee", "unit"], ['- plans.pro.prices: "sized"', '- plans.pro.prices: "tiered"']),
    ("currencies", ["EUR", "JPY", "USD"], ['+ currencies: "JPY"']),
    ("features/calls", {"meter": "calls"}, ['+ features.calls: {"meter": "calls"}']),
    ("plans/pro/entitlements", {}, ['- plans.pro.entitlements: {"tokens": {"limit": "1000"}}']),
    (
        "prices/unit/versions",
        [{"unit_amount": "2.50", "per": 1000}, {"effective_from": "2027-01-01", "unit_amount": "3", "per": 1000}],
        ['+ prices.unit.versions[2027-01-01T00:00:00Z]: {"per": 1000, "unit_amount": "3"}'],
    ),
    (
        "prices/tiered/versions/0/tiers",
        [{"up_to": 20, "unit_amount": "2"}, {"up_to": 30, "unit_amount": "1"}, {"unit_amount": "0.5"}],
        [
            '~ prices.tiered.versions[since ever].tiers[0].up_to: "10" -> "20"',
            '+ prices.tiered.versions[since ever].tiers[1].up_to: "30"',
            '+ prices.tiered.versions[since ever].tiers[2]: {"unit_amount": "0.5"}',
        ],
    ),
]


@pytest.mark.parametrize(("place", "value", "lines"), CHANGES, ids=[f"{c[0]}={c[1]}" for c in CHANGES])
def test_a_change_is_one_line_at_its_place(place: str, value: Any, lines: list[str]) -> None:
    changes = diff(OLD, load_catalog(changed(place, value)))
    assert [str(change) for change in changes] == lines


def test_equal_catalogs_have_no_difference() -> None:
    assert diff(OLD, load_catalog(SOUND)) == []
    assert render_changes([]) == "no change"


def test_the_first_catalog_is_all_new_part_by_part() -> None:
    changes = diff(None, OLD)
    assert {change.kind for change in changes} == {"added"}
    assert [change.path for change in changes if change.path.startswith("prices")] == [
        "prices.fee",
        "prices.packs",
        "prices.sized",
        "prices.tiered",
        "prices.unit",
    ]


def test_there_and_back_are_mirror_images() -> None:
    new = load_catalog(changed("prices/unit/rounding", "up"))
    [there], [back] = diff(OLD, new), diff(new, OLD)
    assert there == Change("added", "prices.unit.rounding", None, "up")
    assert back == Change("removed", "prices.unit.rounding", "up", None)


def test_a_change_as_json_has_the_sides_that_exist() -> None:
    changes = diff(OLD, load_catalog(changed("plans/pro/currency", "USD") | {"features": {}, "plans": {}}))
    assert [change.as_json() for change in changes if change.path.startswith("features")] == [
        {"kind": "removed", "path": "features.tokens", "before": {"meter": "tokens"}}
    ]


def test_a_long_value_is_cut_in_print_only() -> None:
    document = changed("plans/pro/name", "x" * 1000)
    [change] = diff(OLD, load_catalog(document))
    assert len(str(change)) < 200
    assert change.after == "x" * 1000
